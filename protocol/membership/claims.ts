import { AGENTS_PER_MACHINE_MAX } from '../limits.ts';

/** An agent name and who holds it. */
export interface Claim {
  agent: string;
  machine: string;
  /** Of the statement that claimed it. */
  hash: string;
  at: number;
}

export interface LostClaim extends Claim {
  name: string;
  /** The machine that holds the name, or that the agent is at home on. */
  heldBy: string;
}

/** The claims of a namespace; changed in place. */
export interface Claims {
  /** By agent name. */
  claims: Map<string, Claim>;
  /** The names that an agent holds, by its id; never empty. All are held for one machine. */
  names: Map<string, readonly string[]>;
  /** The agents that hold names for a machine. */
  agents: Map<string, readonly string[]>;
  /** Claims of what another held, until their author lets go of them or gets the name. */
  lost: Map<string, LostClaim>;
}

/**
 * One more claim, in the agreed order.
 *
 * Invariants:
 * - a name that is held is not taken;
 * - no machine holds more than AGENTS_PER_MACHINE_MAX names;
 * - while one machine holds a name for an agent, no other machine can claim to be that agent's home.
 */
export function applyClaim(view: Claims, name: string, claim: Claim): void {
  const { agent, machine } = claim;
  const key = `${machine} ${agent} ${name}`;
  const holder = view.claims.get(name);
  const names = view.names.get(agent) ?? [];
  const home = names.length > 0 ? view.claims.get(names[0]!)!.machine : machine;
  const taken = home !== machine || (holder !== undefined && holder.agent !== agent);
  if (taken || (!holder && namesOf(view, machine) >= AGENTS_PER_MACHINE_MAX)) {
    view.lost.set(key, { ...claim, name, heldBy: holder?.machine ?? home });
    return;
  }
  view.lost.delete(key);
  if (holder) return;
  view.claims.set(name, claim);
  view.names.set(agent, [...names, name]);
  if (names.length === 0) view.agents.set(machine, [...(view.agents.get(machine) ?? []), agent]);
}

function namesOf(view: Claims, machine: string): number {
  const agents = view.agents.get(machine) ?? [];
  return agents.reduce((count, agent) => count + view.names.get(agent)!.length, 0);
}

/** Lets go of all that an agent holds or wants, as far as the author may: its own, or anyone's by an admin. */
export function applyRelease(view: Claims, agent: string, by: string, admin: boolean): void {
  const names = view.names.get(agent) ?? [];
  const home = names.length > 0 ? view.claims.get(names[0]!)!.machine : undefined;
  if (home !== undefined && (admin || home === by)) {
    dropNames(view, agent);
    const others = view.agents.get(home)!.filter((other) => other !== agent);
    view.agents.set(home, others);
  }
  dropLost(view, (claim) => claim.agent === agent && (admin || claim.machine === by));
}

export function forgetMachine(view: Claims, machine: string): void {
  for (const agent of view.agents.get(machine) ?? []) dropNames(view, agent);
  view.agents.delete(machine);
  dropLost(view, (claim) => claim.machine === machine);
}

function dropNames(view: Claims, agent: string): void {
  for (const name of view.names.get(agent) ?? []) view.claims.delete(name);
  view.names.delete(agent);
}

function dropLost(view: Claims, matches: (claim: LostClaim) => boolean): void {
  for (const [key, claim] of view.lost) if (matches(claim)) view.lost.delete(key);
}
