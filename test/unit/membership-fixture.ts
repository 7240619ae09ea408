import { author, type Draft } from '../../protocol/membership/author.ts';
import {
  addStatements,
  counts,
  digest,
  heads,
  openLog,
  statements,
  type NamespaceLog,
} from '../../protocol/membership/log.ts';
import {
  foundNamespace,
  recoveryKeyFromSeed,
  signStatement,
  type Chained,
  type SignedStatement,
} from '../../protocol/membership/statement.ts';
import { signerFromSeed, type Signer } from '../../protocol/signing.ts';

/** A signer whose signatures do not hold: logs check none, only reading does, and signing is what takes time. */
const unsigned = ({ peerId }: Signer): Signer => ({ peerId, sign: () => new Uint8Array(64) });

export const recovery = unsigned(recoveryKeyFromSeed(new Uint8Array(32).fill(200)));
export const machine = (number: number): Signer =>
  unsigned(signerFromSeed(new Uint8Array(32).fill(number % 199).fill(Math.floor(number / 199), 0, 1)));
export const agent = (number: number) => `0190a5b0-0000-7000-8000-${String(number).padStart(12, '0')}`;

export const [alice, bob, carol, dave, eve] = [machine(1), machine(2), machine(3), machine(4), machine(5)];

export const genesis = foundNamespace(
  { name: 'myproject', founder: { machine: alice.peerId, label: 'desk' }, nonce: new Uint8Array(16) },
  1,
  recovery,
);
export const newLog = (): NamespaceLog => openLog(genesis);

/** Adds what an author says; whoever writes may do so. */
export function say(log: NamespaceLog, by: Signer, draft: Draft, at = 2): NamespaceLog {
  return take(log, [author(log, draft, at, by)]);
}

/** A log that must take all of the list. */
export function take(log: NamespaceLog, list: readonly SignedStatement[]): NamespaceLog {
  const { log: grown, refused, waiting } = addStatements(log, list);
  if (refused.length + waiting.length > 0) throw new Error(JSON.stringify({ refused, waiting }));
  return grown;
}

/** What a statement says beyond who wrote it, when, and after what. */
export type Body = Chained extends infer S
  ? S extends Chained
    ? Omit<S, 'v' | 'ns' | 'prev' | 'by' | 'at'>
    : never
  : never;

/** A statement that no author's check has seen. */
export function forge(
  by: Signer,
  body: Body,
  prev: readonly string[],
  { at = 2, ns = genesis.hash } = {},
): SignedStatement<Chained> {
  const common = { v: 1, ns, prev: [...new Set(prev)].sort(), by: by.peerId, at } as const;
  return signStatement({ ...common, ...body }, by);
}

export const admit = (who: Signer, role: 'admin' | 'member' | 'keeper' = 'member', label = 'm') =>
  ({ k: 'admit', machine: who.peerId, label, role }) as const;
export const remove = (who: Signer) => ({ k: 'remove', machine: who.peerId }) as const;
export const promote = (who: Signer) => ({ k: 'promote', machine: who.peerId }) as const;
export const claim = (number: number, name: string) => ({ k: 'claim', agent: agent(number), name }) as const;

/** Of several statements that differ in time alone, one whose hash is lower, or higher, than another's. */
export function rival<S extends SignedStatement>(make: (at: number) => S, than: string, lower: boolean): S {
  for (let at = 3; ; at++) {
    const found = make(at);
    if (found.hash < than === lower) return found;
  }
}

/** All that follows from a log, to be compared. */
export function factsOf(log: NamespaceLog) {
  const sorted = <T>(map: ReadonlyMap<string, T>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    name: log.name,
    members: sorted(log.members),
    removed: sorted(log.removed),
    claims: sorted(log.claims),
    lost: [...log.lost].sort((a, b) => (a.hash < b.hash ? -1 : 1)),
    key: log.key,
    rekeyDue: log.rekeyDue,
    checkpoint: log.checkpoint,
  };
}

/** The same, and what is stored. */
export function stateOf(log: NamespaceLog) {
  const counting = statements(log)
    .filter(({ hash }) => counts(log, hash))
    .map(({ hash }) => hash)
    .sort();
  return { ...factsOf(log), counting, heads: heads(log), digest: digest(log), size: log.size };
}
