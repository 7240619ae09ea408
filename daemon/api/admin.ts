import type {
  CreatedNamespaceView,
  InviteView,
  JoinCheckView,
  JoinPendingView,
  JoinView,
  LocalAgentView,
  MemberView,
  NamespaceView,
  StatusView,
  WatchView,
} from '../../protocol/admin-views.ts';
import type { Role } from '../../protocol/membership/statement.ts';
import type { MessageView } from '../../protocol/views.ts';
import type { WatchedState } from '../../protocol/watch.ts';
import type { AgentSettings } from './answers.ts';

/**
 * What the API offers beside the tools: namespaces, agents, tokens, status. Implemented in process by
 * daemon/machine.ts and over the socket by daemon/client. Every method throws PatchcordError and nothing else.
 */
export interface Admin {
  status(): Promise<MachineStatus>;
  /** Creates a namespace with this machine as its admin. Throws `invalid_name`, `namespace_exists`. */
  createNamespace(name: string): Promise<CreatedNamespaceView>;
  namespaces(): Promise<NamespaceView[]>;
  /** Throws `unknown_namespace`. */
  members(namespace: string): Promise<MemberView[]>;
  /** A single-use ticket. Throws `unknown_namespace`, `not_admin`, `too_many`, `invalid_input` for a bad ttl. */
  invite(namespace: string, options?: InviteOptions): Promise<InviteView>;
  /**
   * Joins by ticket. For a ticket that asks for a check it answers with the six digits, at once the first time and
   * then after up to ten seconds, until the other side has decided: call it again with the same ticket. Throws the
   * `ticket_*` codes, `join_rejected`, `peer_unreachable`, `namespace_exists`.
   */
  join(ticket: string): Promise<JoinView | JoinPendingView>;
  /** Joins of a namespace that wait for somebody here to compare the digits. Throws `unknown_namespace`. */
  joinChecks(namespace: string): Promise<JoinCheckView[]>;
  /**
   * Lets the join with these digits in, or turns it away. Throws `unknown_namespace`, `not_admin`, `not_found` when
   * no join shows them.
   */
  decideJoin(namespace: string, code: string, accept: boolean): Promise<JoinCheckView>;
  /**
   * Removes a machine, named by label or peer id. Throws `unknown_namespace`, `not_admin`, `not_found`, and
   * `invalid_input` for the last admin, for this machine, and for a label that several machines have.
   */
  removeMember(namespace: string, machine: string): Promise<MemberView>;
  /** Makes a machine an admin. Throws like removeMember. */
  promote(namespace: string, machine: string): Promise<MemberView>;
  /** This machine leaves, or forgets a namespace that it is out of; its agents in it go. Throws `unknown_namespace`, `invalid_input` for the last admin of others. */
  leave(namespace: string): Promise<void>;
  /**
   * Makes this machine an admin by the words that were printed when the namespace was created; `remove` names a
   * machine to remove with the same authority. Throws `unknown_namespace`, `invalid_input` for words that are none,
   * `forbidden` for those of another namespace, and like removeMember.
   */
  recover(namespace: string, phrase: string, remove?: string): Promise<NamespaceView>;
  /** Adds an agent; one that is there already is returned as it is. Throws `invalid_name`, `unknown_namespace`, `name_taken`. */
  addAgent(address: string): Promise<LocalAgentView>;
  agents(): Promise<LocalAgentView[]>;
  /** Removes an agent of this machine with its sessions and tokens; its history goes with retention. Throws `unknown_agent`. */
  removeAgent(address: string): Promise<void>;
  /** A new bearer token for an agent of this machine, told once. Throws `unknown_agent`. */
  newToken(address: string): Promise<{ agent: string; token: string }>;
  /** The address of the agent that a bearer token belongs to. */
  agentOfToken(token: string): Promise<string | undefined>;
  /**
   * A person says that an agent may go on answering, in all threads or in one: chains of answers begin anew. Throws
   * `unknown_agent`, `invalid_input` for a bad thread.
   */
  resetChains(address: string, thread?: string): Promise<{ agent: string; thread?: string | undefined }>;
  /** Sets what an agent tells of itself, and whether it wants to be disturbed. Throws `unknown_agent`. */
  setAgent(address: string, settings: AgentSettings): Promise<LocalAgentView>;
  /**
   * Tells an agent once, by a notice, when another is online, or idle. The same again renews it. Throws
   * `unknown_agent`, `unknown_recipient`, `too_many`, `invalid_input` for a bad time.
   */
  watch(address: string, watch: WatchRequest): Promise<WatchView>;
  watches(address: string): Promise<WatchView[]>;
  /** Throws `unknown_agent`, `not_found`. */
  unwatch(address: string, id: string): Promise<WatchView>;
  /** Pending messages, oldest first; marks and leases nothing. Throws `unknown_agent`, `invalid_input` for a bad limit. */
  peek(address: string, limit: number): Promise<{ pending: MessageView[]; total: number }>;
}

export interface WatchRequest {
  agent: string;
  state: WatchedState;
  /** Milliseconds; a day unless told otherwise, a week at most. */
  ttlMs?: number | undefined;
}

export interface InviteOptions {
  /** Milliseconds; 10 minutes unless told otherwise. */
  ttlMs?: number | undefined;
  /** `member` unless told otherwise. A keeper may hold mail for others and hosts no agents. */
  role?: Role | undefined;
  /** People compare six digits before the machine is let in. */
  confirm?: boolean | undefined;
}

/** The part of the status that the machine knows; the daemon adds its process and addresses. */
export type MachineStatus = Omit<StatusView, 'version' | 'pid' | 'home' | 'http' | 'socket' | 'started_at'>;
