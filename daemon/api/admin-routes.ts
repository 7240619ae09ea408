import { z } from 'zod';
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
import type { StatusView } from '../../protocol/admin-views.ts';
import type { Admin } from './admin.ts';
import {
  zAgentBody,
  zAgentSettings,
  zAgentsAnswer,
  zDecisionBody,
  zHealth,
  zInviteBody,
  zJoinAnswer,
  zJoinBody,
  zJoinsAnswer,
  zMembersAnswer,
  zNamespaceBody,
  zNamespacesAnswer,
  zRecoveryBody,
  zResetAnswer,
  zResetBody,
  zStopAnswer,
  zTokenAnswer,
  zWatchBody,
  zWatchesAnswer,
  zWhoami,
} from './answers.ts';
import { METRICS_TYPE, metricsText } from './metrics.ts';
import type { App } from './server.ts';
import type { Sessions } from './sessions.ts';

/** What the process knows of itself. */
export interface ApiInfo {
  version: string;
  pid: number;
  home: string;
  /** ISO 8601, UTC */
  startedAt: string;
}

/** Where the daemon can be reached. */
export interface ApiAddresses {
  http: string;
  socket: string;
}

export interface AdminRouteParts {
  admin: Admin;
  info: ApiInfo;
  sessions: Sessions;
  stopping: AbortSignal;
  addresses: () => ApiAddresses;
  onStop: () => void;
}

const zNamespaceParams = z.object({ name: z.string() });
const zCheckParams = zNamespaceParams.extend({ code: z.string() });
const zMemberParams = zNamespaceParams.extend({ machine: z.string() });
const zAgentParams = z.object({ address: z.string() });
const zWatchParams = zAgentParams.extend({ id: z.string().max(100) });

export function daemonRoutes(app: App, parts: AdminRouteParts): void {
  const { admin, info, sessions, stopping, addresses, onStop } = parts;
  app.get(
    '/health',
    { schema: { response: { 200: zHealth, 503: zHealth } }, config: { access: 'open' } },
    async (_request, reply) => {
      // Whoever waits for the daemon to end still learns whose socket this is.
      if (stopping.aborted) reply.code(503);
      const status = stopping.aborted ? ('stopping' as const) : ('ok' as const);
      return reply.send({ status, version: info.version, pid: info.pid });
    },
  );

  app.get('/api/status', { schema: { response: { 200: zStatusView } } }, async (): Promise<StatusView> => {
    const { version, pid, home, startedAt } = info;
    return { ...(await admin.status()), version, pid, home, started_at: startedAt, ...addresses() };
  });

  app.get('/metrics', async (_request, reply) => {
    const text = metricsText(await admin.status(), { version: info.version, sessions: sessions.count() });
    return reply.type(METRICS_TYPE).send(text);
  });

  app.get(
    '/api/whoami',
    { schema: { response: { 200: zWhoami } }, config: { access: 'any' } },
    async ({ caller }) => ({ owner: caller.owner, agent: caller.agent?.address }),
  );

  app.post('/api/stop', { schema: { response: { 200: zStopAnswer } } }, async (_request, reply) => {
    // Whoever asked is told first.
    reply.raw.once('close', onStop);
    return { status: 'stopping' } as const;
  });
}

