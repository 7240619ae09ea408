import { addAbortSignal, Readable } from 'node:stream';
import { STORE_COPY_TYPE } from '../backup/backup.ts';
import type { App } from './server.ts';

/** The store as it is at this moment, as a stream, for the owner alone. The key to it is not given. */
export function backupRoute(app: App, copy: () => AsyncIterable<Uint8Array>, stopping: AbortSignal): void {
  app.get('/api/store', async (_request, reply) =>
    reply.type(STORE_COPY_TYPE).send(addAbortSignal(stopping, Readable.from(copy()))),
  );
}
