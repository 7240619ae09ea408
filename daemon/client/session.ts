import type { IncomingMessage } from 'node:http';
import type { z } from 'zod';
import type { Session, SessionRequest } from '../../mcp/messenger.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import {
  zAttachmentResult,
  zInboxResult,
  zRecallResult,
  zReplyResult,
  zSendResult,
  zUnsendResult,
  zWaitResult,
} from '../../protocol/views.ts';
import { zEmpty } from '../api/answers.ts';
import { readOpening } from './opening.ts';
import { isAbsent } from './wire.ts';
import type { Wire } from './wire.ts';

/**
 * Opens a session on the daemon. Its stream stays open as long as the session does, so that the daemon sees this
 * process die; when the daemon goes away instead, a call that was under way throws `daemon_unreachable`, since it
 * may have run, and every later one `unknown_session`.
 */
export async function openSession(wire: Wire, socketPath: string, request: SessionRequest): Promise<Session> {
  const { agent, client, byPerson, project, branch } = request;
  const body = { agent, client, by_person: byPerson, project, branch };
  const stream = await wire.open({ method: 'POST', path: '/api/sessions', body });
  const { session_id: id, self } = await readOpening(stream, socketPath);
  const path = `/api/sessions/${id}`;
  let closed: Promise<void> | undefined;

  async function call<View>(name: string, body: object, answer: z.ZodType<View>, signal?: AbortSignal) {
    if (closed !== undefined) throw new PatchcordError('unknown_session', 'This session has been closed.');
    if (stream.closed) throw gone();
    try {
      return await wire.ask({ method: 'POST', path: `${path}/${name}`, body, answer, signal });
    } catch (error) {
      throw isAbsent(error) ? gone(error) : error;
    }
  }

  return {
    self,
    inbox: async (params) => call('inbox', params, zInboxResult),
    send: async (params) => call('send', params, zSendResult),
    reply: async (params) => call('reply', params, zReplyResult),
    wait: async (params, signal) => call('wait', params, zWaitResult, signal),
    attachment: async (params) => call('attachment', params, zAttachmentResult),
    recall: async (params) => call('recall', params, zRecallResult),
    unsend: async (params) => call('unsend', params, zUnsendResult),
    async confirm() {
      await call('confirm', {}, zEmpty);
    },
    async release() {
      await call('release', {}, zEmpty);
    },
    async close() {
      closed ??= end(wire, path, stream);
      await closed;
    },
  };
}

/** The call has not run: the daemon that knew the session is gone. */
function gone(cause?: unknown): PatchcordError {
  return new PatchcordError('unknown_session', 'The daemon of this session has ended.', 'Open a new one.', {
    cause,
  });
}

/** Asks the daemon first, so that what was leased is back when this resolves. */
async function end(wire: Wire, path: string, stream: IncomingMessage): Promise<void> {
  try {
    if (!stream.closed) await wire.tell({ method: 'DELETE', path });
  } catch (error) {
    // Gone already, which is all that was wanted.
    const code = error instanceof PatchcordError ? error.code : 'internal';
    if (!['daemon_unreachable', 'unknown_session', 'stopping'].includes(code)) throw error;
  } finally {
    stream.destroy();
  }
}
