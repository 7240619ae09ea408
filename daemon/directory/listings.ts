import { nearestNames } from '../../protocol/address.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import type { Party } from '../../protocol/letter.ts';
import type { Claim } from '../../protocol/membership/claims.ts';
import type { NamespaceLog } from '../../protocol/membership/log.ts';
import type { AgentCard, AgentState } from '../../protocol/roster.ts';
import type { LocalAgent } from './directory-store.ts';
import type { Directory } from './directory.ts';

/**
 * The agents of a namespace. Who holds which name, and where, the namespace log says; whether the agent is here,
 * its machine announces.
 */
export interface Listing {
  id: string;
  name: string;
  machine: string;
  /** The machine's. */
  label: string;
  platform: string;
  /** The MCP client of its session, "" when unknown. */
  client: string;
  online: boolean;
  /** 0 when it was never seen. */
  lastSeenMs: number;
  /** What it does; of one that is away only that it does not want to be disturbed. */
  state?: AgentState;
  status?: string;
  project?: string;
  branch?: string;
}

/** Every agent of a namespace by name; none for a machine that is no member. */
export function listings(directory: Directory, ns: string): Listing[] {
  const log = directory.logs.get(ns);
  if (!log || !directory.isMember(log)) return [];
  const all = [...log.claims].map(([name, claim]) => listingOf(directory, ns, name, claim));
  return all.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Throws `unknown_recipient`, naming the nearest names, or `not_member`. */
export function resolve(directory: Directory, log: NamespaceLog, name: string): Listing {
  directory.assertMember(log);
  const claim = log.claims.get(name);
  if (claim) return listingOf(directory, log.id, name, claim);
  const names = [...log.claims.keys()].sort();
  const near = nearestNames(name, names);
  const hint =
    near.length > 0 ? `Did you mean ${near.join(', ')}?` : `Known agents: ${names.slice(0, 10).join(', ')}.`;
  throw new PatchcordError(
    'unknown_recipient',
    `No agent ${name}@${log.name}. ${hint}`,
    'inbox(all_agents=true) lists everyone.',
  );
}

/** Where an agent lives, by its id. */
export function homeOf(directory: Directory, ns: string, agentId: string): Listing | undefined {
  const claims = directory.logs.get(ns)?.claims ?? new Map<string, Claim>();
  for (const [name, claim] of claims) {
    if (claim.agent === agentId) return listingOf(directory, ns, name, claim);
  }
  return undefined;
}

/** Whether that agent holds that name, for that machine. */
export function lives(directory: Directory, ns: string, machine: string, party: Party): boolean {
  const claim = directory.logs.get(ns)?.claims.get(party.name);
  return claim?.agent === party.id && claim.machine === machine;
}

/** Whether an agent of that machine claimed that name too late. */
export function lostName(directory: Directory, ns: string, machine: string, party: Party): boolean {
  const lost = directory.logs.get(ns)?.lost ?? [];
  return lost.some(
    (claim) => claim.agent === party.id && claim.machine === machine && claim.name === party.name,
  );
}

/** The machine whose agent holds the name of an agent of this one, which claimed it too late. */
export function nameHolder(directory: Directory, agent: LocalAgent): string | undefined {
  const claim = directory.logs.get(agent.ns)?.claims.get(agent.name);
  return claim && claim.agent !== agent.id ? claim.machine : undefined;
}

/** Throws `name_taken` when another machine claimed the agent's name first. */
export function assertNamed(directory: Directory, agent: LocalAgent): void {
  const holder = nameHolder(directory, agent);
  if (holder === undefined) return;
  throw new PatchcordError(
    'name_taken',
    `The name ${agent.name} was claimed first on ${directory.labelOf(agent.ns, holder)}.`,
    'Add an agent under another name and use that.',
  );
}

function listingOf(directory: Directory, ns: string, name: string, claim: Claim): Listing {
  const { machine, agent: id } = claim;
  const roster = directory.rosterOf(ns, machine);
  const card = roster?.agents.find((one) => one.id === id);
  const online = card?.online === true && directory.isHere(ns, machine);
  return {
    id,
    name,
    machine,
    label: directory.labelOf(ns, machine),
    platform: roster?.platform ?? '',
    client: card?.client ?? '',
    online,
    lastSeenMs: card?.last_seen ?? 0,
    ...told(card, online),
  };
}

/** What an agent tells of itself. Where one works that is not here, and what it does, was true once. */
function told(
  card: AgentCard | undefined,
  online: boolean,
): Pick<Listing, 'state' | 'status' | 'project' | 'branch'> {
  if (!card) return {};
  const { state, status, project, branch } = card;
  return {
    ...(state && (online || state === 'dnd') && { state }),
    ...(status !== undefined && { status }),
    ...(online && project !== undefined && { project }),
    ...(online && branch !== undefined && { branch }),
  };
}
