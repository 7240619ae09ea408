import { formatAddress } from '../../protocol/address.ts';
import type { AgentView, MessageView } from '../../protocol/views.ts';
import type { Directory, Listing } from '../directory/directory.ts';
import type { MailRecord, MailStore } from '../store/mail-store.ts';

export function isoTime(atMs: number): string {
  return new Date(atMs).toISOString();
}

/** A stored message as the tools show it. */
export async function messageView(
  record: MailRecord,
  context: { directory: Directory; mail: MailStore; viewer: string },
): Promise<MessageView> {
  const { directory, mail, viewer } = context;
  const { message, ns, machine, status } = record;
  const namespace = directory.logs.get(ns)?.name ?? ns.slice(0, 8);
  const received = record.direction === 'received';
  const thread = message.thread && (await mail.thread(viewer, message.thread.slug));
  return {
    message_id: message.id,
    from: formatAddress({ name: message.from.name, namespace }),
    from_machine: directory.labelOf(ns, received ? machine : directory.self.peerId),
    to: formatAddress({ name: message.to.name, namespace }),
    namespace,
    content: message.content,
    sent_at: isoTime(message.sent_at),
    ...(message.thread
      ? { thread: message.thread.slug, thread_id: thread?.root ?? message.thread.root }
      : {}),
    ...(thread?.resolvedAtMs === undefined ? {} : { thread_resolved_at: isoTime(thread.resolvedAtMs) }),
    ...(message.reply_to ? { reply_to: message.reply_to } : {}),
    ...(message.group ? { group_id: message.group } : {}),
    status,
    ...(received && status === 'pending' && record.shownAtMs !== undefined ? { seen_before: true } : {}),
    ...(record.missingBefore ? { missing_before: record.missingBefore } : {}),
    ...(record.late ? { late: true } : {}),
  };
}

export function agentView(listing: Listing, namespace: string): AgentView {
  const { card, label, platform, online, lastSeenMs } = listing;
  return {
    agent: formatAddress({ name: card.name, namespace }),
    namespace,
    machine: label,
    client: card.client,
    platform,
    online,
    last_seen: lastSeenMs === 0 ? null : isoTime(lastSeenMs),
  };
}
