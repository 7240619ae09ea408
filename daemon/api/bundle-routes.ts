import { addAbortSignal, Readable } from 'node:stream';
import { z } from 'zod';
import { BUNDLE_TYPE } from '../../protocol/bundle.ts';
import { zBundleImportView } from '../../protocol/bundle-view.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import { BUNDLE_SIZE_BYTES_MAX } from '../../protocol/limits.ts';
import type { Bundles } from './bundles.ts';
import type { App } from './server.ts';

const zNamespaceParams = z.object({ name: z.string() });

/** Bundles, out and in, as streams: neither side ever has a whole one in memory. For the owner alone. */
export function bundleRoutes(app: App, bundles: Bundles, stopping: AbortSignal): void {
  app.get(
    '/api/namespaces/:name/bundle',
    { schema: { params: zNamespaceParams } },
    async (request, reply) => {
      const chunks = await bundles.export(request.params.name);
      return reply.type(BUNDLE_TYPE).send(addAbortSignal(stopping, Readable.from(chunks)));
    },
  );

  // In a scope of its own: every other route still takes JSON alone.
  app.register(async (scope: App) => {
    scope.addContentTypeParser(BUNDLE_TYPE, async (_request: unknown, payload: unknown) => payload);
    scope.post(
      '/api/bundles',
      { bodyLimit: 2 * BUNDLE_SIZE_BYTES_MAX, schema: { response: { 200: zBundleImportView } } },
      async ({ body }) => bundles.import(chunksOf(body, stopping)),
    );
  });
}

/** The body as it comes. Throws `stopping`, and `invalid_input` when its sender went away or sent something else. */
async function* chunksOf(body: unknown, stopping: AbortSignal): AsyncGenerator<Uint8Array> {
  if (!(body instanceof Readable)) {
    throw new PatchcordError('invalid_input', `The body must be of type ${BUNDLE_TYPE}.`);
  }
  // Stopping does not wait for a sender that is slow.
  addAbortSignal(stopping, body);
  try {
    yield* body as AsyncIterable<Uint8Array>;
  } catch (cause) {
    stopping.throwIfAborted();
    throw new PatchcordError('invalid_input', 'The bundle did not arrive whole.', 'Import it again.', {
      cause,
    });
  }
}
