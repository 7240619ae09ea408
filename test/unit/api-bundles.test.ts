import { request } from 'node:http';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Bundles } from '../../daemon/api/bundles.ts';
import { createClient } from '../../daemon/client/client.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import { AGENT_TOKEN, API_TOKEN, ask, bearer, fakeBundles, startWorld, type World } from './api-fixture.ts';
import { piecesOf } from './bundle-world.ts';
import { refusal } from './team.ts';

const TYPE = { 'content-type': 'application/vnd.patchcord.bundle' };

let world: World;
let bundles: Bundles;
beforeEach(async () => {
  bundles = { ...fakeBundles };
  world = await startWorld({ bundles });
});
afterEach(async () => world.teardown());

const client = () => createClient({ socketPath: world.socketPath }).bundles;

async function textOf(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const list: Uint8Array[] = [];
  for await (const chunk of chunks) list.push(chunk);
  return Buffer.concat(list).toString();
}

describe('over the socket', () => {
  test('a bundle streams out and in', async () => {
    expect(await textOf(await client().export('myproject'))).toBe('bundle of myproject');
    await expect(client().export('bakend')).rejects.toEqual(refusal('unknown_recipient'));
    // Longer than any other request may be, in pieces.
    const bytes = Buffer.alloc(20 * 1024 * 1024, 1);
    const view = await client().import(piecesOf(bytes, 300_000));
    expect(view.messages.taken).toBe(bytes.length);
  });

  test('one that breaks off on its way is not taken for whole', async () => {
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('bundle of');
      throw new PatchcordError('store_damaged', 'The store is damaged.');
    }
    bundles.export = async () => broken();
    const chunks = await client().export('myproject');
    await expect(textOf(chunks)).rejects.toEqual(refusal('daemon_unreachable'));
  });

  test('what breaks the source of an import is what is told, and the daemon hears of it', async () => {
    const begun = Promise.withResolvers<void>();
    const heard = Promise.withResolvers<unknown>();
    bundles.import = async (chunks) => {
      try {
        for await (const chunk of chunks) if (chunk.length > 0) begun.resolve();
        throw new Error('it has no end');
      } catch (error) {
        heard.resolve(error);
        throw error;
      }
    };
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield Buffer.alloc(100);
      await begun.promise;
      throw new PatchcordError('disk_full', 'The stick was pulled.');
    }
    await expect(client().import(broken())).rejects.toEqual(refusal('disk_full'));
    expect(await heard.promise).toEqual(refusal('invalid_input'));
  });

  test('a refusal is heard by whoever would go on sending for ever', async () => {
    bundles.import = async () => {
      throw new PatchcordError('not_member', 'This machine was removed.');
    };
    const ended = Promise.withResolvers<void>();
    async function* endless(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield Buffer.alloc(64 * 1024);
      } finally {
        ended.resolve();
      }
    }
    await expect(client().import(endless())).rejects.toEqual(refusal('not_member'));
    await ended.promise;
  });

  test('an import can be given up', async () => {
    const given = new AbortController();
    async function* slow(): AsyncGenerator<Uint8Array> {
      yield Buffer.alloc(10);
      given.abort(new Error('given up'));
      yield Buffer.alloc(10);
      await new Promise(() => {});
    }
    await expect(
      createClient({ socketPath: world.socketPath }).bundles.import(slow(), given.signal),
    ).rejects.toThrow('given up');
  });
});

describe('the routes', () => {
  test('are for the owner alone', async () => {
    for (const path of ['/api/namespaces/myproject/bundle', '/api/bundles']) {
      const method = path.endsWith('bundles') ? 'POST' : 'GET';
      const asked = { method, headers: method === 'POST' ? { ...TYPE } : {} };
      expect((await ask(world.port, path, asked)).status).toBe(401);
      const agent = { ...asked.headers, ...bearer(AGENT_TOKEN).headers };
      expect((await ask(world.port, path, { ...asked, headers: agent })).status).toBe(403);
    }
    const answer = await ask(world.port, '/api/namespaces/myproject/bundle', bearer(API_TOKEN));
    expect(answer).toMatchObject({ status: 200, text: 'bundle of myproject' });
    expect(answer.headers['content-type']).toBe('application/vnd.patchcord.bundle');
  });

  test('take a bundle there and nowhere else, and nothing but a bundle', async () => {
    expect((await ask(world.socketPath, '/api/bundles', { text: '{}' })).status).toBe(400);
    const elsewhere = await ask(world.socketPath, '/api/namespaces', { text: 'x', headers: TYPE });
    expect(elsewhere.status).toBe(400);
    const taken = await ask(world.socketPath, '/api/bundles', { text: 'twelve bytes', headers: TYPE });
    expect(taken.json).toMatchObject({ ending: 'whole', messages: { taken: 12 } });
  });

  test('stop when the daemon does', async () => {
    const begun = Promise.withResolvers<void>();
    const over = Promise.withResolvers<unknown>();
    bundles.import = async (chunks) => {
      try {
        for await (const chunk of chunks) if (chunk.length > 0) begun.resolve();
        throw new Error('it has no end');
      } catch (error) {
        over.resolve(error);
        throw error;
      }
    };
    const sent = request({
      socketPath: world.socketPath,
      path: '/api/bundles',
      method: 'POST',
      headers: TYPE,
    });
    sent.on('error', () => {});
    sent.write('one piece');
    await begun.promise;
    const closed = new Promise((resolve) => sent.once('close', resolve));
    await world.api.stop();
    await closed;
    expect(await over.promise).toEqual(refusal('stopping'));
  });
});
