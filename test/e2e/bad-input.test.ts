import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, assert, beforeAll, describe, expect, test } from 'vitest';
import { CONTENT_LENGTH_MAX, NAME_LENGTH_MAX, THREAD_LENGTH_MAX } from '../../protocol/limits.ts';
import { formatTicket, parseTicket } from '../../protocol/ticket.ts';
import { mesh, runCommand, type CliAnswer, type DaemonProcess } from '../processes/daemon-process.ts';
import type { McpAgent, ToolError } from '../processes/mcp-agent.ts';
import { Stage } from '../processes/stage.ts';

/**
 * Whatever is said wrong is refused with its code, a reason and what to do, by the tools and by the command line
 * alike; and at the end a message that was queued before all of it is delivered.
 */
const NOBODY_ID = '019a0000-0000-7000-8000-000000000000';
const QUEUED = 'queued before everything went wrong';

const stage = new Stage();
const folder = mkdtempSync(join(tmpdir(), 'patchcord-bad-'));
let a: DaemonProcess;
let b: DaemonProcess;
let outside: DaemonProcess;
let frontend: McpAgent;
let backend: McpAgent;
/** Ids of a message to frontend, of one from frontend, and of one between others. */
const ids = { received: 'RECEIVED', sent: 'SENT', others: 'OTHERS' };

beforeAll(async () => {
  [a, b, outside] = await Promise.all([
    stage.machine('alpha'),
    stage.machine('beta'),
    stage.machine('omega'),
  ]);
  await mesh('team', a, b);
  frontend = await stage.agent(a, 'frontend@team');
  backend = await stage.agent(b, 'backend@team');
  const late = await stage.agent(b, 'late@team');
  await Promise.all([frontend.sees('backend'), frontend.sees('late'), backend.sees('frontend')]);
  await late.close();
  await frontend.send('late', QUEUED);
  const waiting = frontend.next();
  ids.received = await backend.send('frontend', 'a question');
  await waiting;
  ids.others = await backend.send('late', 'none of your business');
  ids.sent = await frontend.send('backend', 'a statement');
  await backend.next();
  writeFileSync(join(folder, 'file'), '');
});
afterAll(async () => {
  await stage.end();
  rmSync(folder, { recursive: true, force: true });
});

type ToolName = Parameters<McpAgent['call']>[0];
type Case = [what: string, tool: ToolName, args: () => Record<string, unknown>, code: string, says: RegExp];

const to = (name: string, content = 'x', more = {}) => ({ to_agent: name, content, ...more });
const LONG_NAME = 'n'.repeat(NAME_LENGTH_MAX + 1);

