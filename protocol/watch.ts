import { z } from 'zod';
import type { AgentState } from './roster.ts';

/** What one can ask to be told of another agent. */
export const zWatchedState = z.enum(['online', 'idle']);
export type WatchedState = z.infer<typeof zWatchedState>;

/**
 * Whether it is so now. It is looked at whenever something changed, so that what was so for a moment while nobody looked
 * may go unsaid; what is so when somebody looks is always said. An agent that does not want to be disturbed is not idle.
 */
export function holds(
  wanted: WatchedState,
  agent: { online: boolean; state?: AgentState | undefined },
): boolean {
  return agent.online && (wanted === 'online' || agent.state === 'idle');
}
