import { z } from 'zod';
import { zAgentView } from './views.ts';

/** What `patchcord top` shows: who is here, which machines are linked, and what waits. */

const zTime = z.string().describe('ISO 8601, UTC');

export const zTopView = z.object({
  at: zTime,
  machine: z.string().describe('label'),
  peer_id: z.string(),
  namespaces: z.array(z.string()),
  agents: z.array(zAgentView),
  agents_left_out: z.number().int().describe('beyond those that are listed'),
  machines: z.array(
    z.object({
      machine: z.string().describe('label'),
      peer_id: z.string(),
      up: z.boolean(),
      address: z.string().optional(),
      via: z.enum(['direct', 'relay']).optional(),
      rtt_ms: z.number().optional().describe('of the last probe, where there was one'),
      last_error: z.string().optional(),
      queued: z.number().int().describe('letters that wait here for it'),
      held: z.number().int().describe('envelopes of others that this machine keeps for it'),
    }),
  ),
  unread: z.number().int().describe('messages that agents of this machine have not seen'),
  queued: z.number().int(),
  held: z.number().int(),
});
export type TopView = z.infer<typeof zTopView>;
