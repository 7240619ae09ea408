import { z } from 'zod';
import { AGENTS_PER_MACHINE_MAX } from './limits.ts';
import { zAgentId, zLabel, zName, zTimeMs } from './shapes.ts';

/** What a machine announces of one agent that lives on it. */
const zAgentCard = z.strictObject({
  id: zAgentId,
  name: zName,
  /** When the name was claimed, by the home machine's clock; the earliest claim of a name wins. */
  claimed_at: zTimeMs,
  online: z.boolean(),
  /** When a session of the agent was last seen; 0 when there was none yet. */
  last_seen: zTimeMs,
  /** The MCP client of its session, "" when unknown. */
  client: z.string().max(120),
});
export type AgentCard = z.infer<typeof zAgentCard>;

/** Everything a machine announces in one namespace. A higher revision replaces a lower one of the same boot. */
export const zRoster = z.strictObject({
  label: zLabel,
  platform: z.string().max(60),
  agents: z.array(zAgentCard).max(AGENTS_PER_MACHINE_MAX),
});
export type Roster = z.infer<typeof zRoster>;
