import {
  readWhereabouts,
  signWhereabouts,
  tellable,
  type Whereabouts,
} from '../../protocol/discovery/whereabouts.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import type { NamespaceLog } from '../../protocol/membership/log.ts';
import type { Signer } from '../../protocol/signing.ts';
import type { Clock } from '../clock.ts';
import type { Network } from '../network/network.ts';
import type { Directory } from './directory.ts';

/** A machine that hears a later word of its own than it remembers speaks up again, at most this often. */
const OVERTAKEN_INTERVAL_MS = 10_000;

/** What became of something that was heard. */
export type Heard =
  | { k: 'known' }
  /** A newer word; `moved` when the addresses are others than before. */
  | { k: 'news'; machine: string; moved: boolean }
  /** This machine has said something later than it remembers: its clock or its home was set back. */
  | { k: 'overtaken' };

/** Where machines can be reached: what this one says of itself, and what the others have said of themselves. */
export class AddressBook {
  readonly #directory: Directory;
  readonly #network: Network;
  readonly #signer: Signer;
  readonly #clock: Clock;
  #own: Whereabouts | undefined;
  #lastAt = 0;
  #overtakenMs = -Infinity;

  constructor(parts: { directory: Directory; network: Network; signer: Signer; clock: Clock }) {
    this.#directory = parts.directory;
    this.#network = parts.network;
    this.#signer = parts.signer;
    this.#clock = parts.clock;
  }

  /** This machine's own word, which is a new one when its addresses have changed. */
  own(): Whereabouts {
    const addresses = tellable(this.#network.addresses(), this.#signer.peerId);
    if (this.#own === undefined || !isSame(this.#own, addresses)) this.#own = this.#sign(addresses);
    return this.#own;
  }

  /** The same with a time of now, so that it cannot be told from a replay of it by its age alone. */
  ownNow(): Whereabouts {
    this.#own = this.#sign(tellable(this.#network.addresses(), this.#signer.peerId));
    return this.#own;
  }

  /** Whether the addresses are others than those that were told last. */
  hasMoved(): boolean {
    const before = this.#own;
    return this.own() !== before;
  }

  /** What is known of a namespace's members, this machine first. */
  ofMembers({ members }: NamespaceLog): Uint8Array[] {
    const others = [...members.keys()].filter((machine) => machine !== this.#signer.peerId);
    const known = others.flatMap((machine) => this.#directory.whereabouts.get(machine)?.bytes ?? []);
    const own = this.own();
    return own.addresses.length > 0 ? [own.bytes, ...known] : known;
  }

  /**
   * Takes a signed word, whoever brought it. Throws `frame_malformed`, `signature_invalid`, and `forbidden` for a
   * machine that is no member there.
   */
  async take(bytes: Uint8Array, { members }: NamespaceLog): Promise<Heard> {
    const { peerId } = this.#signer;
    const said = readWhereabouts(bytes, (machine, at) => {
      if (!members.has(machine))
        throw new PatchcordError('forbidden', 'Addresses of a machine that is no member.');
      if (machine === peerId) return at > this.#lastAt;
      return at > (this.#directory.whereabouts.get(machine)?.at ?? -1);
    });
    if (said === undefined) return { k: 'known' };
    if (said.machine === peerId) return this.#overtaken(said.at);
    const moved = await this.#directory.learnWhereabouts(said);
    return { k: 'news', machine: said.machine, moved };
  }

  #overtaken(at: number): Heard {
    this.#lastAt = at;
    this.#own = undefined;
    // Two machines with one key would otherwise outbid each other for ever.
    const nowMs = this.#clock.elapsed();
    if (nowMs - this.#overtakenMs < OVERTAKEN_INTERVAL_MS) return { k: 'known' };
    this.#overtakenMs = nowMs;
    return { k: 'overtaken' };
  }

  #sign(addresses: readonly string[]): Whereabouts {
    this.#lastAt = Math.max(this.#clock.now(), this.#lastAt + 1);
    return signWhereabouts(addresses, this.#lastAt, this.#signer);
  }
}

function isSame({ machine, addresses }: Whereabouts, bare: readonly string[]): boolean {
  return addresses.join() === bare.map((address) => `${address}/p2p/${machine}`).join();
}
