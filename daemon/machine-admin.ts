import { formatAddress, parseName, threadSlug } from '../protocol/address.ts';
import { PatchcordError } from '../protocol/errors.ts';
import type {
  CreatedNamespaceView,
  InviteView,
  JoinCheckView,
  JoinPendingView,
  JoinView,
  LocalAgentView,
  MemberView,
  NamespaceView,
  WatchView,
} from '../protocol/admin-views.ts';
import type { NamespaceLog } from '../protocol/membership/log.ts';
import type { Member } from '../protocol/membership/view.ts';
import { isStale } from '../protocol/prekey.ts';
import type { MessageView } from '../protocol/views.ts';
import type { AgentCard } from '../protocol/roster.ts';
import type { Admin, InviteOptions, MachineStatus, WatchRequest } from './api/admin.ts';
import type { AgentSettings } from './api/answers.ts';
import type { Clock } from './clock.ts';
import type { Agents } from './directory/agents.ts';
import { withSettings } from './directory/agent-settings.ts';
import type { LocalAgent } from './directory/directory-store.ts';
import type { Directory } from './directory/directory.ts';
import type { Invites } from './directory/invites.ts';
import type { JoinCheck } from './directory/join-checks.ts';
import type { Joining } from './directory/joining.ts';
import { listings, nameHolder } from './directory/listings.ts';
import type { Membership } from './directory/membership.ts';
import type { DirectorySync } from './directory/sync.ts';
import type { MachineMessenger } from './messenger/machine-messenger.ts';
import { isoTime, messageView } from './messenger/views.ts';
import type { Watches } from './messenger/watches.ts';
import type { Network, SeenAs } from './network/network.ts';
import type { HeldStore } from './store/held-store.ts';
import { damageView } from './doctor/store-checks.ts';
import type { StoreCare } from './store/care/store-care.ts';
import type { MailStore } from './store/mail-store.ts';
import type { Watch } from './store/watch-store.ts';

/** How long a join waits for the first link, so that what is typed next finds the other machine there. */
const FIRST_LINK_MS = 5_000;

/** Administration of this machine, in process. */
export class MachineAdmin implements Admin {
  readonly #directory: Directory;
  readonly #sync: DirectorySync;
  readonly #agents: Agents;
  readonly #invites: Invites;
  readonly #joining: Joining;
  readonly #membership: Membership;
  readonly #messenger: MachineMessenger;
  readonly #mail: MailStore;
  readonly #held: HeldStore;
  readonly #network: Network;
  readonly #clock: Clock;
  readonly #care: Pick<StoreCare, 'unseen'>;
  readonly #watches: Watches;

  constructor(parts: {
    directory: Directory;
    sync: DirectorySync;
    agents: Agents;
    invites: Invites;
    joining: Joining;
    membership: Membership;
    messenger: MachineMessenger;
    mail: MailStore;
    held: HeldStore;
    network: Network;
    clock: Clock;
    care: Pick<StoreCare, 'unseen'>;
    watches: Watches;
  }) {
    this.#directory = parts.directory;
    this.#sync = parts.sync;
    this.#agents = parts.agents;
    this.#invites = parts.invites;
    this.#joining = parts.joining;
    this.#membership = parts.membership;
    this.#messenger = parts.messenger;
    this.#mail = parts.mail;
    this.#held = parts.held;
    this.#network = parts.network;
    this.#clock = parts.clock;
    this.#care = parts.care;
    this.#watches = parts.watches;
  }

