import { z } from 'zod';
import { zDamageView } from './doctor-view.ts';
import { zAgentState } from './roster.ts';
import { zRole } from './shapes.ts';
import { zWatchedState } from './watch.ts';

/** What the daemon's API tells the command line and the console, apart from the seven tools. */

const zTime = z.string().describe('ISO 8601, UTC');

export const zNamespaceView = z.object({
  namespace: z.string(),
  id: z.string(),
  role: z.enum([...zRole.options, 'removed']),
  members: z.number().int(),
  agents: z.array(z.string()).describe('every agent known in it, this machine or another'),
  removed: z
    .object({ by: z.string(), at: zTime, reason: z.string().optional(), left: z.literal(true).optional() })
    .optional()
    .describe('who removed this machine, and when by its clock; `left` when that was this machine itself'),
});
export type NamespaceView = z.infer<typeof zNamespaceView>;

export const zCreatedNamespaceView = zNamespaceView.extend({
  recovery_phrase: z.string().describe('24 words that make another machine admin; told once, kept nowhere'),
});
export type CreatedNamespaceView = z.infer<typeof zCreatedNamespaceView>;

export const zMemberView = z.object({
  machine: z.string().describe('the label it was admitted with'),
  peer_id: z.string(),
  role: zRole,
  online: z.boolean(),
  self: z.boolean(),
  agents: z.array(z.string()),
});
export type MemberView = z.infer<typeof zMemberView>;

/** What both sides show while a join waits for people to compare it. */
const zCheckCode = z.string().regex(/^[0-9]{6}$/);

export const zJoinCheckView = z.object({
  code: zCheckCode,
  machine: z.string().describe('the label it asks for'),
  peer_id: z.string(),
  since: zTime,
});
export type JoinCheckView = z.infer<typeof zJoinCheckView>;

export const zInviteView = z.object({ ticket: z.string(), expires_at: zTime });
export type InviteView = z.infer<typeof zInviteView>;

/** The join waits until the inviting side has compared the digits. */
export const zJoinPendingView = z.object({ joined: z.literal(false), check: zCheckCode });
export type JoinPendingView = z.infer<typeof zJoinPendingView>;

export const zJoinView = z.object({
  namespace: z.string(),
  id: z.string(),
  admitted_by: z.string().describe('label of the machine that admitted this one'),
  members: z.array(zMemberView),
  /** False when this machine was a member already. */
  joined: z.boolean(),
});
export type JoinView = z.infer<typeof zJoinView>;

export const zLocalAgentView = z.object({
  agent: z.string().describe('name@namespace'),
  id: z.string(),
  online: z.boolean(),
  last_seen: zTime.nullable(),
  client: z.string(),
  pending: z.number().int(),
  deferred: z.number().int(),
  state: zAgentState.optional(),
  status: z.string().optional(),
  project: z.string().optional(),
  branch: z.string().optional(),
  share_branch: z.boolean().optional().describe('whether the git branch may be told, where that was decided'),
  in_doubt: z
    .number()
    .int()
    .optional()
    .describe('messages that may have been read before a restore; not shown until their senders have told'),
  name_held_by: z
    .string()
    .optional()
    .describe('label of the machine whose agent claimed the name first; this one cannot be reached by it'),
  /** False when `agent add` found the agent already there. */
  added: z.boolean().optional(),
});
export type LocalAgentView = z.infer<typeof zLocalAgentView>;

export const zWatchView = z.object({
  id: z.string(),
  as: z.string().describe('name@namespace of who is told'),
  agent: z.string().describe('name@namespace of whom it is about'),
  state: zWatchedState,
  expires_at: zTime,
});
export type WatchView = z.infer<typeof zWatchView>;

export const zStatusView = z.object({
  version: z.string(),
  pid: z.number().int(),
  home: z.string(),
  machine: z.string().describe('label'),
  peer_id: z.string(),
  started_at: zTime,
  damage: zDamageView.optional().describe('damage of the store that nobody has acknowledged'),
  listen: z.array(z.string()),
  seen_as: z.string().optional().describe('ip:port from which a relay has seen this machine come'),
  behind_nat: z.boolean().optional().describe('whether that is an address of another host, a router'),
  http: z.string(),
  socket: z.string(),
  namespaces: z.array(zNamespaceView),
  agents: z.array(zLocalAgentView),
  links: z.array(
    z.object({
      machine: z.string(),
      peer_id: z.string(),
      up: z.boolean(),
      address: z.string().optional(),
      relay: z.string().optional().describe('the machine that passes the bytes of this link on'),
      punched: z
        .boolean()
        .optional()
        .describe('a direct link that both sides opened at once, through their NATs'),
      last_error: z.string().optional(),
      prekey: z.enum(['fresh', 'stale', 'none']).describe('what envelopes for it are sealed to'),
      queued: z.number().int().describe('parcels that wait for this machine'),
      held: z.number().int().describe('envelopes of others that this one keeps for that machine'),
    }),
  ),
});
export type StatusView = z.infer<typeof zStatusView>;
