import type { Messenger, Session, SessionRequest } from '../../mcp/messenger.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import { SESSIONS_MAX } from '../../protocol/limits.ts';
import type { WaitResult } from '../../protocol/views.ts';

/** The sessions that this API has opened, bounded, and closed with it. */
export interface Sessions {
  /** `onClose` runs when somebody begins to close it. Throws `too_many`, `stopping`, and what the messenger throws. */
  open(request: SessionRequest, onClose?: () => void): Promise<Session>;
  count(): number;
  closeAll(): Promise<void>;
}

/** How a wait ends when the daemon stops before the machine has said so itself. */
const STOPPED: WaitResult = { status: 'timeout', more: 0, reason: 'stopping' };

export function createSessions(messenger: Messenger, stopping: AbortSignal): Sessions {
  const open = new Set<Session>();
  let opening = 0;

  return {
    async open(request, onClose) {
      if (open.size + opening >= SESSIONS_MAX) {
        throw new PatchcordError(
          'too_many',
          `This daemon serves ${SESSIONS_MAX} sessions already.`,
          'Close some clients and try again.',
        );
      }
      opening += 1;
      try {
        const session = guarded(await messenger.open(request), stopping, () => {
          open.delete(session);
          onClose?.();
        });
        open.add(session);
        if (!stopping.aborted) return session;
        await session.close();
        throw new PatchcordError('stopping', 'The daemon is stopping.');
      } finally {
        opening -= 1;
      }
    },
    count: () => open.size + opening,
    async closeAll() {
      await Promise.allSettled([...open].map((session) => session.close()));
    },
  };
}

/** The session, with waits that end when it is closed or the daemon stops, whatever the messenger does. */
function guarded(session: Session, stopping: AbortSignal, onClose: () => void): Session {
  const ended = new AbortController();
  let closed: Promise<void> | undefined;
  return {
    self: session.self,
    inbox: (call) => session.inbox(call),
    send: (call) => session.send(call),
    reply: (call) => session.reply(call),
    async wait(call, signal) {
      const signals = [stopping, ended.signal, ...(signal ? [signal] : [])];
      try {
        return await session.wait(call, AbortSignal.any(signals));
      } catch (error) {
        if (stopping.aborted && signal?.aborted !== true) return STOPPED;
        throw error;
      }
    },
    attachment: (call) => session.attachment(call),
    recall: (call) => session.recall(call),
    unsend: (call) => session.unsend(call),
    confirm: () => session.confirm(),
    release: () => session.release(),
    async close() {
      if (closed === undefined) {
        onClose();
        ended.abort(new PatchcordError('unknown_session', 'The session has ended.', 'Open a new one.'));
        closed = session.close();
      }
      await closed;
    },
  };
}
