import { PatchcordError, type ErrorCode } from '../errors.ts';
import { AGENTS_PER_MACHINE_MAX, MEMBERS_MAX } from '../limits.ts';
import type { Signer } from '../signing.ts';
import { examine } from './acceptance.ts';
import { checkpointOf } from './checkpoint.ts';
import { contains, union } from './past.ts';
import type { NamespaceLog } from './log.ts';
import { PREV_MAX, signStatement, type Chained, type Role, type SignedStatement } from './statement.ts';

/** What a machine, or the genesis key, wants to say. */
export type Draft =
  | { k: 'admit'; machine: string; label: string; role: Role }
  | { k: 'remove'; machine: string; reason?: string }
  | { k: 'promote'; machine: string }
  | { k: 'rename'; machine: string; label: string }
  | { k: 'rename-namespace'; name: string }
  | { k: 'claim'; agent: string; name: string }
  | { k: 'release'; agent: string }
  | { k: 'rotate'; key_hash: Uint8Array }
  | { k: 'checkpoint' };

/**
 * The statement, signed and bound to all that the log holds; it is still to be added. Throws what
 * {@link checkAuthorable} throws, and `invalid_input`, `too_many` for what no log would take.
 */
export function author(
  log: NamespaceLog,
  draft: Draft,
  nowMs: number,
  signer: Signer,
): SignedStatement<Chained> {
  checkAuthorable(log, draft, signer.peerId);
  const { history } = log.inner;
  const known = newest(log, signer.peerId);
  const prev = known.map((position) => history.entries[position]!.signed.hash).sort();
  const common = { v: 1, ns: log.id, prev, by: signer.peerId, at: nowMs } as const;
  const signed = signStatement({ ...common, ...completed(log, draft, known) }, signer);
  const examined = examine(history, signed);
  if ('code' in examined) throw new PatchcordError(examined.code, examined.why);
  return signed;
}

/**
 * Whether a statement would have the effect that its author wants, by what the log holds now. Throws `not_member`,
 * `not_admin`, `name_taken`, `too_many`, or `invalid_input` for what changes nothing or would leave no admin.
 */
export function checkAuthorable(log: NamespaceLog, draft: Draft, by: string): void {
  const problem = objectionTo(log, draft, by);
  if (problem) throw new PatchcordError(...problem);
}

type Problem = [code: ErrorCode, message: string, remedy?: string];

function objectionTo(log: NamespaceLog, draft: Draft, by: string): Problem | undefined {
  const role = by === log.genesisKey ? 'admin' : log.members.get(by)?.role;
  if (role === undefined) return ['not_member', `${by} is no member of ${log.name}.`];
  const own = 'machine' in draft && draft.machine === by && draft.k !== 'admit' && draft.k !== 'promote';
  if (role !== 'admin' && !own && draft.k !== 'claim' && draft.k !== 'release') {
    return ['not_admin', `Only an admin of ${log.name} may ${draft.k}.`, 'Ask an admin to do it.'];
  }
  if (draft.k === 'admit') return objectionToAdmit(log, draft);
  if (draft.k === 'remove') return objectionToRemove(log, draft.machine);
  if (draft.k === 'promote') return objectionToPromote(log, draft.machine);
  if (draft.k === 'rename') return unlessMember(log, draft.machine);
  if (draft.k === 'claim') return objectionToClaim(log, draft, by);
  if (draft.k === 'release') return objectionToRelease(log, draft.agent, by, role === 'admin');
  return undefined;
}

function objectionToAdmit(log: NamespaceLog, { machine }: { machine: string }): Problem | undefined {
  if (machine === log.genesisKey) return ['invalid_input', 'The genesis key is no machine.'];
  const member = log.members.get(machine);
  if (member) return ['invalid_input', `${member.label} is in ${log.name} already, as ${member.role}.`];
  if (log.members.size < MEMBERS_MAX) return undefined;
  return ['too_many', `${log.name} has ${MEMBERS_MAX} machines, which is all it may.`];
}

