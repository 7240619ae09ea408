import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readDaemonInfo, removeDaemonInfo, writeDaemonInfo } from '../../daemon/daemon-json.ts';
import { findDaemon } from '../../daemon/health.ts';
import { homePaths, prepareHome, socketPath, SOCKET_PATH_BYTES_MAX } from '../../daemon/home.ts';
import { silentLog } from '../../daemon/log.ts';
import { rotatingFile } from '../../daemon/logging.ts';
import { listenDefault, portOf, readPorts, rememberPorts } from '../../daemon/ports.ts';

const INFO = {
  pid: 1,
  version: '1',
  http: 'http://127.0.0.1:1',
  socket: '/s',
  peerId: 'p',
  listen: ['/ip4/1'],
};

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'patchcord-home-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe('socketPath', () => {
  it.each([
    ['a short home', '/h', 'linux', /^\/h\/daemon\.sock$/],
    ['the longest home', `/${'h'.repeat(87)}`, 'linux', /^\/h{87}\/daemon\.sock$/],
    ['a longer one', `/${'h'.repeat(88)}`, 'linux', /^\/temporary\/patchcord-[0-9a-f]{16}\/daemon\.sock$/],
    ['bytes, not characters', `/${'ö'.repeat(50)}`, 'darwin', /^\/temporary\/patchcord-/],
    ['Windows', 'C:\\h', 'win32', /^\\\\\.\\pipe\\patchcord-[0-9a-f]{16}$/],
  ] as const)('of %s', (_what, home, platform, expected) => {
    const path = socketPath(home, platform, ['/temporary']);
    expect(path).toMatch(expected);
    expect(Buffer.byteLength(path)).toBeLessThanOrEqual(SOCKET_PATH_BYTES_MAX);
  });

  it('takes the next folder when the temporary one is deep', () => {
    expect(socketPath(`/${'h'.repeat(90)}`, 'linux', [`/${'t'.repeat(90)}`, '/tmp'])).toMatch(
      /^\/tmp\/patchcord-/,
    );
  });

  it('differs from home to home', () => {
    const paths = ['a', 'b'].map((name) => socketPath(`/${name.repeat(99)}`, 'linux', ['/temporary']));
    expect(new Set(paths).size).toBe(2);
  });
});

describe.skipIf(process.platform === 'win32')('prepareHome', () => {
  const modeOf = async (path: string) => (await stat(path)).mode & 0o777;

  it('makes a private folder, and those above it', async () => {
    const home = join(folder, 'a', 'b');
    await prepareHome(homePaths(home), silentLog);
    expect(await modeOf(home)).toBe(0o700);
  });

  it('closes a home of ours to others', async () => {
    await writeFile(join(folder, 'machine.key'), '');
    await chmod(folder, 0o755);
    await prepareHome(homePaths(folder), silentLog);
    expect(await modeOf(folder)).toBe(0o700);
  });

  it('leaves a folder with other things in it as it is', async () => {
    await writeFile(join(folder, 'thesis.txt'), '');
    await chmod(folder, 0o755);
    await prepareHome(homePaths(folder), silentLog);
    expect(await modeOf(folder)).toBe(0o755);
  });

  it('refuses a home below a file', async () => {
    await writeFile(join(folder, 'file'), '');
    const prepared = prepareHome(homePaths(join(folder, 'file', 'home')), silentLog);
    await expect(prepared).rejects.toMatchObject({
      code: 'home_not_writable',
      remedy: expect.stringContaining('--home'),
    });
  });

  it('makes the private folder of a socket that does not fit into the home', async () => {
    const paths = { ...homePaths(folder), socket: join(folder, 'elsewhere', 'daemon.sock') };
    await mkdir(join(folder, 'elsewhere'), { mode: 0o755 });
    await prepareHome(paths, silentLog);
    expect(await modeOf(join(folder, 'elsewhere'))).toBe(0o700);
  });
});

