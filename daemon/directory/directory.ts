import pLimit from 'p-limit';
import { PatchcordError } from '../../protocol/errors.ts';
import { ADDRESSES_MAX } from '../../protocol/limits.ts';
import { addStatements, openLog, type NamespaceLog } from '../../protocol/membership/log.ts';
import { readStatement, type SignedStatement } from '../../protocol/membership/statement.ts';
import type { Member } from '../../protocol/membership/view.ts';
import { readPrekey, supersedes, type Prekey } from '../../protocol/prekey.ts';
import { readWhereabouts, type Whereabouts } from '../../protocol/discovery/whereabouts.ts';
import type { Roster } from '../../protocol/roster.ts';
import type { Log } from '../log.ts';
import { cardOf, type Place } from './card.ts';
import type { DirectoryStore, Invite, LocalAgent, LogChange } from './directory-store.ts';

/** A namespace log before and after a change. */
export interface LogStep {
  before: NamespaceLog | undefined;
  after: NamespaceLog;
  added: readonly SignedStatement[];
  /** The machine that told the statements, unless they were made here. */
  from: string | undefined;
}

/** Told that agents of a namespace may have come, gone or changed: those of one machine. */
export type PresenceListener = (ns: string, agentIds: readonly string[]) => void;

/**
 * Who is where: namespaces with their members, what machines announce of their agents, prekeys and addresses. It
 * answers from memory; every change is in the store before it is seen here.
 */
export class Directory {
  readonly self: { peerId: string; label: string; platform: string };
  readonly store: DirectoryStore;
  readonly logs = new Map<string, NamespaceLog>();
  readonly invites = new Map<string, Invite>();
  readonly agents = new Map<string, LocalAgent>();
  /** Agent ids by the hash of a bearer token. */
  readonly tokens = new Map<string, string>();
  /** Where each other machine may be reached, best first. */
  readonly addresses = new Map<string, string[]>();
  /** The newest word of each other machine on where it is. */
  readonly whereabouts = new Map<string, Whereabouts>();
  /** The newest prekey of each other machine. */
  readonly prekeys = new Map<string, Prekey>();
  /** The newest key that is held of each namespace. */
  readonly keys = new Map<string, Uint8Array>();
  /** Agents of this machine with a session now. */
  readonly online = new Set<string>();
  /** What agents of this machine with a session do, as it was announced; idle when absent. */
  readonly doing = new Map<string, 'idle' | 'busy'>();
  /** Where they work. */
  readonly places = new Map<string, Place>();
  /** Machines with a link now. */
  readonly linked = new Set<string>();
  /** How far the clock of a machine was ahead of this one's when they linked last, in milliseconds. */
  readonly clocks = new Map<string, number>();
  /** What presence knows of a machine; undefined where it knows nothing, or does not run. */
  presence: (ns: string, machine: string) => boolean | undefined = () => undefined;
  readonly #presenceListeners = new Set<PresenceListener>();
  /** By `NS/MACHINE`. */
  readonly #rosters = new Map<string, Roster>();
  readonly #log: Log;
  readonly #onLogChanged: (step: LogStep) => void;
  /** Logs change one step after another, so that each step starts from what the last one stored. */
  readonly #changing = pLimit(1);

  constructor(parts: {
    self: { peerId: string; label: string; platform: string };
    store: DirectoryStore;
    log: Log;
    /** Called after each change of a namespace log. */
    onLogChanged: (step: LogStep) => void;
  }) {
    this.self = parts.self;
    this.store = parts.store;
    this.#log = parts.log;
    this.#onLogChanged = parts.onLogChanged;
  }