function objectionToRemove(log: NamespaceLog, machine: string): Problem | undefined {
  if (log.members.get(machine)?.role !== 'admin' || admins(log).length > 1) return unlessMember(log, machine);
  return [
    'invalid_input',
    `${log.members.get(machine)!.label} is the last admin of ${log.name}.`,
    'Make another machine admin first.',
  ];
}

function objectionToPromote(log: NamespaceLog, machine: string): Problem | undefined {
  if (log.members.get(machine)?.role !== 'admin') return unlessMember(log, machine);
  return ['invalid_input', `${log.members.get(machine)!.label} is an admin of ${log.name} already.`];
}

function objectionToClaim(
  log: NamespaceLog,
  { agent, name }: { agent: string; name: string },
  by: string,
): Problem | undefined {
  const role = log.members.get(by)?.role;
  if (role === undefined || role === 'keeper') return ['not_member', `${by} hosts no agents in ${log.name}.`];
  const holder = log.claims.get(name);
  if (holder) {
    const whose = holder.agent === agent ? 'this agent' : `an agent of ${labelOf(log, holder.machine)}`;
    return ['name_taken', `${name}@${log.name} is the name of ${whose}.`, 'Choose another name.'];
  }
  const held = [...log.claims.values()];
  const home = held.find((claim) => claim.agent === agent)?.machine ?? by;
  if (home !== by) return ['invalid_input', `The agent is at home on ${labelOf(log, home)}.`];
  if (held.filter((claim) => claim.machine === by).length < AGENTS_PER_MACHINE_MAX) return undefined;
  return ['too_many', `A machine may claim ${AGENTS_PER_MACHINE_MAX} names.`];
}

function objectionToRelease(
  log: NamespaceLog,
  agent: string,
  by: string,
  admin: boolean,
): Problem | undefined {
  const claims = [...log.claims.values(), ...log.lost].filter((claim) => claim.agent === agent);
  if (claims.length === 0) return ['invalid_input', `The agent ${agent} holds no name in ${log.name}.`];
  if (admin || claims.some((claim) => claim.machine === by)) return undefined;
  return ['not_admin', `The agent ${agent} is of another machine.`, 'Ask an admin to do it.'];
}

function unlessMember(log: NamespaceLog, machine: string): Problem | undefined {
  return log.members.has(machine) ? undefined : ['invalid_input', `${machine} is no member of ${log.name}.`];
}

export function admins(log: Pick<NamespaceLog, 'members'>): string[] {
  return [...log.members.values()].filter(({ role }) => role === 'admin').map(({ peerId }) => peerId);
}

function labelOf(log: NamespaceLog, machine: string): string {
  return log.members.get(machine)?.label ?? machine;
}

/**
 * The heads, as many as a statement can name. Of more, which only a flood makes, those first that know of the
 * author's admission, as it has no authority without; then those stored last.
 */
function newest(log: NamespaceLog, by: string): number[] {
  const { entries, grants, heads } = log.inner.history;
  const admission = grants.get(by)?.at(-1) ?? 0;
  const knows = (head: number) => Number(head === admission || contains(entries[head]!.past, admission));
  return [...heads].sort((a, b) => knows(b) - knows(a) || b - a).slice(0, PREV_MAX);
}

type Completed<D> = D extends { k: 'rotate' }
  ? D & { epoch: number }
  : D extends { k: 'checkpoint' }
    ? D & { digest: string; members: string }
    : D;

/** The draft with what follows from the statements that it will name. */
function completed(log: NamespaceLog, draft: Draft, known: readonly number[]): Completed<Draft> {
  const entries = known.map((position) => log.inner.history.entries[position]!);
  if (draft.k === 'rotate') return { ...draft, epoch: 1 + Math.max(...entries.map(({ epoch }) => epoch)) };
  if (draft.k !== 'checkpoint') return draft;
  const pasts = entries.map(({ past }) => past);
  return { ...draft, ...checkpointOf(log, union(pasts, known)) };
}
