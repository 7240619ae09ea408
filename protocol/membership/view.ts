import { encode } from '../codec.ts';
import { sha256Hex } from '../digest.ts';
import { MEMBERS_MAX } from '../limits.ts';
import type { Levels } from './authority.ts';
import { applyClaim, applyRelease, forgetMachine, type Claims } from './claims.ts';
import { ADMIN_LEVEL, isBefore, type History } from './history.ts';
import type { Role, Statement } from './statement.ts';

export interface Member {
  peerId: string;
  label: string;
  role: Role;
  /** Who admitted it; the genesis key for the founder. */
  by: string;
}

export interface Removal {
  /** Of the statement that removed it. */
  hash: string;
  /** What the machine was called. */
  label: string;
  by: string;
  at: number;
  reason: string | undefined;
}

export interface KeyEpoch {
  epoch: number;
  /** SHA-256 of the namespace key. */
  keyHash: Uint8Array;
  hash: string;
  by: string;
}

export interface Checkpoint {
  hash: string;
  by: string;
  at: number;
}

/**
 * What follows from the statements that count, taken in the agreed order.
 *
 * Invariants:
 * - a machine is a member by a grant that counts and that no removal cancelled; where admission and removal did not
 *   know of each other, the removal wins;
 * - a role only rises, except through removal and a new admission;
 * - the first who claims a free name holds it until a release or the removal of its machine;
 * - a label, a name and a key epoch are what the last statement about them says.
 */
export interface View extends Claims {
  name: string;
  /** By peer id. */
  members: Map<string, Member>;
  /**
   * The members in the places that they have in the mesh (protocol/mesh): a new one takes the next, and when one goes
   * the last takes its place, so that a change of the members moves at most one other.
   */
  places: string[];
  /** By peer id: machines that were members and are none now. */
  removed: Map<string, Removal>;
  /** Undefined until the first rotation. */
  key: KeyEpoch | undefined;
  /** By machine: the positions of its removals. */
  removals: Map<string, readonly number[]>;
  /** Removals that the author of the current key did not know of: it may have given the key to who was removed. */
  unkeyed: number[];
  checkpoint: Checkpoint | undefined;
}

export function copyView(view: View): View {
  return {
    ...view,
    members: new Map(view.members),
    places: [...view.places],
    removed: new Map(view.removed),
    removals: new Map(view.removals),
    claims: new Map(view.claims),
    names: new Map(view.names),
    agents: new Map(view.agents),
    lost: new Map(view.lost),
    unkeyed: [...view.unkeyed],
  };
}

export function viewOf(history: History, order: Uint32Array, levels: Levels): View {
  const view: View = {
    name: history.genesis.statement.name,
    members: new Map(),
    places: [],
    removed: new Map(),
    removals: new Map(),
    claims: new Map(),
    names: new Map(),
    agents: new Map(),
    lost: new Map(),
    key: undefined,
    unkeyed: [],
    checkpoint: undefined,
  };
  for (const position of order) applyStatement(view, history, position, levels);
  return view;
}

/** Brings one more statement into the view: the next in the agreed order. */
export function applyStatement(view: View, history: History, position: number, levels: Levels): void {
  const level = levels[position]!;
  if (level === 0) return;
  const { statement, hash } = history.entries[position]!.signed;
  switch (statement.k) {
    case 'genesis':
    case 'admit':
    case 'promote':
      return grant(view, history, statement, position);
    case 'remove':
      return remove(view, history, statement, position);
    case 'rename': {
      const member = view.members.get(statement.machine);
      if (member) view.members.set(member.peerId, { ...member, label: statement.label });
      return;
    }
    case 'rename-namespace':
      view.name = statement.name;
      return;
    case 'claim': {
      const { agent, name, at, by: machine } = statement;
      if (view.members.has(machine)) applyClaim(view, name, { agent, machine, hash, at });
      return;
    }
    case 'release':
      return applyRelease(view, statement.agent, statement.by, level === ADMIN_LEVEL);
    case 'rotate': {
      const { epoch, key_hash: keyHash, by } = statement;
      // Of two who rotate to one epoch at the same time, the first holds.
      if (epoch <= (view.key?.epoch ?? 0)) return;
      view.key = { epoch, keyHash, hash, by };
      view.unkeyed = view.unkeyed.filter((removal) => !isBefore(history, removal, position));
      return;
    }
    case 'checkpoint':
      view.checkpoint = { hash, by: statement.by, at: statement.at };
  }
}

type Of<K extends Statement['k']> = Extract<Statement, { k: K }>;

function grant(
  view: View,
  history: History,
  statement: Of<'genesis' | 'admit' | 'promote'>,
  position: number,
): void {
  const machine = statement.k === 'genesis' ? statement.founder.machine : statement.machine;
  const removals = view.removals.get(machine) ?? [];
  // Whoever wrote it did not know of the removal.
  if (!removals.every((removal) => isBefore(history, removal, position))) return;
  const role = statement.k === 'admit' ? statement.role : 'admin';
  const member = view.members.get(machine);
  if (member) {
    if (RANK[role] > RANK[member.role]) view.members.set(machine, { ...member, role });
    return;
  }
  // A promotion without an admission that holds: the machine is beyond the bound.
  if (statement.k === 'promote' || view.members.size >= MEMBERS_MAX) return;
  const { label } = statement.k === 'genesis' ? statement.founder : statement;
  view.members.set(machine, { peerId: machine, label, role, by: statement.by });
  view.places.push(machine);
  view.removed.delete(machine);
}

const RANK: Record<Role, number> = { keeper: 1, member: 2, admin: 3 };

function remove(view: View, history: History, statement: Of<'remove'>, position: number): void {
  const { machine, by, at, reason } = statement;
  view.unkeyed.push(position);
  view.removals.set(machine, [...(view.removals.get(machine) ?? []), position]);
  const label = (view.members.get(machine) ?? view.removed.get(machine))?.label ?? machine.slice(-8);
  view.removed.set(machine, { hash: history.entries[position]!.signed.hash, label, by, at, reason });
  if (view.members.delete(machine)) leavePlace(view.places, machine);
  forgetMachine(view, machine);
}

function leavePlace(places: string[], machine: string): void {
  const last = places.pop()!;
  if (last !== machine) places[places.indexOf(machine)] = last;
}

/** The same for two views exactly when they hold the same machines in the same roles under the same labels. */
export function membersDigest(view: View): string {
  const members = [...view.members.values()].sort((a, b) => (a.peerId < b.peerId ? -1 : 1));
  return sha256Hex(encode(members.map(({ peerId, role, label }) => [peerId, role, label])));
}
