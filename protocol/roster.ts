import { z } from 'zod';
import { AGENTS_PER_MACHINE_MAX, LABEL_LENGTH_MAX } from './limits.ts';
import { zAgentId, zTimeMs } from './shapes.ts';

/** How an agent fares, as its home machine announces it. Its name is a claim in the namespace log. */
const zAgentCard = z.strictObject({
  id: zAgentId,
  online: z.boolean(),
  /** When a session of the agent was last seen, by the home machine's clock; 0 when there was none yet. */
  last_seen: zTimeMs,
  /** The MCP client of its session, "" when unknown. */
  client: z.string().max(LABEL_LENGTH_MAX),
});
export type AgentCard = z.infer<typeof zAgentCard>;

/** Everything a machine announces of itself in one namespace. */
export const zRoster = z.strictObject({
  platform: z.string().max(60),
  agents: z.array(zAgentCard).max(AGENTS_PER_MACHINE_MAX),
});
export type Roster = z.infer<typeof zRoster>;
