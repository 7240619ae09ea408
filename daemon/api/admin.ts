import type {
  InviteView,
  JoinView,
  LocalAgentView,
  MemberView,
  NamespaceView,
  StatusView,
} from '../../protocol/admin-views.ts';
import type { MessageView } from '../../protocol/views.ts';

/**
 * What the API offers beside the tools: namespaces, agents, tokens, status. Implemented in process by
 * daemon/machine.ts and over the socket by daemon/client. Every method throws PatchcordError and nothing else.
 */
export interface Admin {
  status(): Promise<MachineStatus>;
  /** Creates a namespace with this machine as its admin. Throws `invalid_name`, `namespace_exists`. */
  createNamespace(name: string): Promise<NamespaceView>;
  namespaces(): Promise<NamespaceView[]>;
  /** Throws `unknown_namespace`. */
  members(namespace: string): Promise<MemberView[]>;
  /** A single-use ticket. Throws `unknown_namespace`, `not_admin`, `too_many`, `invalid_input` for a bad ttl. */
  invite(namespace: string, ttlMs?: number): Promise<InviteView>;
  /** Joins by ticket. Throws the `ticket_*` codes, `peer_unreachable`, `namespace_exists`. */
  join(ticket: string): Promise<JoinView>;
  /** Adds an agent; one that is there already is returned as it is. Throws `invalid_name`, `unknown_namespace`, `name_taken`. */
  addAgent(address: string): Promise<LocalAgentView>;
  agents(): Promise<LocalAgentView[]>;
  /** Removes an agent of this machine with its sessions and tokens; its history goes with retention. Throws `unknown_agent`. */
  removeAgent(address: string): Promise<void>;
  /** A new bearer token for an agent of this machine, told once. Throws `unknown_agent`. */
  newToken(address: string): Promise<{ agent: string; token: string }>;
  /** The address of the agent that a bearer token belongs to. */
  agentOfToken(token: string): Promise<string | undefined>;
  /** Pending messages, oldest first; marks and leases nothing. Throws `unknown_agent`, `invalid_input` for a bad limit. */
  peek(address: string, limit: number): Promise<{ pending: MessageView[]; total: number }>;
}

/** The part of the status that the machine knows; the daemon adds its process and addresses. */
export type MachineStatus = Omit<StatusView, 'version' | 'pid' | 'home' | 'http' | 'socket' | 'started_at'>;
