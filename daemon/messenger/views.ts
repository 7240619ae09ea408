import { resolvedAtMs, rootOf, type ThreadState } from '../../protocol/delivery/thread.ts';
import { formatAddress } from '../../protocol/address.ts';
import type { AgentView, MessageView } from '../../protocol/views.ts';
import type { Listing } from '../directory/listings.ts';
import type { MailRecord, MailStore } from '../store/mail-store.ts';
import { dueAtMs, isAnswerOwed } from '../store/mail-obligations.ts';
import { peerOf } from '../store/mail-threads.ts';

export function isoTime(atMs: number): string {
  return new Date(atMs).toISOString();
}

/** What a message view needs of the directory. */
interface Names {
  readonly self: { readonly peerId: string };
  readonly logs: ReadonlyMap<string, { readonly name: string }>;
  /** The label of a machine, or the end of its key. */
  labelOf(ns: string, machine: string): string;
}

/** A stored message as the tools show it. */
export async function messageView(
  record: MailRecord,
  context: { directory: Names; mail: Pick<MailStore, 'thread'>; viewer: string },
): Promise<MessageView> {
  const { directory, mail, viewer } = context;
  const { message, ns, machine, status, movedFrom } = record;
  const namespace = directory.logs.get(ns)?.name ?? ns.slice(0, 8);
  const received = record.direction === 'received';
  const here = directory.self.peerId;
  const sender = received && !record.notice ? machine : here;
  const thread = message.thread && (await mail.thread(viewer, peerOf(viewer, record), message.thread.slug));
  const resolved = thread && resolvedAtMs(thread);
  return {
    message_id: message.id,
    // No agent is called so: their addresses have an @.
    from: record.notice ? 'patchcord' : formatAddress({ name: message.from.name, namespace }),
    from_machine: directory.labelOf(ns, sender),
    from_peer_id: sender,
    verified: sender === here ? 'local' : 'sealed',
    ...(movedFrom === undefined ? {} : { moved_from: directory.labelOf(ns, movedFrom) }),
    to: formatAddress({ name: message.to.name, namespace }),
    namespace,
    content: message.content,
    sent_at: isoTime(message.sent_at),
    ...(message.thread
      ? { thread: message.thread.slug, thread_id: (thread && rootOf(thread)) ?? message.thread.root }
      : {}),
    ...(resolved === undefined ? {} : { thread_resolved_at: isoTime(resolved) }),
    ...(message.reply_to ? { reply_to: message.reply_to } : {}),
    ...replyBy(viewer, record, thread),
    ...(message.group ? { group_id: message.group } : {}),
    ...(message.urgency ? { urgency: message.urgency } : {}),
    status,
    ...(received && status === 'pending' && record.shownAtMs !== undefined ? { seen_before: true } : {}),
    ...(record.held && status === 'held'
      ? { held_by: record.held.map((mailbox) => directory.labelOf(ns, mailbox)) }
      : {}),
    ...(record.waiting === undefined ? {} : { waiting: record.waiting }),
    ...(record.notice ? { notice: record.notice.kind, about: record.notice.about } : {}),
    ...(record.missingBefore ? { missing_before: record.missingBefore } : {}),
    ...(record.late ? { late: true } : {}),
  };
}

/** An answer that is owed, also when its time is over. */
function replyBy(
  viewer: string,
  record: MailRecord,
  thread: ThreadState | undefined,
): Pick<MessageView, 'reply_by'> {
  const atMs = dueAtMs(record);
  return atMs === undefined || !isAnswerOwed(viewer, record, thread) ? {} : { reply_by: isoTime(atMs) };
}

export function agentView(listing: Listing, namespace: string): AgentView {
  const { name, label, client, platform, online, lastSeenMs, state, status, project, branch } = listing;
  return {
    agent: formatAddress({ name, namespace }),
    namespace,
    machine: label,
    client,
    platform,
    online,
    last_seen: lastSeenMs === 0 ? null : isoTime(lastSeenMs),
    ...(state && { state }),
    ...(status !== undefined && { status }),
    ...(project !== undefined && { project }),
    ...(branch !== undefined && { branch }),
  };
}