  async status(): Promise<MachineStatus> {
    const { self } = this.#directory;
    const held = await this.#held.recipients();
    const links = this.#network.links().map(async ({ peerId, up, address, relay, punched, lastError }) => ({
      machine: this.#labelOf(peerId),
      peer_id: peerId,
      up,
      ...(address === undefined ? {} : { address }),
      ...(relay === undefined ? {} : { relay: this.#labelOf(relay) }),
      ...(punched && { punched }),
      ...(lastError === undefined ? {} : { last_error: lastError }),
      prekey: this.#prekeyState(peerId),
      queued: await this.#mail.outboxCount(peerId),
      held: held.reduce((sum, { to, count }) => sum + (to === peerId ? count : 0), 0),
    }));
    const damage = this.#care.unseen;
    const seen = this.#network.seenAs?.();
    return {
      ...(damage && { damage: damageView(damage) }),
      machine: self.label,
      peer_id: self.peerId,
      listen: this.#network.addresses(),
      ...(seen && { seen_as: seenText(seen), behind_nat: seen.behindNat }),
      namespaces: await this.namespaces(),
      agents: await this.agents(),
      links: await Promise.all(links),
    };
  }

  async createNamespace(name: string): Promise<CreatedNamespaceView> {
    const { log, recoveryPhrase } = await this.#joining.found(parseName(name, 'namespace name'));
    return { ...this.#namespaceView(log), recovery_phrase: recoveryPhrase };
  }

  async namespaces(): Promise<NamespaceView[]> {
    return [...this.#directory.logs.values()].map((log) => this.#namespaceView(log));
  }

  async members(namespace: string): Promise<MemberView[]> {
    const log = this.#named(namespace);
    return [...log.members.values()].map((member) => this.#memberView(log, member));
  }

  async invite(namespace: string, options?: InviteOptions): Promise<InviteView> {
    const { ticket, expiresAtMs } = await this.#invites.invite(this.#named(namespace), options);
    return { ticket, expires_at: isoTime(expiresAtMs) };
  }

  async join(ticket: string): Promise<JoinView | JoinPendingView> {
    const answer = await this.#joining.join(ticket);
    if ('check' in answer) return { joined: false, check: answer.check };
    const { log, joined, inviter } = answer;
    await this.#sync.linked(inviter, FIRST_LINK_MS);
    const current = this.#directory.logs.get(log.id) ?? log;
    const admitter = current.members.get(this.#directory.self.peerId)?.by ?? inviter;
    return {
      namespace: current.name,
      id: current.id,
      admitted_by: this.#directory.labelOf(current.id, admitter),
      members: [...current.members.values()].map((member) => this.#memberView(current, member)),
      joined,
    };
  }

  async joinChecks(namespace: string): Promise<JoinCheckView[]> {
    return this.#invites.checks(this.#named(namespace)).map(joinCheckView);
  }

  async decideJoin(namespace: string, code: string, accept: boolean): Promise<JoinCheckView> {
    return joinCheckView(this.#invites.decide(this.#named(namespace), code, accept));
  }

  async removeMember(namespace: string, machine: string): Promise<MemberView> {
    const log = this.#named(namespace);
    const removed = await this.#membership.remove(log, machine);
    return this.#memberView(log, removed);
  }

  async promote(namespace: string, machine: string): Promise<MemberView> {
    const { id } = this.#named(namespace);
    const { log, member } = await this.#membership.promote(id, machine);
    return this.#memberView(log, member);
  }

  async leave(namespace: string): Promise<void> {
    const log = this.#named(namespace);
    await this.#membership.leave(log);
    for (const agent of this.#directory.agents.values()) if (agent.ns === log.id) await this.#retire(agent);
  }

  async recover(namespace: string, phrase: string, remove?: string): Promise<NamespaceView> {
    return this.#namespaceView(await this.#membership.recover(this.#named(namespace), phrase, remove));
  }

  async addAgent(address: string): Promise<LocalAgentView> {
    const before = this.#directory.agents.size;
    const agent = await this.#agents.add(address);
    return { ...(await this.#agentView(agent)), added: this.#directory.agents.size > before };
  }

  async agents(): Promise<LocalAgentView[]> {
    const views = await Promise.all(
      [...this.#directory.agents.values()].map((agent) => this.#agentView(agent)),
    );
    return views.sort((a, b) => (a.agent < b.agent ? -1 : 1));
  }

  async removeAgent(address: string): Promise<void> {
    await this.#retire(this.#agents.find(address));
  }

  async newToken(address: string): Promise<{ agent: string; token: string }> {
    const agent = this.#agents.find(address);
    return { agent: this.#addressOf(agent), token: await this.#agents.newToken(agent) };
  }

  async agentOfToken(token: string): Promise<string | undefined> {
    const agent = this.#agents.ofToken(token);
    return agent && this.#addressOf(agent);
  }

  async resetChains(address: string, thread?: string): Promise<{ agent: string; thread?: string }> {
    const agent = this.#agents.find(address);
    const slug = thread === undefined ? undefined : threadSlug(thread);
    if (slug === '')
      throw new PatchcordError('invalid_input', 'The thread is empty.', 'Name one, or leave it out.');
    await this.#mail.resetChains(agent.id, slug);
    return { agent: this.#addressOf(agent), ...(slug !== undefined && { thread: slug }) };
  }

  async setAgent(address: string, settings: AgentSettings): Promise<LocalAgentView> {
    const { id } = this.#agents.find(address);
    await this.#agents.set(id, (agent) => withSettings(agent, settings));
    this.#messenger.wake(id);
    return this.#agentView(this.#agents.find(address));
  }

  async watch(address: string, { agent, state, ttlMs }: WatchRequest): Promise<WatchView> {
    return this.#watchView(await this.#watches.add(this.#agents.find(address), agent, state, ttlMs));
  }

  async watches(address: string): Promise<WatchView[]> {
    return this.#watches.of(this.#agents.find(address)).map((watch) => this.#watchView(watch));
  }

  async unwatch(address: string, id: string): Promise<WatchView> {
    return this.#watchView(await this.#watches.cancel(this.#agents.find(address), id));
  }

  async peek(address: string, limit: number): Promise<{ pending: MessageView[]; total: number }> {
    const agent = this.#agents.find(address);
    const records = await this.#mail.pending(agent.id, limit);
    const context = { directory: this.#directory, mail: this.#mail, viewer: agent.id };
    const pending = await Promise.all(records.map((record) => messageView(record, context)));
    const { pending: total } = await this.#mail.tally(agent.id);
    return { pending, total };
  }

  async #retire(agent: LocalAgent): Promise<void> {
    await this.#agents.remove(agent);
    await this.#messenger.endSessions(agent.id);
  }

  #named(namespace: string): NamespaceLog {
    return this.#directory.namespaceByName(parseName(namespace, 'namespace name'));
  }

  #namespaceView(log: NamespaceLog): NamespaceView {
    const { peerId } = this.#directory.self;
    const removal = log.removed.get(peerId);
    return {
      namespace: log.name,
      id: log.id,
      role: log.members.get(peerId)?.role ?? 'removed',
      members: log.members.size,
      agents: listings(this.#directory, log.id).map(({ name }) =>
        formatAddress({ name, namespace: log.name }),
      ),
      ...(removal && {
        removed: {
          by: this.#directory.labelOf(log.id, removal.by),
          at: isoTime(removal.at),
          ...(removal.reason !== undefined && { reason: removal.reason }),
          ...(removal.by === peerId && { left: true as const }),
        },
      }),
    };
  }

  #memberView(log: NamespaceLog, { peerId, label, role }: Omit<Member, 'by'>): MemberView {
    const { self } = this.#directory;
    const names = [...log.claims].filter(([, claim]) => claim.machine === peerId).map(([name]) => name);
    return {
      machine: label,
      peer_id: peerId,
      role,
      online: this.#directory.isHere(log.id, peerId),
      self: peerId === self.peerId,
      agents: names.sort().map((name) => formatAddress({ name, namespace: log.name })),
    };
  }

  async #agentView(agent: LocalAgent): Promise<LocalAgentView> {
    const { pending, deferred, doubt } = await this.#mail.tally(agent.id);
    const holder = nameHolder(this.#directory, agent);
    const cards = this.#directory.ownRoster(agent.ns).agents;
    const { state, status, project, branch }: Partial<AgentCard> =
      cards.find(({ id }) => id === agent.id) ?? {};
    return {
      agent: this.#addressOf(agent),
      id: agent.id,
      online: this.#directory.online.has(agent.id),
      last_seen: agent.lastSeenMs === 0 ? null : isoTime(agent.lastSeenMs),
      client: agent.client,
      pending,
      deferred,
      ...(state && { state }),
      ...(status !== undefined && { status }),
      ...(project !== undefined && { project }),
      ...(branch !== undefined && { branch }),
      ...(agent.branch !== undefined && { share_branch: agent.branch }),
      ...(doubt !== undefined && { in_doubt: doubt }),
      ...(holder !== undefined && { name_held_by: this.#directory.labelOf(agent.ns, holder) }),
    };
  }

  #watchView({ id, agent, ns, name, state, expiresAtMs }: Watch): WatchView {
    const namespace = this.#directory.logs.get(ns)?.name ?? 'unknown';
    const by = this.#directory.agents.get(agent)?.name ?? 'unknown';
    return {
      id,
      as: formatAddress({ name: by, namespace }),
      agent: formatAddress({ name, namespace }),
      state,
      expires_at: isoTime(expiresAtMs),
    };
  }

  #addressOf(agent: LocalAgent): string {
    return formatAddress({
      name: agent.name,
      namespace: this.#directory.logs.get(agent.ns)?.name ?? 'unknown',
    });
  }

  /** A stale prekey is used for want of a newer one: what is sealed to it is less safe from a thief of that machine. */
  #prekeyState(machine: string): 'fresh' | 'stale' | 'none' {
    const prekey = this.#directory.prekeys.get(machine);
    if (!prekey) return 'none';
    return isStale(prekey, this.#clock.now()) ? 'stale' : 'fresh';
  }

  #labelOf(machine: string): string {
    const [log] = this.#directory.common(machine);
    return log ? this.#directory.labelOf(log.id, machine) : machine.slice(-8);
  }
}

function joinCheckView({ code, label, joiner, sinceMs }: JoinCheck & { code: string }): JoinCheckView {
  return { code, machine: label, peer_id: joiner, since: isoTime(sinceMs) };
}

function seenText({ ip, port }: SeenAs): string {
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
}