const CASES: Case[] = [
  ['a misspelt recipient', 'send_message', () => to('bakend'), 'unknown_recipient', /backend/],
  ['a name that is like none', 'send_message', () => to('zzzzzzzzzzzzzz'), 'unknown_recipient', /inbox\(/],
  ['another namespace', 'send_message', () => to('backend@nowhere'), 'unknown_recipient', /namespace/],
  ['several, all unknown', 'send_message', () => to('bakend, frontent'), 'unknown_recipient', /backend/],
  ['nobody', 'send_message', () => to(' , '), 'invalid_name', /nobody/],
  ['a name with a blank', 'send_message', () => to('back end'), 'invalid_name', /a-z/],
  ['a name that is too long', 'send_message', () => to(LONG_NAME), 'invalid_name', /120/],
  ['a path for a name', 'send_message', () => to('../../etc/passwd'), 'invalid_name', /a-z/],
  ['two @', 'send_message', () => to('a@b@c'), 'invalid_name', /name@namespace/],
  ['51 recipients', 'send_message', () => to(numbered(51)), 'invalid_input', /50/],
  ['no content', 'send_message', () => to('backend', ''), 'content_empty', /empty/],
  ['only blanks', 'send_message', () => to('backend', ' \n\t\u3000'), 'content_empty', /empty/],
  ['one character too many', 'send_message', () => to('backend', tooLong()), 'content_too_long', /50001/],
  ['far too many', 'send_message', () => to('backend', 'x'.repeat(2_000_000)), 'invalid_input', /content/],
  ['half a character', 'send_message', () => to('backend', '\ud83e'), 'invalid_input', /surrogate/],
  ['a thread too long', 'send_message', () => to('backend', 'x', longThread()), 'invalid_input', /120/],
  [
    'content of another type',
    'send_message',
    () => ({ to_agent: 'backend', content: 5 }),
    'invalid_input',
    /content/,
  ],
  ['no recipient at all', 'send_message', () => ({ content: 'x' }), 'invalid_input', /to_agent is missing/],
  ['a misspelt parameter', 'inbox', () => ({ all_agent: true }), 'invalid_input', /all_agents/],
  ['an id that is none', 'reply', () => ({ message_id: 'not-a-uuid', content: 'x' }), 'invalid_id', /id/],
  ['an id in a sentence', 'reply', () => answer(`<${ids.received}>`), 'invalid_id', /id/],
  ['an id of nothing', 'reply', () => answer(NOBODY_ID), 'unknown_message', /inbox\(\)/],
  ['an answer to oneself', 'reply', () => answer(ids.sent), 'not_addressee', /send_message/],
  ["an answer to others' mail", 'reply', () => answer(ids.others), 'unknown_message', /inbox\(\)/],
  ['an answer without text', 'reply', () => answer(ids.received, ' '), 'content_empty', /empty/],
  ['an answer too long', 'reply', () => answer(ids.received, tooLong()), 'content_too_long', /50001/],
  ['unsend of an id that is none', 'unsend', () => ({ message_id: '42' }), 'invalid_id', /id/],
  ['unsend of nothing', 'unsend', () => ({ message_id: NOBODY_ID }), 'unknown_message', /recall\(\)/],
  ['unsend of what one received', 'unsend', () => ({ message_id: ids.received }), 'not_sender', /sent/],
  ["unsend of others' mail", 'unsend', () => ({ message_id: ids.others }), 'unknown_message', /recall\(\)/],
  ['a wait in words', 'wait_for_message', () => ({ timeout_seconds: 'long' }), 'invalid_input', /timeout/],
  ['half a limit', 'recall', () => ({ limit: 1.5 }), 'invalid_input', /limit/],
  ['an attachment', 'attachment', () => ({ path_or_url: '../../etc/passwd' }), 'not_available', /message/],
];

function numbered(count: number): string {
  return Array.from({ length: count }, (_none, index) => `agent${index}`).join(',');
}
function tooLong(): string {
  return 'x'.repeat(CONTENT_LENGTH_MAX + 1);
}
function longThread() {
  return { thread: 't'.repeat(THREAD_LENGTH_MAX + 1) };
}
function answer(messageId: string, content = 'x') {
  return { message_id: messageId, content };
}

describe('a tool refuses', () => {
  test.each(CASES)('%s', async (_what, tool, args, code, says) => {
    const refusal: ToolError = await frontend.call(tool, args()).then(
      (result) => expect.fail(`accepted: ${JSON.stringify(result)}`),
      (error) => error,
    );
    expect({ code: refusal.code, text: refusal.message }).toEqual({
      code,
      text: expect.stringMatching(says),
    });
    expect(refusal.message).toMatch(new RegExp(`^Refused \\(${code}\\): .+`));
    expect(refusal.message).not.toContain('\n');
  });

  test('every call as an agent of a namespace that is not here, or of no valid name', async () => {
    const stranger = await stage.agent(a, 'frontend@nowhere');
    await expect(stranger.call('inbox')).rejects.toMatchObject({
      code: 'unknown_namespace',
      message: expect.stringContaining('team'),
    });
    const squatter = await stage.agent(a, 'backend@team');
    await expect(squatter.call('inbox')).rejects.toMatchObject({
      code: 'name_taken',
      message: expect.stringContaining('beta'),
    });
    await expect(stage.agent(a, 'no name@team')).rejects.toThrow(/closed/i);
  });
});

/** The code of a command that must be refused, after the form of the refusal was looked at. */
function codeOf({ code, stdout, stderr }: CliAnswer): string {
  expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/^patchcord: .+\n/) });
  const document: { error: { code: string; message: string; retryable: boolean } } = JSON.parse(stdout);
  expect(document).toEqual({
    error: {
      code: expect.any(String),
      message: expect.stringMatching(/.{10}/),
      retryable: expect.any(Boolean),
    },
  });
  expect(stderr.trimEnd().split('\n').length).toBeLessThanOrEqual(2);
  return document.error.code;
}

