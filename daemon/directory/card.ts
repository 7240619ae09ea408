import type { AgentCard } from '../../protocol/roster.ts';
import type { LocalAgent } from './directory-store.ts';

/** Where a session of an agent works, as its client told. */
export interface Place {
  project?: string;
  branch?: string;
}

/** What this machine announces of one of its agents. */
export function cardOf(
  agent: LocalAgent,
  now: { online: boolean; doing: 'idle' | 'busy' | undefined; place: Place | undefined },
): AgentCard {
  const { online, doing = 'idle', place } = now;
  const state = agent.dnd ? 'dnd' : online ? doing : undefined;
  const project = agent.project ?? place?.project ?? '';
  // What the user has said of it counts more than how the client was started.
  const branch = agent.branch === false ? undefined : place?.branch;
  return {
    id: agent.id,
    online,
    last_seen: agent.lastSeenMs,
    client: agent.client,
    ...(state && { state }),
    ...(agent.status !== undefined && { status: agent.status }),
    ...(project !== '' && { project }),
    ...(branch !== undefined && { branch }),
  };
}
