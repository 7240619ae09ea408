import { createHash } from 'node:crypto';
import { z } from 'zod';
import { decode, encode } from './codec.ts';
import { PatchcordError } from './errors.ts';
import { MEMBERS_MAX, STATEMENTS_MAX } from './limits.ts';
import { zBytes, zLabel, zName, zNamespaceId, zPeerId, zTimeMs } from './shapes.ts';
import { verifySignature, type Signer } from './signing.ts';

/**
 * Who belongs to a namespace: signed statements, and the members that follow from a set of them.
 *
 * Invariants:
 * - the members are a function of the set of statements, not of the order in which they arrived;
 * - a machine is a member only by the genesis or by an admit of a machine that is an admin;
 * - a statement that is damaged, of another namespace or not by whom it says is refused before it is stored.
 */
const zRole = z.enum(['admin', 'member', 'keeper']);
export type Role = z.infer<typeof zRole>;

/** Opens a namespace; its hash is the namespace id, its author the first admin. */
const zGenesis = z.strictObject({
  v: z.literal(1),
  k: z.literal('genesis'),
  name: zName,
  by: zPeerId,
  label: zLabel,
  at: zTimeMs,
  /** Makes two namespaces of one name, author and time differ. */
  nonce: zBytes.refine((bytes) => bytes.length === 16),
});

/** Admits a machine. `prev` are the newest statements its author knew. */
const zAdmit = z.strictObject({
  v: z.literal(1),
  k: z.literal('admit'),
  ns: zNamespaceId,
  prev: z.array(zNamespaceId).min(1).max(32),
  by: zPeerId,
  machine: zPeerId,
  label: zLabel,
  role: zRole,
  at: zTimeMs,
});

const zStatement = z.discriminatedUnion('k', [zGenesis, zAdmit]);
export type Statement = z.infer<typeof zStatement>;

/** A statement with its signature checked and its place named. */
export interface SignedStatement {
  /** SHA-256 of the statement's body, in hex. */
  hash: string;
  statement: Statement;
  /** As it travels and is stored. */
  bytes: Uint8Array;
}

export interface Member {
  peerId: string;
  label: string;
  role: Role;
  /** Who admitted it; its own peer id for the founder. */
  by: string;
}

const CONTEXT = 'patchcord namespace statement v1';
const zSigned = z.strictObject({ body: zBytes, sig: zBytes });

export function signStatement(statement: Statement, signer: Signer): SignedStatement {
  const body = encode(statement);
  const bytes = encode({ body, sig: signer.sign(CONTEXT, body) });
  return { hash: hashOf(body), statement, bytes };
}

/** Throws `statement_invalid` or `signature_invalid`. */
export function readStatement(bytes: Uint8Array): SignedStatement {
  const signed = zSigned.safeParse(decode(bytes));
  if (!signed.success) throw new PatchcordError('statement_invalid', 'Not a signed statement.');
  const statement = zStatement.safeParse(decode(signed.data.body));
  if (!statement.success) {
    throw new PatchcordError('statement_invalid', 'Not a namespace statement.', '', {
      cause: statement.error,
    });
  }
  verifySignature(statement.data.by, CONTEXT, signed.data.body, signed.data.sig);
  return { hash: hashOf(signed.data.body), statement: statement.data, bytes };
}

/** One namespace: its genesis and every admit known of it. Treated as a value; {@link addStatement} makes a new one. */
export interface NamespaceLog {
  id: string;
  name: string;
  /** By hash. */
  statements: ReadonlyMap<string, SignedStatement>;
  /** By peer id. */
  members: ReadonlyMap<string, Member>;
}

/** Throws `statement_invalid` unless it is a genesis. */
export function openLog(genesis: SignedStatement): NamespaceLog {
  if (genesis.statement.k !== 'genesis')
    throw new PatchcordError('statement_invalid', 'A log starts with its genesis.');
  return deriveLog(genesis.hash, genesis.statement.name, new Map([[genesis.hash, genesis]]));
}

/** The log with one more statement; the same log when it is known. Throws `statement_invalid`, `too_many`. */
export function addStatement(log: NamespaceLog, signed: SignedStatement): NamespaceLog {
  if (log.statements.has(signed.hash)) return log;
  const { statement } = signed;
  if (statement.k !== 'admit' || statement.ns !== log.id) {
    throw new PatchcordError('statement_invalid', 'A statement of another namespace.');
  }
  if (log.statements.size >= STATEMENTS_MAX || log.members.size >= MEMBERS_MAX) {
    throw new PatchcordError('too_many', `The namespace ${log.name} is full.`);
  }
  if (log.members.get(statement.by)?.role !== 'admin') {
    throw new PatchcordError('statement_invalid', 'Only an admin may admit a machine.');
  }
  const statements = new Map(log.statements).set(signed.hash, signed);
  return deriveLog(log.id, log.name, statements);
}

/** The admit of a machine by an admin of the log. */
export function admit(
  log: NamespaceLog,
  machine: { peerId: string; label: string; role: Role },
  nowMs: number,
  signer: Signer,
): SignedStatement {
  const statement: Statement = {
    v: 1,
    k: 'admit',
    ns: log.id,
    prev: heads(log).slice(0, 32),
    by: signer.peerId,
    machine: machine.peerId,
    label: machine.label,
    role: machine.role,
    at: nowMs,
  };
  return signStatement(statement, signer);
}

/** The statements in an order in which each can be checked: an admin is admitted before it admits. */
export function orderedStatements(log: NamespaceLog): SignedStatement[] {
  const all = [...log.statements.values()].sort((a, b) => (a.hash < b.hash ? -1 : 1));
  const genesis = log.statements.get(log.id)!;
  const ordered = [genesis];
  const placed = new Set([genesis.hash]);
  const admins = new Set([genesis.statement.by]);
  for (let before = 0; before < placed.size;) {
    before = placed.size;
    for (const signed of all) {
      const { statement } = signed;
      if (statement.k !== 'admit' || placed.has(signed.hash) || !admins.has(statement.by)) continue;
      placed.add(signed.hash);
      ordered.push(signed);
      if (statement.role === 'admin') admins.add(statement.machine);
    }
  }
  return ordered;
}

/** The same for two machines exactly when they know the same statements. */
export function logDigest(log: NamespaceLog): Uint8Array {
  const hash = createHash('sha256');
  for (const statementHash of [...log.statements.keys()].sort()) hash.update(statementHash, 'hex');
  return new Uint8Array(hash.digest());
}

/** Statements that no other names as its predecessor. */
function heads(log: NamespaceLog): string[] {
  const followed = new Set<string>();
  for (const { statement } of log.statements.values()) {
    if (statement.k === 'admit') statement.prev.forEach((hash) => followed.add(hash));
  }
  return [...log.statements.keys()].filter((hash) => !followed.has(hash)).sort();
}

function deriveLog(id: string, name: string, statements: ReadonlyMap<string, SignedStatement>): NamespaceLog {
  const members = new Map<string, Member>();
  const draft = { id, name, statements, members };
  for (const { statement } of orderedStatements(draft)) {
    const [peerId, role] =
      statement.k === 'genesis' ? [statement.by, 'admin' as const] : [statement.machine, statement.role];
    const known = members.get(peerId);
    // Admitted twice: the lowest hash names it, and once an admin it stays one, in whatever order the two arrived.
    if (!known) members.set(peerId, { peerId, label: statement.label, role, by: statement.by });
    else if (role === 'admin') members.set(peerId, { ...known, role });
  }
  return draft;
}

function hashOf(body: Uint8Array): string {
  return createHash('sha256').update(body).digest('hex');
}