const refusal = async (machine: DaemonProcess, ...args: string[]): Promise<string> =>
  codeOf(await machine.run(...args, '--json'));

type Command = [code: string, args: () => string[]];
const AS = ['--as', 'frontend@team'];

const COMMANDS: Command[] = [
  ['unknown_recipient', () => ['send', 'bakend', 'x', ...AS]],
  ['content_empty', () => ['send', 'backend', '  ', ...AS]],
  ['content_too_long', () => ['send', 'backend', tooLong(), ...AS]],
  ['invalid_id', () => ['reply', '42', 'x', ...AS]],
  ['unknown_message', () => ['reply', NOBODY_ID, 'x', ...AS]],
  ['not_addressee', () => ['reply', ids.sent, 'x', ...AS]],
  ['not_sender', () => ['unsend', ids.received, ...AS]],
  ['invalid_name', () => ['agent', 'add', 'no name@team']],
  ['invalid_name', () => ['agent', 'add', 'no.namespace']],
  ['invalid_name', () => ['agent', 'add', `${LONG_NAME}@team`]],
  ['unknown_namespace', () => ['agent', 'add', 'x@nowhere']],
  ['name_taken', () => ['agent', 'add', 'backend@team']],
  ['unknown_agent', () => ['agent', 'remove', 'nobody@team']],
  ['unknown_agent', () => ['agent', 'token', 'backend@team']],
  ['unknown_agent', () => ['inbox', '--peek', '--as', 'nobody@team']],
  ['invalid_name', () => ['namespace', 'create', 'Not A Name!']],
  ['namespace_exists', () => ['namespace', 'create', 'team']],
  ['unknown_namespace', () => ['namespace', 'members', 'nowhere']],
  ['unknown_namespace', () => ['namespace', 'invite', 'nowhere']],
  ['invalid_input', () => ['namespace', 'invite', 'team', '--ttl', '8d']],
];

describe('the command line refuses', () => {
  test.concurrent.each(COMMANDS.map(([code, args]) => ({ code, args, line: args().join(' ').slice(0, 60) })))(
    '$line: $code',
    async ({ code, args }) => {
      expect(await refusal(a, ...args())).toBe(code);
    },
  );

  test('an invitation by a machine that is no admin', async () => {
    expect(await refusal(b, 'namespace', 'invite', 'team')).toBe('not_admin');
  });

  test('what it cannot read with exit code 2', async () => {
    const lines = [['send'], ['frobnicate'], ['daemon', '--listen', 'nonsense'], ['inbox']];
    const answers = await Promise.all(lines.map((args) => a.run(...args, '--json')));
    for (const { code, stdout, stderr } of answers) {
      expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringMatching(/./) });
      expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'invalid_input' } });
    }
  });
});

interface Invite {
  ticket: string;
  expires_at: string;
}

