import { z } from 'zod';
import {
  AGENTS_PER_MACHINE_MAX,
  BRANCH_LENGTH_MAX,
  LABEL_LENGTH_MAX,
  PROJECT_LENGTH_MAX,
  STATUS_LENGTH_MAX,
} from './limits.ts';
import { zAgentId, zTimeMs } from './shapes.ts';

/**
 * What an agent does, as far as its home machine sees it: `idle` while it waits for messages, or has asked for nothing
 * for a while; `busy` while it works; `dnd` when it does not want to be disturbed, whatever it does.
 */
export const zAgentState = z.enum(['idle', 'busy', 'dnd']);
export type AgentState = z.infer<typeof zAgentState>;

/** One line that a person or an agent wrote; see plain-line.ts. Shown escaped all the same. */
const zLine = (lengthMax: number) =>
  z
    .string()
    .min(1)
    .max(lengthMax)
    .regex(/^[^\p{Cc}]*$/u);

/** How an agent fares, as its home machine announces it. Its name is a claim in the namespace log. */
const zAgentCard = z.strictObject({
  id: zAgentId,
  online: z.boolean(),
  /** When a session of the agent was last seen, by the home machine's clock; 0 when there was none yet. */
  last_seen: zTimeMs,
  /** The MCP client of its session, "" when unknown. */
  client: z.string().max(LABEL_LENGTH_MAX),
  /** Absent while no session is open, unless it does not want to be disturbed. */
  state: zAgentState.optional(),
  /** What it says of itself. */
  status: zLine(STATUS_LENGTH_MAX).optional(),
  /** Name of the folder that its session works in; never a path, and nothing is decided by it. */
  project: zLine(PROJECT_LENGTH_MAX).optional(),
  /** Git branch there, when its user lets it be told. */
  branch: zLine(BRANCH_LENGTH_MAX).optional(),
});
export type AgentCard = z.infer<typeof zAgentCard>;

/** Everything a machine announces of itself in one namespace. */
export const zRoster = z.strictObject({
  platform: z.string().max(60),
  agents: z.array(zAgentCard).max(AGENTS_PER_MACHINE_MAX),
});
export type Roster = z.infer<typeof zRoster>;
