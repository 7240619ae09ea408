import type { ServerResponse } from 'node:http';
import { z } from 'zod';
import type { Session } from '../../mcp/messenger.ts';
import {
  zAttachmentCall,
  zInboxCall,
  zRecallCall,
  zReplyCall,
  zSendCall,
  zUnsendCall,
  zWaitCall,
} from '../../protocol/calls.ts';
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
import { FILE_BODY_BYTES_MAX, zEmpty, zSessionBody } from './answers.ts';
import type { SessionStreams } from './session-streams.ts';
import type { Sessions } from './sessions.ts';
import type { App } from './server.ts';
import type { Traffic } from './traffic.ts';
import { answerText, parseInput } from './zod-provider.ts';

export interface SessionRouteParts {
  sessions: Sessions;
  streams: SessionStreams;
  traffic: Traffic;
}

const zSessionParams = z.object({ id: z.string().max(100) });

/** The Messenger contract over HTTP: a stream that is the session, and one route for each of its calls. */
export function sessionRoutes(app: App, { sessions, streams, traffic }: SessionRouteParts): void {
  app.post('/api/sessions', { schema: { body: zSessionBody } }, async (request, reply) => {
    const { agent, client, by_person: byPerson, project, branch } = request.body;
    const session = await sessions.open({ agent, client, byPerson, project, branch });
    reply.hijack();
    traffic.exempt(reply.raw);
    streams.begin(session, reply.raw);
  });

  app.delete('/api/sessions/:id', { schema: { params: zSessionParams } }, async (request, reply) => {
    await streams.end(request.params.id);
    return reply.code(204).send();
  });

  function serve<Call extends z.ZodObject, View extends z.ZodObject>(
    name: string,
    zCall: Call,
    zView: View,
    run: (session: Session, call: z.output<Call>, gone: AbortSignal) => Promise<z.output<View>>,
    bodyLimit?: number,
  ): void {
    const options = { schema: { params: zSessionParams }, ...(bodyLimit && { bodyLimit }) };
    app.post(`/api/sessions/:id/${name}`, options, async ({ params, body }, reply) => {
      const session = streams.session(params.id);
      // Every parameter of most calls has a default, so that no body at all is fine.
      const gone = goneSignal(reply.raw);
      const view = await run(session, parseInput(zCall, body ?? {}), gone);
      if (gone.aborted) await session.release();
      return reply.type('application/json').send(answerText(zView, view));
    });
  }

  serve('inbox', zInboxCall, zInboxResult, (session, call) => session.inbox(call));
  serve('send', zSendCall, zSendResult, (session, call) => session.send(call));
  serve('reply', zReplyCall, zReplyResult, (session, call) => session.reply(call));
  serve('wait', zWaitCall, zWaitResult, (session, call, gone) => session.wait(call, gone));
  serve('recall', zRecallCall, zRecallResult, (session, call) => session.recall(call));
  serve('unsend', zUnsendCall, zUnsendResult, (session, call) => session.unsend(call));
  serve(
    'attachment',
    zAttachmentCall,
    zAttachmentResult,
    (session, call) => session.attachment(call),
    FILE_BODY_BYTES_MAX,
  );
  serve('release', zEmpty, zEmpty, async (session) => {
    await session.release();
    return {};
  });
  serve('confirm', zEmpty, zEmpty, async (session) => {
    await session.confirm();
    return {};
  });
}

/**
 * Aborts when the client goes away before its answer was written. A client that goes away later, with the answer
 * in its socket, releases what it did not read.
 */
function goneSignal(response: ServerResponse): AbortSignal {
  const gone = new AbortController();
  // A client that left before its request was read is not told of by an event any more.
  if (response.destroyed || response.socket?.destroyed)
    gone.abort(new PatchcordError('timeout', 'The client went away.'));
  response.once('close', () => {
    if (!response.writableFinished) gone.abort(new PatchcordError('timeout', 'The client went away.'));
  });
  return gone.signal;
}
