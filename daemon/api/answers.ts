import { z } from 'zod';
import {
  zJoinCheckView,
  zJoinPendingView,
  zJoinView,
  zLocalAgentView,
  zMemberView,
  zNamespaceView,
  zWatchView,
} from '../../protocol/admin-views.ts';
import { zPeerView } from '../../protocol/doctor-view.ts';
import { INBOX_SHOWN_MAX } from '../../protocol/limits.ts';
import { zRole } from '../../protocol/shapes.ts';
import { zMessageView } from '../../protocol/views.ts';
import { zWatchedState } from '../../protocol/watch.ts';

/** What the API takes and answers beside the calls and views of protocol/; the daemon and its client share it. */

/** Room for any content that protocol/calls.ts lets through, each UTF-16 unit escaped to six bytes. */
export const BODY_BYTES_MAX = 8 * 1024 * 1024;
/** The same for a call that may carry a file in base64. */
export const FILE_BODY_BYTES_MAX = 72 * 1024 * 1024;

export const zHealth = z.object({
  status: z.enum(['ok', 'stopping']),
  version: z.string(),
  pid: z.number().int().optional(),
});

export const zStopAnswer = z.object({ status: z.literal('stopping') });

/** Who the daemon takes the caller for: the machine's user, an agent by its token, both, or neither. */
export const zWhoami = z.object({ owner: z.boolean(), agent: z.string().optional() });

/** The rules of names are the machine's, with their own error texts; this keeps garbage out. */
const zAnyName = z.string().max(1_000);

export const zNamespaceBody = z.object({ name: zAnyName });
export const zInviteBody = z.object({
  ttl_ms: z.number().optional(),
  role: zRole.optional(),
  confirm: z.boolean().optional(),
});
export const zJoinBody = z.object({ ticket: z.string().max(100_000) });
export const zDecisionBody = z.object({ accept: z.boolean() });
/** The words travel in a body only: what is in a URL or on a command line, others can read. */
export const zRecoveryBody = z.object({ phrase: z.string().max(4_096), remove: zAnyName.optional() });
export const zAgentBody = z.object({ agent: zAnyName });
export const zSessionBody = z.object({
  agent: zAnyName,
  client: zAnyName,
  /** The command line says so for one command of a person. */
  by_person: z.boolean().optional(),
  project: zAnyName.optional(),
  branch: zAnyName.optional(),
});
/** Lets an agent go on in all chains of answers, or in those of one thread. */
export const zResetBody = z.object({ thread: zAnyName.optional() });
export const zResetAnswer = z.object({ agent: z.string(), thread: z.string().optional() });

/** What its user has an agent tell; what is absent stays, and an empty text is none. */
export const zAgentSettings = z.object({
  status: zAnyName.optional(),
  dnd: z.boolean().optional(),
  /** null: the folder of its session again; "": none. */
  project: zAnyName.nullable().optional(),
  share_branch: z.boolean().optional(),
});
export type AgentSettings = z.infer<typeof zAgentSettings>;
export const zWatchBody = z.object({ agent: zAnyName, state: zWatchedState, ttl_ms: z.number().optional() });
export const zWatchesAnswer = z.object({ watches: z.array(zWatchView) });

export const zPeersAnswer = z.object({ peers: z.array(zPeerView) });

export const zNamespacesAnswer = z.object({ namespaces: z.array(zNamespaceView) });
export const zMembersAnswer = z.object({ members: z.array(zMemberView) });
export const zJoinsAnswer = z.object({ joins: z.array(zJoinCheckView) });
/** Only the view of a join that waits has digits to compare. */
export const zJoinAnswer = z.union([zJoinPendingView, zJoinView]);
export const zAgentsAnswer = z.object({ agents: z.array(zLocalAgentView) });
export const zTokenAnswer = z.object({ agent: z.string(), token: z.string() });

export const zPeekQuery = z.object({
  status: z.literal('pending').default('pending'),
  limit: z.coerce.number().int().min(1).max(INBOX_SHOWN_MAX).default(INBOX_SHOWN_MAX),
  as: zAnyName.optional(),
});
export const zPeekAnswer = z.object({ pending: z.array(zMessageView), total: z.number().int() });

export const zEmpty = z.object({});
