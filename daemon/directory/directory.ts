import { nearestNames } from '../../protocol/address.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import type { Party } from '../../protocol/letter.ts';
import { ADDRESSES_MAX } from '../../protocol/limits.ts';
import {
  addStatement,
  openLog,
  readStatement,
  type Member,
  type NamespaceLog,
  type SignedStatement,
} from '../../protocol/membership.ts';
import { readPrekey, supersedes, type Prekey } from '../../protocol/prekey.ts';
import type { AgentCard, Roster } from '../../protocol/roster.ts';
import type { Log } from '../log.ts';
import type { DirectoryStore, Invite, LocalAgent } from './directory-store.ts';

/** An agent somewhere in a namespace: its card, and whether its machine can be reached now. */
export interface Listing {
  card: AgentCard;
  machine: string;
  label: string;
  platform: string;
  online: boolean;
  lastSeenMs: number;
}

/**
 * Who is where: namespaces with their members, the agents of every machine, and addresses. It answers from
 * memory; every change is in the store before it is seen here.
 */
export class Directory {
  readonly self: { peerId: string; label: string; platform: string };
  readonly store: DirectoryStore;
  readonly logs = new Map<string, NamespaceLog>();
  readonly invites = new Map<string, Invite>();
  readonly agents = new Map<string, LocalAgent>();
  /** Agent ids by the hash of a bearer token. */
  readonly tokens = new Map<string, string>();
  readonly addresses = new Map<string, string[]>();
  /** The newest prekey of each other machine. */
  readonly prekeys = new Map<string, Prekey>();
  /** Agents of this machine with a session now. */
  readonly online = new Set<string>();
  /** Machines with a link now. */
  readonly linked = new Set<string>();
  /** By `NS/MACHINE`. */
  readonly #rosters = new Map<string, Roster>();
  readonly #log: Log;

  constructor(self: { peerId: string; label: string; platform: string }, store: DirectoryStore, log: Log) {
    this.self = self;
    this.store = store;
    this.#log = log;
  }

  async load(): Promise<void> {
    const stored = await this.store.load();
    this.#loadLogs(stored.statements);
    for (const invite of stored.invites) this.invites.set(invite.id, invite);
    for (const { ns, machine, roster } of stored.rosters) this.#rosters.set(`${ns}/${machine}`, roster);
    for (const { machine, addresses } of stored.addresses) this.addresses.set(machine, addresses);
    for (const prekey of stored.prekeys.map(readPrekey)) this.prekeys.set(prekey.machine, prekey);
    for (const agent of stored.agents) this.agents.set(agent.id, agent);
    for (const { hash, agent } of stored.tokens) this.tokens.set(hash, agent);
  }

  /** Throws `unknown_namespace`, naming those that this machine is in. */
  namespaceByName(name: string): NamespaceLog {
    const found = this.findNamespace(name);
    if (found) return found;
    const names = [...this.logs.values()].map((log) => log.name);
    const known =
      names.length > 0 ? `This machine is in: ${names.join(', ')}.` : 'This machine is in no namespace yet.';
    throw new PatchcordError(
      'unknown_namespace',
      `No namespace ${JSON.stringify(name)} here. ${known}`,
      'Create it with `patchcord namespace create`, or join it with a ticket from a member.',
    );
  }

  findNamespace(name: string): NamespaceLog | undefined {
    return [...this.logs.values()].find((log) => log.name === name);
  }

  member(ns: string, machine: string): Member | undefined {
    return this.logs.get(ns)?.members.get(machine);
  }

  /** Namespaces that a machine shares with this one. */
  common(machine: string): NamespaceLog[] {
    return [...this.logs.values()].filter(
      (log) => log.members.has(machine) && log.members.has(this.self.peerId),
    );
  }

  /** Every machine that shares a namespace with this one. */
  peers(): string[] {
    const peers = new Set<string>();
    for (const log of this.logs.values()) for (const machine of log.members.keys()) peers.add(machine);
    peers.delete(this.self.peerId);
    return [...peers];
  }

  labelOf(ns: string, machine: string): string {
    return this.member(ns, machine)?.label ?? machine.slice(-8);
  }

