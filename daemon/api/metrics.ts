import type { MachineStatus } from './admin.ts';

/** The text exposition format of Prometheus, version 0.0.4. */
export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** Numbers only: no name of a machine, an agent or a namespace goes into a monitoring system. */
export function metricsText(status: MachineStatus, own: { version: string; sessions: number }): string {
  const memberOf = status.namespaces.filter(({ role }) => role !== 'removed');
  const pending = status.agents.map((agent) => agent.pending);
  return [
    gauge('info', 'The running version.', 1, `{version="${own.version.replaceAll(/["\\\n]/g, '')}"}`),
    gauge('namespaces', 'Namespaces that this machine is a member of.', memberOf.length),
    gauge('links', 'Machines that this one keeps a link to.', status.links.length),
    gauge('links_up', 'Links that are up.', status.links.filter((link) => link.up).length),
    gauge('queued_parcels', 'Parcels that wait for a machine.', sum(status.links.map((link) => link.queued))),
    gauge('agents', 'Agents of this machine.', status.agents.length),
    gauge(
      'agents_online',
      'Agents with an open session.',
      status.agents.filter((agent) => agent.online).length,
    ),
    gauge('pending_messages', 'Messages that wait to be shown, of all agents.', sum(pending)),
    gauge('pending_messages_max', 'The same, of the agent that has most.', Math.max(0, ...pending)),
    gauge(
      'deferred_messages',
      'Messages put off for later.',
      sum(status.agents.map((agent) => agent.deferred)),
    ),
    gauge('sessions', 'Sessions open through the API.', own.sessions),
  ].join('');
}

function gauge(name: string, help: string, value: number, labels = ''): string {
  const full = `patchcord_${name}`;
  return `# HELP ${full} ${help}\n# TYPE ${full} gauge\n${full}${labels} ${value}\n`;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}
