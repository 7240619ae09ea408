import {
  zCreatedNamespaceView,
  zInviteView,
  zJoinCheckView,
  zLocalAgentView,
  zMemberView,
  zNamespaceView,
  zStatusView,
  zWatchView,
} from '../../protocol/admin-views.ts';
import type { JoinPendingView, JoinView } from '../../protocol/admin-views.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import type { Admin } from '../api/admin.ts';
import {
  zAgentsAnswer,
  zJoinAnswer,
  zJoinsAnswer,
  zMembersAnswer,
  zNamespacesAnswer,
  zPeekAnswer,
  zResetAnswer,
  zTokenAnswer,
  zWatchesAnswer,
  zWhoami,
} from '../api/answers.ts';
import type { Wire } from './wire.ts';

/** The daemon's part of the status is `Client.status`. */
const zMachineStatus = zStatusView.omit({
  version: true,
  pid: true,
  home: true,
  http: true,
  socket: true,
  started_at: true,
});

/** The Admin contract over the socket; a join, which waits for people, can be given up. */
export interface AdminClient extends Admin {
  join(ticket: string, signal?: AbortSignal): Promise<JoinView | JoinPendingView>;
}

export function createAdmin(wire: Wire): AdminClient {
  return {
    status: async () => wire.ask({ method: 'GET', path: '/api/status', answer: zMachineStatus }),
    createNamespace: async (name) =>
      wire.ask({ method: 'POST', path: '/api/namespaces', body: { name }, answer: zCreatedNamespaceView }),
    async namespaces() {
      const answer = await wire.ask({ method: 'GET', path: '/api/namespaces', answer: zNamespacesAnswer });
      return answer.namespaces;
    },
    async members(namespace) {
      const path = `${namespacePath(namespace)}/members`;
      return (await wire.ask({ method: 'GET', path, answer: zMembersAnswer })).members;
    },
    async invite(namespace, options = {}) {
      const { ttlMs, role, confirm } = options;
      // JSON leaves out what is undefined.
      const body = { ttl_ms: ttlMs, role, confirm };
      const path = `${namespacePath(namespace)}/invites`;
      return wire.ask({ method: 'POST', path, body, answer: zInviteView });
    },
    join: async (ticket, signal) =>
      wire.ask({ method: 'POST', path: '/api/joins', body: { ticket }, answer: zJoinAnswer, signal }),
    ...memberships(wire),
    addAgent: async (agent) =>
      wire.ask({ method: 'POST', path: '/api/agents', body: { agent }, answer: zLocalAgentView }),
    async agents() {
      return (await wire.ask({ method: 'GET', path: '/api/agents', answer: zAgentsAnswer })).agents;
    },
    removeAgent: async (address) => wire.tell({ method: 'DELETE', path: agentPath(address) }),
    newToken: async (address) =>
      wire.ask({ method: 'POST', path: `${agentPath(address)}/tokens`, answer: zTokenAnswer }),
    async resetChains(address, thread) {
      const path = `${agentPath(address)}/reset`;
      return wire.ask({ method: 'POST', path, body: { thread }, answer: zResetAnswer });
    },
    setAgent: async (address, settings) =>
      wire.ask({
        method: 'POST',
        path: `${agentPath(address)}/settings`,
        body: settings,
        answer: zLocalAgentView,
      }),
    ...watching(wire),
    agentOfToken: async (token) => agentOfToken(wire, token),
    async peek(address, limit) {
      const query = new URLSearchParams({ status: 'pending', limit: String(limit), as: address });
      return wire.ask({ method: 'GET', path: `/api/inbox?${query.toString()}`, answer: zPeekAnswer });
    },
  };
}

function watching(wire: Wire): Pick<AdminClient, 'watch' | 'watches' | 'unwatch'> {
  const pathOf = (address: string) => `${agentPath(address)}/watches`;
  return {
    async watch(address, { agent, state, ttlMs }) {
      const body = { agent, state, ttl_ms: ttlMs };
      return wire.ask({ method: 'POST', path: pathOf(address), body, answer: zWatchView });
    },
    async watches(address) {
      return (await wire.ask({ method: 'GET', path: pathOf(address), answer: zWatchesAnswer })).watches;
    },
    async unwatch(address, id) {
      const path = `${pathOf(address)}/${encodeURIComponent(id)}`;
      return wire.ask({ method: 'DELETE', path, answer: zWatchView });
    },
  };
}

function memberships(
  wire: Wire,
): Pick<AdminClient, 'joinChecks' | 'decideJoin' | 'removeMember' | 'promote' | 'leave' | 'recover'> {
  return {
    async joinChecks(namespace) {
      const path = `${namespacePath(namespace)}/joins`;
      return (await wire.ask({ method: 'GET', path, answer: zJoinsAnswer })).joins;
    },
    async decideJoin(namespace, code, accept) {
      const path = `${namespacePath(namespace)}/joins/${encodeURIComponent(code)}`;
      return wire.ask({ method: 'POST', path, body: { accept }, answer: zJoinCheckView });
    },
    removeMember: async (namespace, machine) =>
      wire.ask({ method: 'DELETE', path: memberPath(namespace, machine), answer: zMemberView }),
    async promote(namespace, machine) {
      const path = `${memberPath(namespace, machine)}/promotion`;
      return wire.ask({ method: 'POST', path, answer: zMemberView });
    },
    leave: async (namespace) =>
      wire.tell({ method: 'DELETE', path: `${namespacePath(namespace)}/membership` }),
    async recover(namespace, phrase, remove) {
      const path = `${namespacePath(namespace)}/recovery`;
      return wire.ask({ method: 'POST', path, body: { phrase, remove }, answer: zNamespaceView });
    },
  };
}

async function agentOfToken(wire: Wire, token: string): Promise<string | undefined> {
  // What no header can carry is no token.
  if (!/^[\x21-\x7e]+$/.test(token)) return undefined;
  try {
    return (await wire.ask({ method: 'GET', path: '/api/whoami', answer: zWhoami, token })).agent;
  } catch (error) {
    if (error instanceof PatchcordError && error.code === 'unauthorized') return undefined;
    throw error;
  }
}

function namespacePath(namespace: string): string {
  return `/api/namespaces/${encodeURIComponent(namespace)}`;
}

function memberPath(namespace: string, machine: string): string {
  return `${namespacePath(namespace)}/members/${encodeURIComponent(machine)}`;
}

function agentPath(address: string): string {
  return `/api/agents/${encodeURIComponent(address)}`;
}
