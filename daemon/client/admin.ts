import {
  zInviteView,
  zJoinView,
  zLocalAgentView,
  zNamespaceView,
  zStatusView,
} from '../../protocol/admin-views.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import type { Admin } from '../api/admin.ts';
import {
  zAgentsAnswer,
  zMembersAnswer,
  zNamespacesAnswer,
  zPeekAnswer,
  zTokenAnswer,
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

/** The Admin contract over the socket. */
export function createAdmin(wire: Wire): Admin {
  return {
    status: async () => wire.ask({ method: 'GET', path: '/api/status', answer: zMachineStatus }),
    createNamespace: async (name) =>
      wire.ask({ method: 'POST', path: '/api/namespaces', body: { name }, answer: zNamespaceView }),
    async namespaces() {
      const answer = await wire.ask({ method: 'GET', path: '/api/namespaces', answer: zNamespacesAnswer });
      return answer.namespaces;
    },
    async members(namespace) {
      const path = `${namespacePath(namespace)}/members`;
      return (await wire.ask({ method: 'GET', path, answer: zMembersAnswer })).members;
    },
    async invite(namespace, ttlMs) {
      const body = ttlMs === undefined ? {} : { ttl_ms: ttlMs };
      const path = `${namespacePath(namespace)}/invites`;
      return wire.ask({ method: 'POST', path, body, answer: zInviteView });
    },
    join: async (ticket) =>
      wire.ask({ method: 'POST', path: '/api/joins', body: { ticket }, answer: zJoinView }),
    addAgent: async (agent) =>
      wire.ask({ method: 'POST', path: '/api/agents', body: { agent }, answer: zLocalAgentView }),
    async agents() {
      return (await wire.ask({ method: 'GET', path: '/api/agents', answer: zAgentsAnswer })).agents;
    },
    removeAgent: async (address) => wire.tell({ method: 'DELETE', path: agentPath(address) }),
    newToken: async (address) =>
      wire.ask({ method: 'POST', path: `${agentPath(address)}/tokens`, answer: zTokenAnswer }),
    agentOfToken: async (token) => agentOfToken(wire, token),
    async peek(address, limit) {
      const query = new URLSearchParams({ status: 'pending', limit: String(limit), as: address });
      return wire.ask({ method: 'GET', path: `/api/inbox?${query.toString()}`, answer: zPeekAnswer });
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

function agentPath(address: string): string {
  return `/api/agents/${encodeURIComponent(address)}`;
}