  async load(): Promise<void> {
    const stored = await this.store.load();
    this.#loadLogs(stored.statements, stored.missing);
    for (const { ns, key } of stored.keys) this.keys.set(ns, key);
    for (const invite of stored.invites) this.invites.set(invite.id, invite);
    for (const { ns, machine, roster } of stored.rosters) this.#rosters.set(`${ns}/${machine}`, roster);
    for (const { machine, addresses } of stored.addresses) this.addresses.set(machine, addresses);
    for (const bytes of stored.whereabouts) {
      const said = readWhereabouts(bytes, () => true)!;
      this.whereabouts.set(said.machine, said);
      this.addresses.set(said.machine, bookOf(said, this.addresses.get(said.machine) ?? []));
    }
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

  /** The namespace of that name; one that this machine is a member of before one that it was removed from. */
  findNamespace(name: string): NamespaceLog | undefined {
    const named = [...this.logs.values()].filter((log) => log.name === name);
    return named.find((log) => this.isMember(log)) ?? named[0];
  }

  /** Whether this machine is in. */
  isMember(log: NamespaceLog): boolean {
    return log.members.has(this.self.peerId);
  }

  /** Throws `not_member`, saying who removed this machine. */
  assertMember(log: NamespaceLog): void {
    const notice = this.removalNotice(log);
    if (notice !== undefined) {
      throw new PatchcordError('not_member', notice, 'Ask an admin there for a new invite.');
    }
  }

  /** How this machine ceased to be a member; undefined while it is one. */
  removalNotice(log: NamespaceLog): string | undefined {
    if (this.isMember(log)) return undefined;
    const removal = log.removed.get(this.self.peerId);
    if (!removal) return `This machine is no member of ${log.name}.`;
    if (removal.by === this.self.peerId) return `This machine has left ${log.name}.`;
    const when = new Date(removal.at).toISOString();
    const why = removal.reason === undefined ? '' : ` (${removal.reason})`;
    return `This machine was removed from ${log.name} by ${this.labelOf(log.id, removal.by)}, ${when}${why}.`;
  }

  member(ns: string, machine: string): Member | undefined {
    return this.logs.get(ns)?.members.get(machine);
  }

  /** Whether this machine and that one are both in. */
  shares(ns: string, machine: string): boolean {
    const log = this.logs.get(ns);
    return log !== undefined && log.members.has(machine) && this.isMember(log);
  }

  /** Whether this machine is a keeper of some namespace. */
  isKeeper(): boolean {
    return [...this.logs.values()].some(({ members }) => members.get(this.self.peerId)?.role === 'keeper');
  }

  /** Namespaces that a machine shares with this one. */
  common(machine: string): NamespaceLog[] {
    const found: NamespaceLog[] = [];
    for (const log of this.logs.values()) if (log.members.has(machine) && this.isMember(log)) found.push(log);
    return found;
  }

  labelOf(ns: string, machine: string): string {
    const log = this.logs.get(ns);
    if (log?.genesisKey === machine) return 'the recovery phrase';
    return (log?.members.get(machine) ?? log?.removed.get(machine))?.label ?? machine.slice(-8);
  }

  /** Whether a machine is here now, as far as is known. */
  isHere(ns: string, machine: string): boolean {
    return machine === this.self.peerId || (this.presence(ns, machine) ?? this.linked.has(machine));
  }

  /** Calls the listener whenever agents may have come, gone or changed; returns what ends that. */
  onPresenceChanged(listener: PresenceListener): () => void {
    this.#presenceListeners.add(listener);
    return () => void this.#presenceListeners.delete(listener);
  }

  /** A machine came, went, or tells something else of its agents. */
  presenceChanged(ns: string, machine: string): void {
    if (this.#presenceListeners.size === 0) return;
    const ids = this.rosterOf(ns, machine)?.agents.map(({ id }) => id) ?? [];
    for (const listener of this.#presenceListeners) listener(ns, ids);
  }

  /** What this machine announces in a namespace. */
  ownRoster(ns: string): Roster {
    const agents = [...this.agents.values()]
      .filter((agent) => agent.ns === ns)
      .map((agent) =>
        cardOf(agent, {
          online: this.online.has(agent.id),
          doing: this.doing.get(agent.id),
          place: this.places.get(agent.id),
        }),
      );
    agents.sort((a, b) => (a.id < b.id ? -1 : 1));
    return { platform: this.self.platform, agents };
  }

  async setRoster(ns: string, machine: string, roster: Roster): Promise<void> {
    const before = this.#rosters.get(`${ns}/${machine}`);
    // Seen at once, so that a write which takes its time never puts an older one over a newer one.
    this.#rosters.set(`${ns}/${machine}`, roster);
    this.presenceChanged(ns, machine);
    if (!before || lasting(before) !== lasting(roster)) await this.store.putRoster(ns, machine, roster);
  }

  rosterOf(ns: string, machine: string): Roster | undefined {
    return machine === this.self.peerId ? this.ownRoster(ns) : this.#rosters.get(`${ns}/${machine}`);
  }

  localAgent(ns: string, name: string): LocalAgent | undefined {
    return [...this.agents.values()].find((agent) => agent.ns === ns && agent.name === name);
  }

  /**
   * Changes a namespace log: what `decide` makes of the log as it is now is stored in one batch and then seen.
   * `decide` returns undefined to change nothing; what it throws, this throws.
   */
  changeLog(
    ns: string,
    decide: (log: NamespaceLog | undefined) => LogChange | undefined,
  ): Promise<NamespaceLog | undefined> {
    return this.#changing(async () => {
      const before = this.logs.get(ns);
      const change = decide(before);
      if (!change) return before;
      await this.store.putChange(ns, change);
      const { log: after, added, invite, key, agent, from } = change;
      this.logs.set(ns, after);
      if (invite) this.invites.set(invite.id, invite);
      if (key) this.keys.set(ns, key);
      if (agent) this.agents.set(agent.id, agent);
      this.#onLogChanged({ before, after, added, from });
      return after;
    });
  }

  async setKey(ns: string, key: Uint8Array): Promise<void> {
    await this.store.putKey(ns, key);
    this.keys.set(ns, key);
  }

  /**
   * Drops what machines announced in a namespace that they are no longer in; and when this machine is out, everything
   * that members shared with it.
   */
  async forgetLeft(ns: string): Promise<void> {
    const log = this.logs.get(ns);
    if (!log) return;
    const isIn = this.isMember(log);
    for (const place of this.#rosters.keys()) {
      const [of, machine] = place.split('/');
      if (of !== ns || (isIn && log.members.has(machine!))) continue;
      await this.store.dropRoster(ns, machine!);
      this.#rosters.delete(place);
    }
    if (isIn || !this.keys.has(ns)) return;
    await this.store.dropKey(ns);
    this.keys.delete(ns);
  }

  async forgetNamespace(ns: string): Promise<void> {
    await this.store.forgetNamespace(ns);
    this.logs.delete(ns);
    this.keys.delete(ns);
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

  /** Remembers addresses of a machine that it has not signed, such as those of a ticket, until it tells its own. */
  async learnAddresses(machine: string, addresses: readonly string[]): Promise<void> {
    if (machine === this.self.peerId || addresses.length === 0) return;
    const told = addresses.slice(0, ADDRESSES_MAX);
    await this.store.putAddresses(machine, told);
    this.addresses.set(machine, bookOf(this.whereabouts.get(machine), told));
  }

  /**
   * Remembers a machine's newer word on where it is, which replaces all that was known. True when the addresses are
   * others than before; that it has said the same again is not stored.
   */
  async learnWhereabouts(said: Whereabouts): Promise<boolean> {
    const { machine, addresses } = said;
    const before = this.whereabouts.get(machine);
    const moved = before?.addresses.join() !== addresses.join();
    // First seen, so that of two that arrive together the older one finds the newer.
    this.whereabouts.set(machine, said);
    if (!moved) return false;
    try {
      await this.store.putWhereabouts(machine, said.bytes);
    } catch (error) {
      if (before) this.whereabouts.set(machine, before);
      else this.whereabouts.delete(machine);
      throw error;
    }
    if (this.whereabouts.get(machine) === said) this.addresses.set(machine, addresses);
    return true;
  }

  #loadLogs(
    statements: readonly { ns: string; bytes: Uint8Array }[],
    missing: readonly { ns: string; hash: string }[],
  ): void {
    const byNs = Map.groupBy(statements, ({ ns }) => ns);
    for (const [ns, entries] of byNs) {
      // They were verified before they were stored, and every record is authenticated.
      const signed = entries.map(({ bytes }) => readStatement(bytes, { verified: true }));
      const genesis = signed.find(({ hash }) => hash === ns);
      if (!genesis) {
        this.#log.error({ ns }, 'a namespace without its genesis is left out');
        continue;
      }
      const { log, waiting, refused } = addStatements(openLog(genesis), signed);
      if (refused.length > 0)
        this.#log.error({ ns, lost: refused.length }, 'stored statements of a namespace do not fit it');
      const absent = missing.filter((one) => one.ns === ns && !signed.some(({ hash }) => hash === one.hash));
      if (waiting.length + absent.length > 0) {
        // With a statement missing, somebody who was removed may look like a member.
        this.#log.error(
          { ns, name: log.name },
          'a namespace whose log is damaged is left out: join it again',
        );
        continue;
      }
      this.logs.set(ns, log);
    }
  }
}

/**
 * What of a roster is worth a write. What agents do just now changes often, and is not shown of those that are away, so
 * that nobody misses it after a restart.
 */
function lasting({ platform, agents }: Roster): string {
  return JSON.stringify([platform, agents.map((card) => ({ ...card, state: card.state === 'dnd' }))]);
}

/** What a machine said itself, then what others said of it. */
function bookOf(said: Whereabouts | undefined, told: readonly string[]): string[] {
  return [...new Set([...(said?.addresses ?? []), ...told])].slice(0, ADDRESSES_MAX);
}
