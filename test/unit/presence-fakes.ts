import type { Top } from '../../daemon/api/top.ts';
import type { WatchView } from '../../protocol/admin-views.ts';
import type { PeerView } from '../../protocol/doctor-view.ts';
import type { TopView } from '../../protocol/top-view.ts';

/** What the fakes of the API tell of other agents and machines. */

const STARTED_AT = '2026-11-22T20:00:00.000Z';

export const PEER: PeerView = {
  machine: 'desktop',
  peer_id: 'q',
  member: true,
  linked: false,
  online: false,
  agents: [],
  attempts: 2,
  tried: [{ address: '/ip4/192.0.2.7/tcp/1', error: 'connect ECONNREFUSED', at: STARTED_AT }],
  findings: [{ state: 'fail', text: 'nobody listens', remedy: 'start it' }],
};

export const WATCH: WatchView = {
  id: 'w1',
  as: 'frontend@myproject',
  agent: 'backend@myproject',
  state: 'idle',
  expires_at: STARTED_AT,
};

export const TOP: TopView = {
  at: STARTED_AT,
  machine: 'laptop',
  peer_id: 'p',
  namespaces: ['myproject'],
  agents: [],
  agents_left_out: 0,
  machines: [],
  unread: 0,
  queued: 0,
  held: 0,
};

/** Tells of two changes, and then of none. */
export const fakeTop: Top = {
  look: async () => TOP,
  async *follow(signal) {
    yield TOP;
    yield { ...TOP, unread: 1 };
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  },
};
