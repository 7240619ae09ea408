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

export const zDoctorView = z.object({ checks: z.array(zCheckView) });
export type DoctorView = z.infer<typeof zDoctorView>;
