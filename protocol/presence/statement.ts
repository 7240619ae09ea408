import { z } from 'zod';
import { decode, encode } from '../codec.ts';
import { PatchcordError } from '../errors.ts';
import { POSITION_SEQ_MAX, PREKEY_SEQUENCE_MAX, STATEMENT_SIZE_BYTES_MAX } from '../limits.ts';
import { zRoster } from '../roster.ts';
import { bytesOf, zBytes, zMessageId, zNamespaceId, zPeerId } from '../shapes.ts';
import { verifySignature, type Signer } from '../signing.ts';
import { BEAT_LINK_SIZE_BYTES } from './beat.ts';

/** What a machine says of itself in a namespace. Whoever lacks something newer that it names knows whom to ask. */
const zContent = z.strictObject({
  /** Of this start of the daemon. */
  boot: zMessageId,
  /** It stops: whoever hears this counts it as gone at once. */
  left: z.boolean(),
  roster: zRoster,
  /** Sequence of its prekey, and SHA-256 of it. */
  prekey: z.strictObject({ seq: z.int().min(0).max(PREKEY_SEQUENCE_MAX), hash: bytesOf(32) }),
  /** SHA-256 over the heads of its copy of the namespace log. */
  log: bytesOf(32),
});
export type PresenceContent = z.infer<typeof zContent>;

const zPresenceStatement = zContent.extend({
  v: z.literal(1),
  ns: zNamespaceId,
  machine: zPeerId,
  /** Rises with every statement of the machine, over restarts too; a higher one replaces a lower one. */
  seq: z.int().min(1).max(POSITION_SEQ_MAX),
  /** Where the chain of its beats ends; see beat.ts. */
  anchor: bytesOf(BEAT_LINK_SIZE_BYTES),
});

export interface PresenceStatement extends z.infer<typeof zPresenceStatement> {
  /** As it travels. */
  bytes: Uint8Array;
}

const zSigned = z.strictObject({ body: zBytes, sig: zBytes });
const CONTEXT = 'patchcord presence v1';

export function signPresence(
  statement: PresenceContent & { ns: string; seq: number; anchor: Uint8Array },
  signer: Signer,
): PresenceStatement {
  const fields = { v: 1 as const, machine: signer.peerId, ...statement };
  const body = encode(fields);
  return { ...fields, bytes: encode({ body, sig: signer.sign(CONTEXT, body) }) };
}

/**
 * A statement of a namespace, and what checks its signature: so that one which is old, or of a machine that is no
 * member, costs no such check. Throws `frame_malformed`; `verify` throws `signature_invalid`.
 */
export function readPresence(
  bytes: Uint8Array,
  ns: string,
): { statement: PresenceStatement; verify: () => void } {
  if (bytes.length > STATEMENT_SIZE_BYTES_MAX) throw malformed();
  const signed = zSigned.safeParse(decode(bytes));
  if (!signed.success) throw malformed(signed.error);
  const { body, sig } = signed.data;
  const statement = zPresenceStatement.safeParse(decode(body));
  if (!statement.success) throw malformed(statement.error);
  if (statement.data.ns !== ns) throw malformed();
  const verify = (): void => verifySignature(statement.data.machine, CONTEXT, body, sig);
  return { statement: { ...statement.data, bytes }, verify };
}

function malformed(cause?: unknown): PatchcordError {
  return new PatchcordError('frame_malformed', 'Not what a machine says of its presence.', '', { cause });
}
