import { TOP_AGENTS_MAX, TOP_INTERVAL_MS } from '../../protocol/limits.ts';
import type { TopView } from '../../protocol/top-view.ts';
import type { Top } from '../api/top.ts';
import type { Clock, Timer } from '../clock.ts';
import type { Directory } from '../directory/directory.ts';
import { listings } from '../directory/listings.ts';
import { agentView, isoTime } from '../messenger/views.ts';
import type { LinkStatus, Network } from '../network/network.ts';
import type { HeldStore } from '../store/held-store.ts';
import type { MailStore } from '../store/mail-store.ts';

/** Counts of mail have no event of their own: while somebody looks, they are compared this often. */
const COUNTS_INTERVAL_MS = 2_000;

export interface TopParts {
  directory: Directory;
  network: Network;
  mail: Pick<MailStore, 'tally' | 'outboxCount'>;
  held: Pick<HeldStore, 'recipients'>;
  clock: Clock;
}

export function createTop(parts: TopParts): Top {
  return { look: () => look(parts), follow: (signal) => follow(parts, signal) };
}

async function look({ directory, network, mail, held, clock }: TopParts): Promise<TopView> {
  const logs = [...directory.logs.values()].filter((log) => directory.isMember(log));
  const all = logs.flatMap((log) =>
    listings(directory, log.id).map((listing) => agentView(listing, log.name)),
  );
  // Of too many those that are here come first.
  const agents =
    all.length <= TOP_AGENTS_MAX ? all : all.toSorted((a, b) => Number(b.online) - Number(a.online));
  const kept = await held.recipients();
  const machines = network.links().map(async (link) => ({
    ...linkView(directory, link),
    queued: await mail.outboxCount(link.peerId),
    held: kept.reduce((sum, { to, count }) => sum + (to === link.peerId ? count : 0), 0),
  }));
  const tallies = [...directory.agents.keys()].map((agent) => mail.tally(agent));
  const links = await Promise.all(machines);
  return {
    at: isoTime(clock.now()),
    machine: directory.self.label,
    peer_id: directory.self.peerId,
    namespaces: logs.map(({ name }) => name),
    agents: agents.slice(0, TOP_AGENTS_MAX),
    agents_left_out: Math.max(0, all.length - TOP_AGENTS_MAX),
    machines: links.sort((a, b) => (a.machine < b.machine ? -1 : 1)),
    unread: (await Promise.all(tallies)).reduce((sum, { pending }) => sum + pending, 0),
    queued: links.reduce((sum, { queued }) => sum + queued, 0),
    held: kept.reduce((sum, { count }) => sum + count, 0),
  };
}

function linkView(
  directory: Directory,
  { peerId, up, address, relay, lastError, rttMs }: LinkStatus,
): Omit<TopView['machines'][number], 'queued' | 'held'> {
  const [log] = directory.common(peerId);
  return {
    machine: log ? directory.labelOf(log.id, peerId) : peerId.slice(-8),
    peer_id: peerId,
    up,
    ...(address !== undefined && {
      address,
      via: relay === undefined ? ('direct' as const) : ('relay' as const),
    }),
    ...(rttMs !== undefined && { rtt_ms: rttMs }),
    ...(lastError !== undefined && { last_error: lastError }),
  };
}

async function* follow(parts: TopParts, signal: AbortSignal): AsyncGenerator<TopView> {
  const { directory, clock } = parts;
  let changed = true;
  let wake = (): void => {};
  const note = (): void => {
    changed = true;
    wake();
  };
  const off = directory.onPresenceChanged(note);
  signal.addEventListener('abort', note);
  let said = '';
  try {
    while (!signal.aborted) {
      changed = false;
      const view = await look(parts);
      const text = JSON.stringify({ ...view, at: '' });
      if (text !== said) yield view;
      said = text;
      await pause(clock, TOP_INTERVAL_MS, signal);
      if (changed) continue;
      const { promise, resolve } = Promise.withResolvers<void>();
      wake = resolve;
      const timer: Timer = clock.after(COUNTS_INTERVAL_MS, resolve);
      await promise;
      timer.cancel();
    }
  } finally {
    off();
    signal.removeEventListener('abort', note);
  }
}

function pause(clock: Clock, forMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = clock.after(forMs, end);
    function end(): void {
      timer.cancel();
      signal.removeEventListener('abort', end);
      resolve();
    }
    signal.addEventListener('abort', end);
    if (signal.aborted) end();
  });
}