describe('a ticket is refused', () => {
  const invite = (...args: string[]) => a.json<Invite>('namespace', 'invite', 'team', ...args);
  const join = (ticket: string) => refusal(outside, 'namespace', 'join', ticket);

  test('when it is damaged, in whatever way', async () => {
    const { ticket } = await invite();
    const middle = Math.floor(ticket.length / 2);
    const swapped = ticket[middle] === 'A' ? 'B' : 'A';
    expect(await join(ticket.slice(0, -1))).toBe('ticket_damaged');
    const { admin } = outside.client();
    for (const damaged of [
      '',
      'pc1:',
      'hello',
      ticket.slice(0, middle),
      ticket.slice(1),
      `${ticket.slice(0, middle)}${swapped}${ticket.slice(middle + 1)}`,
      `${ticket}AAAA`,
      `pc1:${'A'.repeat(5_000)}`,
    ]) {
      await expect(admin.join(damaged)).rejects.toMatchObject({ code: 'ticket_damaged' });
    }
  });

  test('when it is of another version', async () => {
    const { ticket } = await invite();
    expect(await join(ticket.replace('pc1:', 'pc2:'))).toBe('ticket_version');
  });

  test('when its secret is guessed', async () => {
    const ticket = parseTicket((await invite()).ticket);
    expect(await join(formatTicket({ ...ticket, secret: new Uint8Array(16) }))).toBe('ticket_refused');
  });

  test('when its time is over, also by a machine that invites nobody any more', async () => {
    await outside.json('namespace', 'create', 'lonely');
    const [own, lonely] = await Promise.all([
      invite('--ttl', '1s'),
      outside.json<Invite>('namespace', 'invite', 'lonely', '--ttl', '1s'),
    ]);
    // The inviting machine's clock decides, and it is this one's.
    const overAtMs = Math.max(...[own, lonely].map(({ expires_at: at }) => Date.parse(at)));
    await delay(Math.max(0, overAtMs + 1 - Date.now()));
    expect(await join(own.ticket)).toBe('ticket_expired');
    expect(await refusal(a, 'namespace', 'join', lonely.ticket)).toBe('ticket_expired');
  });

  test('when another machine used it, which may use it again', async () => {
    const { ticket } = await invite();
    const rival = await stage.machine('rival');
    await rival.json('namespace', 'join', ticket);
    expect(await join(ticket)).toBe('ticket_used');
    expect(await rival.json('namespace', 'join', ticket)).toMatchObject({ joined: false });
  });

  test('when the inviting machine is not there', async () => {
    const ticket = parseTicket((await invite()).ticket);
    const nobody = ['/ip4/127.0.0.1/tcp/1'];
    expect(await join(formatTicket({ ...ticket, addresses: nobody }))).toBe('peer_unreachable');
  });

  test('and leaves the machine outside', async () => {
    const { namespaces } = await outside.json<{ namespaces: { namespace: string }[] }>('namespace', 'list');
    expect(namespaces.map(({ namespace }) => namespace)).toEqual(['lonely']);
    const { members } = await a.json<{ members: { machine: string }[] }>('namespace', 'members', 'team');
    expect(members.map(({ machine }) => machine).sort()).toEqual(['alpha', 'beta', 'rival']);
  });
});

describe('a daemon refuses to start', () => {
  const LOCAL = ['--http-port', '0', '--listen', '/ip4/127.0.0.1/tcp/0', '--no-mdns'];

  test('in a home that has one, which runs on', async () => {
    const before = a.info!.pid;
    expect(await refusal(a, 'daemon', ...LOCAL)).toBe('home_in_use');
    expect(await a.json('status')).toMatchObject({ pid: before });
  });

  test('on ports that are taken, and leaves nothing running', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const address = taken.address();
    assert(typeof address === 'object' && address !== null);
    const { port } = address;
    const listen = `/ip4/127.0.0.1/tcp/${port}`;
    const flags = [
      [...LOCAL, '--http-port', String(port)],
      ['--http-port', '0', '--listen', listen, '--no-mdns'],
    ];
    const homes = flags.map(() => stage.home('portless'));
    const codes = await Promise.all(homes.map((home, index) => refusal(home, 'daemon', ...flags[index]!)));
    expect(codes).toEqual(['port_in_use', 'port_in_use']);
    for (const { home } of homes) expect(readdirSync(home)).not.toContain('daemon.json');
    taken.close();
    await expect(homes[0]!.start()).resolves.toMatchObject({ http: expect.any(String) });
  });

  test('in a home that cannot be written', async () => {
    const home = join(folder, 'file', 'home');
    const commands = [['daemon', ...LOCAL], ['up']];
    const answers = await Promise.all(commands.map((command) => runCommand(home, ...command, '--json')));
    expect(answers.map(codeOf)).toEqual(['home_not_writable', 'home_not_writable']);
  });
});

test('after all of it, what was queued before is delivered, and mail flows', async () => {
  expect([a.process?.exitCode, b.process?.exitCode]).toEqual([null, null]);
  const late = await stage.agent(b, 'late@team');
  expect(await late.next()).toMatchObject({ content: QUEUED, from: 'frontend@team' });
  expect(await late.next()).toMatchObject({ message_id: ids.others });
  const waiting = backend.next();
  await frontend.send('backend', 'still here');
  expect(await waiting).toMatchObject({ content: 'still here' });
  const { messages } = await frontend.call('recall', { limit: 100 });
  expect(messages.filter(({ direction }) => direction === 'sent')).toHaveLength(3);
});
