import { EventEmitter } from 'node:events';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { fit, widthOf } from '../../cli/display-width.ts';
import { showLive, type Terminal } from '../../cli/live-screen.ts';
import { topLines, topText } from '../../cli/top-text.ts';
import { createClient } from '../../daemon/client/client.ts';
import { ACTIVITY_ANNOUNCE_MS, TOP_INTERVAL_MS } from '../../protocol/limits.ts';
import type { TopView } from '../../protocol/top-view.ts';
import { startWorld, type World } from './api-fixture.ts';
import { TOP } from './presence-fakes.ts';
import { Team } from './team.ts';
import { admit, turn } from './wire.ts';

const NASTY = 'a\u001b[2J\u001b]0;title\u0007\r\nb\u202e\u009bc';
const agent = (name: string, more: Partial<TopView['agents'][number]> = {}) => ({
  agent: `${name}@myproject`,
  namespace: 'myproject',
  machine: 'laptop',
  client: 'codex 1.0',
  platform: 'linux x64',
  online: true,
  last_seen: '2026-11-22T19:00:00.000Z',
  ...more,
});
const VIEW: TopView = {
  ...TOP,
  agents: [
    agent('backend', { state: 'busy', project: 'web-shop', branch: 'main', status: 'running tests' }),
    agent('docs', { online: false }),
    agent('ops', { state: 'dnd', client: '' }),
  ],
  machines: [
    {
      machine: 'desk',
      peer_id: 'q',
      up: true,
      address: '/ip4/192.0.2.7/tcp/1',
      via: 'direct',
      rtt_ms: 2.6,
      queued: 3,
      held: 1,
    },
    { machine: 'nas', peer_id: 'r', up: false, last_error: 'Could not connect', queued: 0, held: 0 },
  ],
};
// oxlint-disable-next-line no-control-regex -- that is what is looked for
const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/u;

describe('the view as text', () => {
  test('names everybody by namespace, those who are here first, and every machine', () => {
    const text = topText(VIEW);
    expect(text).toMatch(/2 of 3 agents online; 1 of 2 machines linked; 0 unread here/);
    const at = ['backend', 'ops', 'docs'].map((name) => text.indexOf(`  ${name}`));
    expect(at).toEqual(at.toSorted((a, b) => a - b));
    expect(text).toMatch(/backend {2}busy +laptop +now +codex 1.0 +web-shop \(main\) +running tests/);
    expect(text).toMatch(/docs +away +laptop +1h/);
    expect(text).toMatch(/desk +direct +3 +1 +3 ms +\/ip4\/192.0.2.7\/tcp\/1/);
    expect(text).toMatch(/nas +down +0 +0 +Could not connect/);
  });

  test.each([200, 80, 60, 40, 20, 8, 1])('fits %i columns and keeps the names longest', (columns) => {
    const lines = topLines(VIEW, { columns, rows: 100 });
    for (const line of lines) expect(widthOf(line)).toBeLessThanOrEqual(columns);
    expect(columns < 20 || /backend +busy/.test(lines.join('\n'))).toBe(true);
  });

  test('says how many lines do not fit', () => {
    const lines = topLines(VIEW, { columns: 80, rows: 5 });
    expect(lines).toHaveLength(5);
    expect(lines.at(-1)).toMatch(/^… \d+ more lines$/);
  });

  test('shows nothing of a peer that could reach the terminal', () => {
    const nasty = {
      ...VIEW,
      machine: NASTY,
      agents: [agent('x', { machine: NASTY, client: NASTY, status: NASTY, project: NASTY, branch: NASTY })],
      machines: [
        { ...VIEW.machines[1]!, machine: NASTY, last_error: NASTY },
        { ...VIEW.machines[0]!, address: NASTY },
      ],
    };
    const lines = topLines(nasty, { columns: 400, rows: 100 });
    for (const line of lines) expect(line).not.toMatch(CONTROLS);
    expect(lines.join()).toContain('\\u001b[2J');
    expect(lines).toHaveLength(topLines(VIEW, { columns: 400, rows: 100 }).length - 2);
  });

  test.each([
    ['abc', 5, 'abc  '],
    ['abcdef', 4, 'abc…'],
    ['言葉言葉', 5, '言葉…'],
    ['言葉', 3, '言…'],
    ['e\u0301', 2, 'e\u0301 '],
    ['abc', 0, ''],
  ])('%s in %i columns', (text, columns, fitted) => {
    expect(fit(text, columns)).toBe(fitted);
  });
});

