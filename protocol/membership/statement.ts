import { z } from 'zod';
import { decode, decodeOwn, encode } from '../codec.ts';
import { sha256Hex } from '../digest.ts';
import { PatchcordError } from '../errors.ts';
import { LABEL_LENGTH_MAX } from '../limits.ts';
import { zAgentId, zBytes, zLabel, zName, zNamespaceId, zPeerId, zRole, zTimeMs } from '../shapes.ts';
import { signerFromSeed, verifySignature, type Signer } from '../signing.ts';

/** What the machines of a namespace say about it, each statement signed and bound to what its author knew. */

/** A keeper may hold mail for others and hosts no agents. */
export type Role = z.infer<typeof zRole>;

/** Most predecessors that one statement names. Wire. */
export const PREV_MAX = 32;
/** Longest signed statement; the longest real one, with 32 predecessors, has some 3 KB. Wire. */
const STATEMENT_SIZE_BYTES_MAX = 8 * 1024;

const zHash = zNamespaceId;
const zBytes16 = zBytes.refine((bytes) => bytes.length === 16);
const zBytes32 = zBytes.refine((bytes) => bytes.length === 32);

/** `at` is for people to read. It orders nothing: a clock is what its owner says it is. */
const zGenesis = z
  .strictObject({
    v: z.literal(1),
    k: z.literal('genesis'),
    name: zName,
    /** The genesis key: no machine's, kept offline as words, an admin for ever. */
    by: zPeerId,
    founder: z.strictObject({ machine: zPeerId, label: zLabel }),
    at: zTimeMs,
    /** Makes two namespaces of one name, author and time differ. */
    nonce: zBytes16,
  })
  .refine(({ by, founder }) => by !== founder.machine, 'the genesis key is the founding machine’s own');

const chained = {
  v: z.literal(1),
  ns: zNamespaceId,
  /** The newest statements that the author knew, ascending, so that one set of them has one encoding. */
  prev: z
    .array(zHash)
    .min(1)
    .max(PREV_MAX)
    .refine((prev) => prev.every((hash, at) => at === 0 || prev[at - 1]! < hash)),
  by: zPeerId,
  at: zTimeMs,
};
const zAdmit = z.strictObject({
  ...chained,
  k: z.literal('admit'),
  machine: zPeerId,
  label: zLabel,
  role: zRole,
});
const zRemove = z.strictObject({
  ...chained,
  k: z.literal('remove'),
  machine: zPeerId,
  reason: z.string().min(1).max(LABEL_LENGTH_MAX).optional(),
});
/** Makes a member or keeper an admin. */
const zPromote = z.strictObject({ ...chained, k: z.literal('promote'), machine: zPeerId });
const zRename = z.strictObject({ ...chained, k: z.literal('rename'), machine: zPeerId, label: zLabel });
const zRenameNamespace = z.strictObject({ ...chained, k: z.literal('rename-namespace'), name: zName });
const zClaim = z.strictObject({ ...chained, k: z.literal('claim'), agent: zAgentId, name: zName });
const zRelease = z.strictObject({ ...chained, k: z.literal('release'), agent: zAgentId });
/** The namespace key of an epoch; the key itself travels sealed, this is SHA-256 of it. */
const zRotate = z.strictObject({
  ...chained,
  k: z.literal('rotate'),
  epoch: z.int().min(1),
  key_hash: zBytes32,
});
/** What its author saw: see `checkpointHolds`. */
const zCheckpoint = z.strictObject({
  ...chained,
  k: z.literal('checkpoint'),
  digest: zHash,
  members: zHash,
});

const zStatement = z.discriminatedUnion('k', [
  zGenesis,
  zAdmit,
  zRemove,
  zPromote,
  zRename,
  zRenameNamespace,
  zClaim,
  zRelease,
  zRotate,
  zCheckpoint,
]);
export type Genesis = z.infer<typeof zGenesis>;
export type Statement = z.infer<typeof zStatement>;
/** Every statement but the first. */
export type Chained = Exclude<Statement, Genesis>;

/** A statement with its signature checked and its place named. */
export interface SignedStatement<S extends Statement = Statement> {
  /** SHA-256 of the statement's body, in hex. */
  hash: string;
  statement: S;
  /** As it travels and is stored. */
  bytes: Uint8Array;
}

/** Another than the first form's, so that no statement of one is ever taken for one of the other. */
const CONTEXT = 'patchcord namespace log v1';
const zSigned = z.strictObject({ body: zBytes, sig: zBytes });

/** Throws `invalid_input` for what {@link readStatement} would refuse. */
export function signStatement<S extends Statement>(statement: S, signer: Signer): SignedStatement<S> {
  const parsed = zStatement.safeParse(statement);
  if (!parsed.success || statement.by !== signer.peerId) {
    const why = parsed.error?.issues[0]?.message ?? 'not by its signer';
    throw new PatchcordError('invalid_input', `Not a ${statement.k} statement: ${why}.`, '', {
      cause: parsed.error,
    });
  }
  const body = encode(statement);
  const bytes = encode({ body, sig: signer.sign(CONTEXT, body) });
  return { hash: sha256Hex(body), statement, bytes };
}

/**
 * The statement that the bytes hold. With `verified`, for bytes of the own store that were checked before they
 * were written, form and signature are not checked again: of 10,000 statements that would take seconds.
 * Throws `statement_invalid`, `signature_invalid`, or `frame_malformed` for what is no CBOR.
 */
export function readStatement(bytes: Uint8Array, { verified = false } = {}): SignedStatement {
  if (bytes.length > STATEMENT_SIZE_BYTES_MAX) {
    throw new PatchcordError('statement_invalid', 'Longer than any statement.');
  }
  const read = verified ? decodeOwn : decode;
  const signed = zSigned.safeParse(read(bytes));
  if (!signed.success) throw new PatchcordError('statement_invalid', 'Not a signed statement.');
  const { body, sig } = signed.data;
  const statement = zStatement.safeParse(read(body));
  if (!statement.success) {
    throw new PatchcordError('statement_invalid', 'Not a namespace statement.', '', {
      cause: statement.error,
    });
  }
  if (!verified) verifySignature(statement.data.by, CONTEXT, body, sig);
  return { hash: sha256Hex(body), statement: statement.data, bytes };
}

/** The first statement of a namespace, signed by the genesis key; `nonce` is 16 random bytes. */
export function foundNamespace(
  namespace: { name: string; founder: { machine: string; label: string }; nonce: Uint8Array },
  nowMs: number,
  genesisKey: Signer,
): SignedStatement<Genesis> {
  return signStatement({ v: 1, k: 'genesis', ...namespace, by: genesisKey.peerId, at: nowMs }, genesisKey);
}

/** The genesis key of a recovery seed; its 32 bytes are what the recovery words spell. Throws `invalid_input`. */
export function recoveryKeyFromSeed(seed: Uint8Array): Signer {
  if (seed.length !== 32) throw new PatchcordError('invalid_input', 'A recovery seed has 32 bytes.');
  return signerFromSeed(seed);
}
