import { formatAddress, parseName } from '../protocol/address.ts';
import type {
  InviteView,
  JoinView,
  LocalAgentView,
  MemberView,
  NamespaceView,
} from '../protocol/admin-views.ts';
import type { NamespaceLog } from '../protocol/membership.ts';
import { isStale } from '../protocol/prekey.ts';
import type { MessageView } from '../protocol/views.ts';
import type { Admin, MachineStatus } from './api/admin.ts';
import type { Clock } from './clock.ts';
import type { Admission } from './directory/admission.ts';
import type { Agents } from './directory/agents.ts';
import type { LocalAgent } from './directory/directory-store.ts';
import type { Directory } from './directory/directory.ts';
import type { DirectorySync } from './directory/sync.ts';
import type { MachineMessenger } from './messenger/machine-messenger.ts';
import { isoTime, messageView } from './messenger/views.ts';
import type { Network } from './network/network.ts';
import type { MailStore } from './store/mail-store.ts';

/** How long a join waits for the first link, so that what is typed next finds the other machine there. */
const FIRST_LINK_MS = 5_000;

/** Administration of this machine, in process. */
export class MachineAdmin implements Admin {
  readonly #directory: Directory;
  readonly #sync: DirectorySync;
  readonly #agents: Agents;
  readonly #admission: Admission;
  readonly #messenger: MachineMessenger;
  readonly #mail: MailStore;
  readonly #network: Network;
  readonly #clock: Clock;

  constructor(parts: {
    directory: Directory;
    sync: DirectorySync;
    agents: Agents;
    admission: Admission;
    messenger: MachineMessenger;
    mail: MailStore;
    network: Network;
    clock: Clock;
  }) {
    this.#directory = parts.directory;
    this.#sync = parts.sync;
    this.#agents = parts.agents;
    this.#admission = parts.admission;
    this.#messenger = parts.messenger;
    this.#mail = parts.mail;
    this.#network = parts.network;
    this.#clock = parts.clock;
  }

  async status(): Promise<MachineStatus> {
    const { self } = this.#directory;
    const links = this.#network.links().map(async ({ peerId, up, address, lastError }) => ({
      machine: this.#labelOf(peerId),
      peer_id: peerId,
      up,
      ...(address === undefined ? {} : { address }),
      ...(lastError === undefined ? {} : { last_error: lastError }),
      prekey: this.#prekeyState(peerId),
      queued: await this.#mail.outboxCount(peerId),
    }));
    return {
      machine: self.label,
      peer_id: self.peerId,
      listen: this.#network.addresses(),
      namespaces: await this.namespaces(),
      agents: await this.agents(),
      links: await Promise.all(links),
    };
  }

  async createNamespace(name: string): Promise<NamespaceView> {
    const log = await this.#admission.createNamespace(parseName(name, 'namespace name'));
    return this.#namespaceView(log);
  }

  async namespaces(): Promise<NamespaceView[]> {
    return [...this.#directory.logs.values()].map((log) => this.#namespaceView(log));
  }

  async members(namespace: string): Promise<MemberView[]> {
    return this.#memberViews(this.#directory.namespaceByName(parseName(namespace, 'namespace name')));
  }

  async invite(namespace: string, ttlMs?: number): Promise<InviteView> {
    const log = this.#directory.namespaceByName(parseName(namespace, 'namespace name'));
    const { ticket, expiresAtMs } = await this.#admission.invite(log, ttlMs);
    return { ticket, expires_at: isoTime(expiresAtMs) };
  }

  async join(ticket: string): Promise<JoinView> {
    const { log, joined, admittedBy } = await this.#admission.join(ticket);
    await this.#sync.linked(admittedBy, FIRST_LINK_MS);
    const current = this.#directory.logs.get(log.id) ?? log;
    return {
      namespace: current.name,
      id: current.id,
      admitted_by: this.#directory.labelOf(current.id, admittedBy),
      members: this.#memberViews(current),
      joined,
    };
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
    const agent = this.#agents.find(address);
    await this.#agents.remove(agent);
    await this.#messenger.endSessions(agent.id);
  }

  async newToken(address: string): Promise<{ agent: string; token: string }> {
    const agent = this.#agents.find(address);
    return { agent: this.#addressOf(agent), token: await this.#agents.newToken(agent) };
  }

  async agentOfToken(token: string): Promise<string | undefined> {
    const agent = this.#agents.ofToken(token);
    return agent && this.#addressOf(agent);
  }

  async peek(address: string, limit: number): Promise<{ pending: MessageView[]; total: number }> {
    const agent = this.#agents.find(address);
    const records = await this.#mail.pending(agent.id, limit);
    const context = { directory: this.#directory, mail: this.#mail, viewer: agent.id };
    const pending = await Promise.all(records.map((record) => messageView(record, context)));
    const { pending: total } = await this.#mail.tally(agent.id);
    return { pending, total };
  }

  #namespaceView(log: NamespaceLog): NamespaceView {
    const own = log.members.get(this.#directory.self.peerId);
    return {
      namespace: log.name,
      id: log.id,
      role: own?.role ?? 'member',
      members: log.members.size,
      agents: this.#directory
        .listings(log.id)
        .map(({ card }) => formatAddress({ name: card.name, namespace: log.name })),
    };
  }

  #memberViews(log: NamespaceLog): MemberView[] {
    const { self, linked } = this.#directory;
    return [...log.members.values()].map(({ peerId, label, role }) => ({
      machine: label,
      peer_id: peerId,
      role,
      online: peerId === self.peerId || linked.has(peerId),
      self: peerId === self.peerId,
      agents: (this.#directory.rosterOf(log.id, peerId)?.agents ?? []).map(({ name }) =>
        formatAddress({ name, namespace: log.name }),
      ),
    }));
  }

  async #agentView(agent: LocalAgent): Promise<LocalAgentView> {
    const { pending, deferred } = await this.#mail.tally(agent.id);
    return {
      agent: this.#addressOf(agent),
      id: agent.id,
      online: this.#directory.online.has(agent.id),
      last_seen: agent.lastSeenMs === 0 ? null : isoTime(agent.lastSeenMs),
      client: agent.client,
      pending,
      deferred,
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
