import { z } from 'zod';

/** What `patchcord doctor` tells, and what of it the status repeats until somebody has seen it. */

const zTime = z.string().describe('ISO 8601, UTC');

/** Damage of the store that nobody has acknowledged. */
export const zDamageView = z.object({
  since: zTime,
  last: zTime,
  findings: z.array(
    z.object({
      kind: z
        .enum(['lost', 'damaged', 'mended'])
        .describe('gone; kept in quarantine; put right from what was there'),
      what: z.string(),
      count: z.number().int(),
    }),
  ),
});
export type DamageView = z.infer<typeof zDamageView>;

export const zCheckView = z.object({
  name: z.string(),
  state: z.enum(['ok', 'warn', 'fail']),
  text: z.string(),
  remedy: z.string().optional(),
});
export type CheckView = z.infer<typeof zCheckView>;

/** One other machine: whether it is reached, and why not. */
export const zPeerView = z.object({
  machine: z.string().describe('label'),
  peer_id: z.string(),
  member: z.boolean().describe('it shares a namespace with this machine'),
  linked: z.boolean(),
  online: z.boolean().describe('here, as far as is known: linked, or seen through others'),
  agents: z.array(z.string()),
  attempts: z.number().int().describe('dials since it was linked last'),
  clock_ahead_ms: z.number().int().optional().describe('of its clock, when they linked last'),
  tried: z.array(z.object({ address: z.string(), error: z.string(), at: zTime })),
  findings: z.array(zCheckView.omit({ name: true })),
});
export type PeerView = z.infer<typeof zPeerView>;

export const zDoctorView = z.object({ checks: z.array(zCheckView) });
export type DoctorView = z.infer<typeof zDoctorView>;
