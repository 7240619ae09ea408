import type { DoctorView, PeerView } from '../../protocol/doctor-view.ts';

/**
 * The health of this machine's store and of its links. Implemented in process by daemon/doctor and over the socket by daemon/client.
 * Every method throws PatchcordError and nothing else.
 */
export interface Doctor {
  /** Looks at everything and changes nothing; writes wait meanwhile. Throws `store_damaged` for unreadable tables. */
  examine(): Promise<DoctorView>;
  /** The same, and puts right what can be. */
  repair(): Promise<DoctorView>;
  /** Every other machine that is or was in a namespace of this one: whether it is reached, and why not. */
  peers(): Promise<PeerView[]>;
  /** A person has seen what happened: it is no longer said in status and inboxes. */
  acknowledge(): Promise<void>;
}
