import type { IncomingMessage } from 'node:http';
import type { z } from 'zod';
import { PatchcordError } from '../../protocol/errors.ts';
import { zSessionOpened } from '../api/answers.ts';
import { unreachable } from './wire.ts';

/** Longest first line that is read: an id and a self of bounded names. */
const LINE_LENGTH_MAX = 16_384;

/**
 * The first line of a session's stream. The rest is left flowing, so that its end is seen. Throws
 * `daemon_unreachable` when the stream ends before, `internal` when it says something else.
 */
export async function readOpening(
  stream: IncomingMessage,
  socketPath: string,
): Promise<z.infer<typeof zSessionOpened>> {
  const line = await firstLine(stream, socketPath);
  try {
    return zSessionOpened.parse(JSON.parse(line));
  } catch (cause) {
    stream.destroy();
    const remedy = 'Restart the daemon: it may be of another version.';
    throw new PatchcordError('internal', 'The daemon opened no session.', remedy, { cause });
  }
}

async function firstLine(stream: IncomingMessage, socketPath: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let text = '';
  const onData = (chunk: string): void => {
    text += chunk;
    if (!text.includes('\n') && text.length <= LINE_LENGTH_MAX) return;
    // Without a listener the stream still flows: keep-alive lines are read and dropped.
    stream.off('data', onData).resume();
    resolve(text.split('\n', 1)[0]!);
  };
  stream.setEncoding('utf8').on('data', onData);
  // A reset is how a killed daemon ends the stream; `closed` tells it to later calls.
  stream.on('error', (error) => reject(unreachable(socketPath, error)));
  stream.once('close', () => reject(unreachable(socketPath)));
  return promise;
}