export function adminRoutes(app: App, admin: Admin): void {
  app.post(
    '/api/namespaces',
    { schema: { body: zNamespaceBody, response: { 200: zCreatedNamespaceView } } },
    async ({ body }) => admin.createNamespace(body.name),
  );
  app.get('/api/namespaces', { schema: { response: { 200: zNamespacesAnswer } } }, async () => ({
    namespaces: await admin.namespaces(),
  }));
  app.get(
    '/api/namespaces/:name/members',
    { schema: { params: zNamespaceParams, response: { 200: zMembersAnswer } } },
    async ({ params }) => ({ members: await admin.members(params.name) }),
  );
  app.post(
    '/api/namespaces/:name/invites',
    { schema: { params: zNamespaceParams, body: zInviteBody.optional(), response: { 200: zInviteView } } },
    async ({ params, body }) =>
      admin.invite(params.name, { ttlMs: body?.ttl_ms, role: body?.role, confirm: body?.confirm }),
  );
  app.post('/api/joins', { schema: { body: zJoinBody, response: { 200: zJoinAnswer } } }, async ({ body }) =>
    admin.join(body.ticket),
  );
  membershipRoutes(app, admin);
  presenceRoutes(app, admin);

  app.post(
    '/api/agents',
    { schema: { body: zAgentBody, response: { 200: zLocalAgentView } } },
    async ({ body }) => admin.addAgent(body.agent),
  );
  app.get('/api/agents', { schema: { response: { 200: zAgentsAnswer } } }, async () => ({
    agents: await admin.agents(),
  }));
  app.delete('/api/agents/:address', { schema: { params: zAgentParams } }, async ({ params }, reply) => {
    await admin.removeAgent(params.address);
    return reply.code(204).send();
  });
  app.post(
    '/api/agents/:address/tokens',
    { schema: { params: zAgentParams, response: { 200: zTokenAnswer } } },
    async ({ params }) => admin.newToken(params.address),
  );
  app.post(
    '/api/agents/:address/reset',
    { schema: { params: zAgentParams, body: zResetBody.optional(), response: { 200: zResetAnswer } } },
    async ({ params, body }) => admin.resetChains(params.address, body?.thread),
  );
}

/** What agents tell of themselves, and what they want to be told of others. */
function presenceRoutes(app: App, admin: Admin): void {
  app.post(
    '/api/agents/:address/settings',
    { schema: { params: zAgentParams, body: zAgentSettings, response: { 200: zLocalAgentView } } },
    async ({ params, body }) => admin.setAgent(params.address, body),
  );
  app.post(
    '/api/agents/:address/watches',
    { schema: { params: zAgentParams, body: zWatchBody, response: { 200: zWatchView } } },
    async ({ params, body }) =>
      admin.watch(params.address, { agent: body.agent, state: body.state, ttlMs: body.ttl_ms }),
  );
  app.get(
    '/api/agents/:address/watches',
    { schema: { params: zAgentParams, response: { 200: zWatchesAnswer } } },
    async ({ params }) => ({ watches: await admin.watches(params.address) }),
  );
  app.delete(
    '/api/agents/:address/watches/:id',
    { schema: { params: zWatchParams, response: { 200: zWatchView } } },
    async ({ params }) => admin.unwatch(params.address, params.id),
  );
}

/** Who comes into a namespace, who goes, and who decides that. */
function membershipRoutes(app: App, admin: Admin): void {
  app.get(
    '/api/namespaces/:name/joins',
    { schema: { params: zNamespaceParams, response: { 200: zJoinsAnswer } } },
    async ({ params }) => ({ joins: await admin.joinChecks(params.name) }),
  );
  app.post(
    '/api/namespaces/:name/joins/:code',
    { schema: { params: zCheckParams, body: zDecisionBody, response: { 200: zJoinCheckView } } },
    async ({ params, body }) => admin.decideJoin(params.name, params.code, body.accept),
  );
  app.delete(
    '/api/namespaces/:name/members/:machine',
    { schema: { params: zMemberParams, response: { 200: zMemberView } } },
    async ({ params }) => admin.removeMember(params.name, params.machine),
  );
  app.post(
    '/api/namespaces/:name/members/:machine/promotion',
    { schema: { params: zMemberParams, response: { 200: zMemberView } } },
    async ({ params }) => admin.promote(params.name, params.machine),
  );
  app.delete(
    '/api/namespaces/:name/membership',
    { schema: { params: zNamespaceParams } },
    async ({ params }, reply) => {
      await admin.leave(params.name);
      return reply.code(204).send();
    },
  );
  app.post(
    '/api/namespaces/:name/recovery',
    { schema: { params: zNamespaceParams, body: zRecoveryBody, response: { 200: zNamespaceView } } },
    async ({ params, body }) => admin.recover(params.name, body.phrase, body.remove),
  );
}