describe('daemon.json', () => {
  it('is written whole and private, read back, and removed', async () => {
    const paths = homePaths(folder);
    await writeDaemonInfo(paths, INFO);
    expect(await readDaemonInfo(paths)).toEqual(INFO);
    expect(await readdir(folder)).toEqual(['daemon.json']);
    const mode = (await stat(paths.daemonJson)).mode & 0o777;
    expect(process.platform === 'win32' ? 0o600 : mode).toBe(0o600);
    await removeDaemonInfo(paths);
    await removeDaemonInfo(paths);
    expect(await readDaemonInfo(paths)).toBeUndefined();
  });

  it.each(['', '{', '{}', '{"pid":"1"}', 'null'])('counts as absent when it says %j', async (text) => {
    const paths = homePaths(folder);
    await writeFile(paths.daemonJson, text);
    expect(await readDaemonInfo(paths)).toBeUndefined();
    expect(await findDaemon(paths)).toEqual({ state: 'none' });
  });

  it('of a dead daemon is no daemon', async () => {
    const paths = homePaths(folder);
    await writeDaemonInfo(paths, { ...INFO, socket: join(folder, 'gone.sock') });
    expect(await findDaemon(paths)).toEqual({ state: 'none' });
  });

  it('of a daemon that answers with another pid is not believed', async () => {
    const paths = homePaths(folder);
    const server = createHttpServer((_request, response) => response.end('{"pid":2}'));
    const socket = join(folder, 'other.sock');
    await new Promise<void>((resolve) => server.listen(socket, resolve));
    await writeDaemonInfo(paths, { ...INFO, socket });
    expect(await findDaemon(paths)).toMatchObject({ state: 'silent' });
    await new Promise((resolve) => server.close(resolve));
  });
});

describe('ports', () => {
  it('are remembered from the first start on', async () => {
    const paths = homePaths(folder);
    expect(await readPorts(paths, silentLog)).toEqual({});
    await rememberPorts(paths, {}, { http_port: 1, p2p_port: 2 });
    const ports = await readPorts(paths, silentLog);
    expect(ports).toEqual({ http_port: 1, p2p_port: 2 });
    await rememberPorts(paths, ports, { http_port: 3, p2p_port: 4 });
    expect(await readPorts(paths, silentLog)).toEqual(ports);
  });

  it.each(['', '[]', '{"p2p_port":0}', '{"http_port":"x"}'])(
    'are picked anew when settings.json says %j',
    async (text) => {
      const paths = homePaths(folder);
      await writeFile(paths.settings, text);
      expect(await readPorts(paths, silentLog)).toEqual({});
    },
  );

  it('give way to a free one while somebody else has the remembered one', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve));
    const address = server.address();
    assert(typeof address === 'object' && address !== null);
    const { port } = address;
    expect(await listenDefault({ p2p_port: port }, silentLog)).toEqual(['/ip4/0.0.0.0/tcp/0']);
    await new Promise((resolve) => server.close(resolve));
    expect(await listenDefault({ p2p_port: port }, silentLog)).toEqual([`/ip4/0.0.0.0/tcp/${port}`]);
  });

  it.each([
    ['/ip4/127.0.0.1/tcp/41/p2p/x', 41],
    ['http://127.0.0.1:7468', 7468],
    ['/ip4/127.0.0.1/udp/41', undefined],
  ])('of %s', (address, port) => {
    expect(portOf(address)).toBe(port);
  });
});

describe('rotatingFile', () => {
  it('keeps one old file and starts a new one at its bound, also over a restart', async () => {
    const path = join(folder, 'daemon.log');
    const first = rotatingFile(path, 10);
    for (const line of ['aaaa\n', 'bbbb\n', 'cccc\n']) first.write(line);
    first.close();
    expect(await readFile(`${path}.1`, 'utf8')).toBe('aaaa\nbbbb\n');
    const second = rotatingFile(path, 10);
    for (const line of ['dddd\n', 'eeee\n']) second.write(line);
    second.close();
    expect(await readFile(path, 'utf8')).toBe('eeee\n');
    expect(await readFile(`${path}.1`, 'utf8')).toBe('cccc\ndddd\n');
    expect((await readdir(folder)).sort()).toEqual(['daemon.log', 'daemon.log.1']);
  });

  it('loses lines rather than the daemon when it cannot write', () => {
    const file = rotatingFile(join(folder, 'no', 'such', 'folder'));
    expect(() => file.write('a\n')).not.toThrow();
  });
});
