import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { PatchcordError } from '../../protocol/errors.ts';
import { zTopView } from '../../protocol/top-view.ts';
import type { Log } from '../log.ts';
import type { App } from './server.ts';
import type { Top } from './top.ts';
import type { Traffic } from './traffic.ts';

/** Live views that one daemon feeds at once. */
const FOLLOWERS_MAX = 16;

export interface TopRouteParts {
  top: Top;
  traffic: Traffic;
  stopping: AbortSignal;
  log: Log;
}

/** The machine at a glance: once, and as a stream of JSON lines that goes on for as long as somebody reads. */
export function topRoutes(app: App, { top, traffic, stopping, log }: TopRouteParts): void {
  let followers = 0;
  app.get('/api/top', { schema: { response: { 200: zTopView } } }, async () => top.look());

  app.get('/api/top/stream', async (_request, reply) => {
    if (followers >= FOLLOWERS_MAX)
      throw new PatchcordError('too_many', `${followers} live views are open.`, 'Close one of them.');
    followers += 1;
    reply.hijack();
    const response = reply.raw;
    traffic.exempt(response);
    feed(top, response, stopping)
      .catch((error: unknown) => log.warn({ error }, 'a live view broke off'))
      .finally(() => {
        followers -= 1;
        response.end();
      });
  });
}

async function feed(top: Top, response: ServerResponse, stopping: AbortSignal): Promise<void> {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  if (response.destroyed) return;
  response.writeHead(200, { 'content-type': 'application/x-ndjson' });
  const signal = AbortSignal.any([gone.signal, stopping]);
  for await (const view of top.follow(signal)) {
    if (signal.aborted) return;
    // Whoever reads slowly gets fewer, not older ones.
    if (!response.write(`${JSON.stringify(view)}\n`))
      await once(response, 'drain', { signal }).catch(() => {});
  }
}