function terminal() {
  const input = Object.assign(new EventEmitter(), {
    raw: [] as boolean[],
    setRawMode(raw: boolean) {
      input.raw.push(raw);
    },
    resume() {},
    pause() {
      input.raw.push(false);
    },
  });
  const output = Object.assign(new EventEmitter(), {
    columns: 80,
    rows: 24,
    text: '',
    write(text: string) {
      output.text += text;
    },
  });
  return { input, output } satisfies Terminal;
}

describe('the live screen', () => {
  async function* untilEnded(ended: AbortSignal) {
    yield 'first';
    await new Promise((resolve) => ended.addEventListener('abort', resolve, { once: true }));
  }
  const draw = (frame: string, { columns }: { columns: number }) => [frame, `${columns}`];
  const restored = '\u001b[?25h\u001b[?1049l';

  test.each(['q', '\u0003'])('ends with %j and leaves the terminal as it was', async (key) => {
    const { input, output } = terminal();
    const shown = showLive({ input, output }, new AbortController().signal, untilEnded, draw);
    await turn();
    output.columns = 40;
    output.emit('resize');
    input.emit('data', Buffer.from('x'));
    input.emit('data', Buffer.from(key));
    await shown;
    expect(output.text.startsWith('\u001b[?1049h\u001b[?25l\u001b[Hfirst\u001b[K\r\n80')).toBe(true);
    expect(output.text).toContain('first\u001b[K\r\n40');
    expect(output.text.endsWith(restored)).toBe(true);
    expect(input.raw).toEqual([true, false, false]);
    expect(input.listenerCount('data') + output.listenerCount('resize')).toBe(0);
  });

  test('restores the terminal when the daemon goes away, and says so', async () => {
    const { input, output } = terminal();
    const gone = new Error('gone');
    // oxlint-disable-next-line require-yield -- it breaks before it has anything to say
    async function* broken(): AsyncGenerator<string> {
      throw gone;
    }
    await expect(showLive({ input, output }, new AbortController().signal, broken, draw)).rejects.toBe(gone);
    expect(output.text.endsWith(restored)).toBe(true);
    expect(input.raw.at(-1)).toBe(false);
  });
});

describe('a machine at a glance', () => {
  let team: Team;
  beforeEach(() => {
    team = new Team();
  });
  afterEach(() => team.stopAll());

  test('is told at once, and again when something has changed, four times a second at most', async () => {
    const desk = await team.start(1, 'desk');
    const laptop = await team.start(2, 'laptop');
    await desk.admin.createNamespace('myproject');
    await admit(desk, laptop);
    const left = new AbortController();
    const views: TopView[] = [];
    const following = (async () => {
      for await (const view of desk.top.follow(left.signal)) views.push(view);
    })();
    await turn();
    expect(views).toMatchObject([{ agents: [], machines: [{ machine: 'laptop', up: true }] }]);
    await team.clock.advance(TOP_INTERVAL_MS);
    for (const name of ['a', 'b', 'c', 'd']) await team.open(laptop, name);
    await team.clock.advance(TOP_INTERVAL_MS);
    expect(views.length).toBeLessThanOrEqual(3);
    expect(views.at(-1)!.agents).toHaveLength(4);
    await team.clock.advance(60_000);
    const count = views.length;
    await team.clock.advance(60_000);
    expect(views).toHaveLength(count);
    team.cut(desk, laptop);
    await team.clock.advance(TOP_INTERVAL_MS + ACTIVITY_ANNOUNCE_MS);
    expect(views.at(-1)!.machines).toMatchObject([{ up: false }]);
    left.abort();
    await following;
  });
});

describe('over the socket', () => {
  let world: World;
  beforeEach(async () => {
    world = await startWorld();
  });
  afterEach(() => world.teardown());

  test('is told once, and line by line until nobody reads', async () => {
    const { top } = createClient({ socketPath: world.socketPath });
    expect(await top.look()).toEqual(TOP);
    const left = new AbortController();
    const views: TopView[] = [];
    const reading = (async () => {
      for await (const view of top.follow(left.signal)) {
        views.push(view);
        if (view.unread === 1) left.abort();
      }
    })();
    await reading.catch(() => undefined);
    expect(views.at(-1)).toEqual({ ...TOP, unread: 1 });
  });

  test('is for the owner alone', async () => {
    for (const path of ['/api/top', '/api/top/stream'])
      expect((await fetch(`http://127.0.0.1:${world.port}${path}`)).status).toBe(401);
  });
});