  /** What this machine announces in a namespace. */
  ownRoster(ns: string): Roster {
    const agents = [...this.agents.values()]
      .filter((agent) => agent.ns === ns)
      .map((agent) => this.#card(agent));
    agents.sort((a, b) => (a.id < b.id ? -1 : 1));
    return { label: this.self.label, platform: this.self.platform, agents };
  }

  async setRoster(ns: string, machine: string, roster: Roster): Promise<void> {
    await this.store.putRoster(ns, machine, roster);
    this.#rosters.set(`${ns}/${machine}`, roster);
  }

  rosterOf(ns: string, machine: string): Roster | undefined {
    return machine === this.self.peerId ? this.ownRoster(ns) : this.#rosters.get(`${ns}/${machine}`);
  }

  /** Every agent known in a namespace, one a name: of two claims to a name the earlier one counts. */
  listings(ns: string): Listing[] {
    const byName = new Map<string, Listing>();
    for (const machine of this.logs.get(ns)?.members.keys() ?? []) {
      const roster = this.rosterOf(ns, machine);
      for (const card of roster?.agents ?? []) {
        const listing = this.#listing(ns, machine, roster!, card);
        const rival = byName.get(card.name);
        if (!rival || isEarlier(card, rival.card)) byName.set(card.name, listing);
      }
    }
    return [...byName.values()].sort((a, b) => (a.card.name < b.card.name ? -1 : 1));
  }

  /** Throws `unknown_recipient`, naming the nearest names. */
  resolve(log: NamespaceLog, name: string): Listing {
    const listings = this.listings(log.id);
    const found = listings.find((listing) => listing.card.name === name);
    if (found) return found;
    const names = listings.map((listing) => listing.card.name);
    const near = nearestNames(name, names);
    const hint =
      near.length > 0
        ? `Did you mean ${near.join(', ')}?`
        : `Known agents: ${names.slice(0, 10).join(', ')}.`;
    throw new PatchcordError(
      'unknown_recipient',
      `No agent ${name}@${log.name}. ${hint}`,
      'inbox(all_agents=true) lists everyone.',
    );
  }

  /** Where an agent lives, by its id; where it was last counts before what other machines announce. */
  homeOf(ns: string, agentId: string, lastHome: string): Listing | undefined {
    for (const machine of [lastHome, ...(this.logs.get(ns)?.members.keys() ?? [])]) {
      const roster = this.rosterOf(ns, machine);
      const card = roster?.agents.find(({ id }) => id === agentId);
      if (card) return this.#listing(ns, machine, roster!, card);
    }
    return undefined;
  }

  /** Whether a machine has announced an agent under that name and id. */
  lives(ns: string, machine: string, party: Party): boolean {
    const cards = this.rosterOf(ns, machine)?.agents ?? [];
    return cards.some((card) => card.id === party.id && card.name === party.name);
  }

  localAgent(ns: string, name: string): LocalAgent | undefined {
    return [...this.agents.values()].find((agent) => agent.ns === ns && agent.name === name);
  }

  /**
   * Stores statements that hold, and the invite that they used up, and then takes them into the log; the first of
   * a new namespace is its genesis. Returns the log as it is then.
   */
  async extendLog(ns: string, added: readonly SignedStatement[], used?: Invite): Promise<NamespaceLog> {
    await this.store.putStatements(ns, added, used);
    // Read again: the log may have grown while the store wrote.
    const log = extend(this.logs.get(ns) ?? openLog(added[0]!), added).log;
    this.logs.set(ns, log);
    if (used) this.invites.set(used.id, used);
    return log;
  }

  /** Takes a machine's prekey when it is newer than the one that is held. Throws `prekey_refused` for an older one. */
  async learnPrekey(prekey: Prekey): Promise<void> {
    const verdict = supersedes(this.prekeys.get(prekey.machine), prekey);
    if (verdict === 'same') return;
    if (verdict === 'refused') {
      throw new PatchcordError(
        'prekey_refused',
        `Prekey ${prekey.seq} of that machine is older than the one known.`,
      );
    }
    await this.store.putPrekey(prekey.machine, prekey.bytes);
    this.prekeys.set(prekey.machine, prekey);
  }

  /**
   * Remembers where machines can be reached. A machine's own word comes first and replaces its earlier one; what
   * others say is added behind.
   */
  async learnAddresses(
    entries: readonly { machine: string; addresses: readonly string[]; own: boolean }[],
  ): Promise<boolean> {
    const changed: { machine: string; addresses: string[] }[] = [];
    for (const { machine, addresses, own } of entries) {
      if (machine === this.self.peerId || addresses.length === 0) continue;
      const before = this.addresses.get(machine) ?? [];
      const after = [...new Set(own ? addresses : [...before, ...addresses])].slice(0, ADDRESSES_MAX);
      if (after.join() !== before.join()) changed.push({ machine, addresses: after });
    }
    if (changed.length === 0) return false;
    await this.store.putAddresses(changed);
    for (const { machine, addresses } of changed) this.addresses.set(machine, addresses);
    return true;
  }

  #loadLogs(statements: readonly { ns: string; bytes: Uint8Array }[]): void {
    const byNs = Map.groupBy(
      statements.map(({ ns, bytes }) => ({ ns, signed: readStatement(bytes) })),
      ({ ns }) => ns,
    );
    for (const [ns, entries] of byNs) {
      const waiting = new Map(entries.map(({ signed }) => [signed.hash, signed]));
      const genesis = waiting.get(ns);
      if (!genesis) {
        this.#log.error({ ns }, 'a namespace without its genesis is left out');
        continue;
      }
      this.logs.set(ns, extend(openLog(genesis), [...waiting.values()]).log);
    }
  }

  #card(agent: LocalAgent): AgentCard {
    return {
      id: agent.id,
      name: agent.name,
      claimed_at: agent.claimedAtMs,
      online: this.online.has(agent.id),
      last_seen: agent.lastSeenMs,
      client: agent.client,
    };
  }

  #listing(ns: string, machine: string, roster: Roster, card: AgentCard): Listing {
    const reachable = machine === this.self.peerId || this.linked.has(machine);
    return {
      card,
      machine,
      label: this.labelOf(ns, machine),
      platform: roster.platform,
      online: card.online && reachable,
      lastSeenMs: card.last_seen,
    };
  }
}

/**
 * The log with those of the statements that hold, in whatever order they come; a statement waits for the one that
 * makes its author an admin.
 */
export function extend(
  log: NamespaceLog,
  statements: readonly SignedStatement[],
): { log: NamespaceLog; added: SignedStatement[]; refused: SignedStatement[] } {
  let current = log;
  const added: SignedStatement[] = [];
  let waiting = statements.filter(({ hash }) => !current.statements.has(hash));
  for (let before = -1; before !== waiting.length;) {
    before = waiting.length;
    waiting = waiting.filter((signed) => {
      try {
        current = addStatement(current, signed);
        added.push(signed);
        return false;
      } catch (error) {
        if (error instanceof PatchcordError) return true;
        throw error;
      }
    });
  }
  return { log: current, added, refused: waiting };
}

function isEarlier(a: AgentCard, b: AgentCard): boolean {
  return a.claimed_at < b.claimed_at || (a.claimed_at === b.claimed_at && a.id < b.id);
}
