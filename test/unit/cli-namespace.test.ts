import { describe, expect, it } from 'vitest';
import { joinText } from '../../cli/commands/namespace-join.ts';
import {
  checksText,
  confirmJoins,
  isYes,
  parseCode,
  spaced,
  type ConfirmParts,
} from '../../cli/join-check.ts';
import { joinDecided } from '../../cli/join-wait.ts';
import { readPhrase, recoveryText, untilComplete } from '../../cli/recovery-words.ts';
import { agentsText, namespacesText, statusText } from '../../cli/status-text.ts';
import { ticketQr } from '../../cli/ticket-qr.ts';
import type { JoinCheckView, JoinPendingView, JoinView } from '../../protocol/admin-views.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import { CHECK, FRONTEND, localAgent, MEMBER, NAMESPACE, PHRASE, STARTED_AT } from './api-fixture.ts';

const ESCAPE = '\u001b[2J';

describe('the digits of a join', () => {
  it.each([
    ['123456', '123456'],
    ['123 456', '123456'],
    ['012-345', '012345'],
    [' 1 2 3 4 5 6 ', '123456'],
    ['12345', undefined],
    ['1234567', undefined],
    ['12345a', undefined],
    ['\u0661\u0662\u0663\u0664\u0665\u0666', undefined],
    ['', undefined],
  ])('%j', (text, expected) => {
    expect(parseCode(text)).toBe(expected);
  });

  it('keep their zeros when they are shown', () => {
    expect(spaced('000120')).toBe('000 120');
  });

  it.each(['y', 'Y', 'yes', ' YES '])('%j lets in', (answer) => expect(isYes(answer)).toBe(true));
  it.each(['', 'n', 'no', 'yy', 'y?', 'ja', 'not yes'])('%j does not', (answer) =>
    expect(isYes(answer)).toBe(false),
  );

  it('are listed with what to do, whatever a stranger calls itself', () => {
    const text = checksText('team', [{ ...CHECK, machine: `a" (key …x) ${ESCAPE}\nb` }]);
    expect(text.split('\n')).toHaveLength(2);
    expect(text).toContain('012 345  "a\' (key …x) ');
    expect(text).toContain('(key …ower-key)');
    expect(text).toContain('patchcord namespace confirm team CODE');
    expect(text).not.toContain('\u001b');
    expect(checksText('team', [])).toBe('No join waits in team.');
  });
});

/** A confirmation whose world is a script: joins by look, answers by question. */
function scripted(script: {
  looks: JoinCheckView[][];
  answers?: (string | undefined)[];
  decide?: () => Promise<unknown>;
}) {
  const interrupt = new AbortController();
  const events: unknown[] = [];
  let nowMs = 0;
  const parts: ConfirmParts = {
    checks: async () => script.looks.shift() ?? [],
    decide: async (...decision) => {
      events.push(decision);
      await script.decide?.();
    },
    ask: async (question) => {
      events.push(question);
      return script.answers?.shift();
    },
    tell: async (text) => void events.push(text),
    pause: async (ms) => void (nowMs += ms),
    now: () => nowMs,
    signal: interrupt.signal,
  };
  return { parts, events, interrupt, now: () => nowMs };
}

describe('confirming joins', () => {
  const question = '"tower" (key …ower-key) asks to join and must show 012 345 there. The same? [y/N] ';

  it('looks about once a second, asks, and ends with the machine that was let in', async () => {
    const world = scripted({ looks: [[], [], [CHECK]], answers: ['y'] });
    expect(await confirmJoins(60_000, world.parts)).toBe('admitted');
    expect(world.now()).toBe(2_000);
    expect(world.events).toEqual([question, ['012345', true], '"tower" (key …ower-key) may join now.']);
  });

  it('turns away whatever got no clear yes, and goes on', async () => {
    const other = { ...CHECK, code: '999999', machine: 'mine' };
    const world = scripted({ looks: [[CHECK, other]], answers: ['', 'yes'] });
    expect(await confirmJoins(60_000, world.parts)).toBe('admitted');
    expect(world.events.filter(Array.isArray)).toEqual([
      ['012345', false],
      ['999999', true],
    ]);
  });

  it('ends with the ticket, but looks once more then', async () => {
    const world = scripted({ looks: [[], []] });
    expect(await confirmJoins(1_000, world.parts)).toBe('expired');
    expect(world.now()).toBe(1_000);
    const late = scripted({ looks: [[], [CHECK]], answers: ['y'] });
    expect(await confirmJoins(1_000, late.parts)).toBe('admitted');
  });

  it('decides nothing when nobody answers', async () => {
    const world = scripted({ looks: [[CHECK]], answers: [undefined] });
    expect(await confirmJoins(60_000, world.parts)).toBe('interrupted');
    expect(world.events).toEqual([question]);
  });

  it('decides nothing after Ctrl-C, whatever was typed', async () => {
    const world = scripted({ looks: [[CHECK]] });
    world.parts.ask = async () => {
      world.interrupt.abort();
      return 'y';
    };
    expect(await confirmJoins(60_000, world.parts)).toBe('interrupted');
    expect(world.events).toEqual([]);
  });

  it('ends with the pause that Ctrl-C cut short', async () => {
    const world = scripted({ looks: [] });
    world.parts.pause = async () => world.interrupt.abort();
    expect(await confirmJoins(Infinity, world.parts)).toBe('interrupted');
  });

  it('goes on when a join has ended while the question stood', async () => {
    const gone = async () => {
      throw new PatchcordError('not_found', 'No join shows these digits.');
    };
    const world = scripted({ looks: [[CHECK]], answers: ['y'], decide: gone });
    expect(await confirmJoins(1_000, world.parts)).toBe('expired');
    expect(world.events).toContain('"tower" (key …ower-key) does not wait any more.');
  });

  it('fails with what is no fault of the join', async () => {
    const failure = new PatchcordError('not_admin', 'Only an admin may.');
    const world = scripted({ looks: [[CHECK]], answers: ['y'], decide: () => Promise.reject(failure) });
    await expect(confirmJoins(60_000, world.parts)).rejects.toBe(failure);
  });
});

describe('a join that waits', () => {
  const joined: JoinView = {
    namespace: 'team',
    id: 'ab',
    admitted_by: 'desk',
    members: [MEMBER],
    joined: true,
  };
  const pending = (check: string): JoinPendingView => ({ joined: false, check });
  const parts = (answers: (JoinView | JoinPendingView)[]) => {
    const told: string[] = [];
    const interrupt = new AbortController();
    return {
      told,
      interrupt,
      join: async () => answers.shift()!,
      tell: async (text: string) => void told.push(text),
      pause: async () => {},
      signal: interrupt.signal,
    };
  };

  it('says the digits once, and again when they are others', async () => {
    const world = parts([pending('012345'), pending('012345'), pending('999999'), joined]);
    expect(await joinDecided(world)).toEqual(joined);
    expect(world.told).toEqual([
      'Check: 012 345. The inviting side must show the same digits and confirm.',
      'Check: 999 999. The inviting side must show the same digits and confirm.',
    ]);
  });

  it('says nothing when there is nothing to compare, also for a member', async () => {
    const world = parts([{ ...joined, joined: false }]);
    expect(await joinDecided(world)).toMatchObject({ joined: false, namespace: 'team' });
    expect(world.told).toEqual([]);
  });

  it('ends with the error of the join', async () => {
    const refusal = new PatchcordError('join_rejected', 'The other side said no.');
    await expect(joinDecided({ ...parts([]), join: () => Promise.reject(refusal) })).rejects.toBe(refusal);
  });

  it('ends when it is interrupted, in a call and between two', async () => {
    const world = parts([pending('012345')]);
    const pause = async () => world.interrupt.abort();
    await expect(joinDecided({ ...world, pause })).rejects.toMatchObject({ code: 'stopping' });
    const other = parts([]);
    const join = async () => {
      other.interrupt.abort();
      throw new DOMException('aborted', 'AbortError');
    };
    await expect(joinDecided({ ...other, join })).rejects.toMatchObject({ code: 'stopping' });
  });

  it('says who is there and what to do next', () => {
    expect(joinText(joined)).toBe(
      `Joined team, admitted by "desk":\nlaptop (admin, this machine) p; ${FRONTEND}\nAdd an agent with \`patchcord agent add NAME@team\`.`,
    );
    const keeper = { ...MEMBER, role: 'keeper' as const, agents: [] };
    const text = joinText({ ...joined, members: [keeper] });
    expect(text).toContain('No agents are there yet.');
    expect(text).not.toContain('agent add');
    expect(joinText({ ...joined, joined: false })).toBe('This machine is a member of team already.');
  });
});

describe('recovery words', () => {
  const numbered = PHRASE.split(' ')
    .map((word, index) => `${index + 1}. ${word}`)
    .join('\n');

  it('are printed so that they can be read back as they are', () => {
    const text = recoveryText('team', PHRASE);
    const block = text.slice(text.indexOf('\n\n'));
    expect(block.trim().split('\n')).toHaveLength(6);
    expect(text).toContain('   1. zebra      2. abandon    3. zebra      4. abandon\n');
    expect(text).toContain('patchcord namespace recover team');
    expect(readPhrase(block)).toBe(PHRASE);
  });

  it.each([
    ['as they are', PHRASE],
    ['in capitals', PHRASE.toUpperCase()],
    ['with blanks and line breaks', `\n ${PHRASE.replaceAll(' ', ' \t\r\n')}\n`],
    ['numbered', numbered],
    ['numbered without blanks', numbered.replaceAll('. ', '.')],
    ['numbered otherwise', numbered.replaceAll('. ', ') ')],
    ['with commas', PHRASE.replaceAll(' ', ', ')],
  ])('are understood %s', (_how, text) => {
    expect(readPhrase(text)).toBe(PHRASE);
  });

  it.each(['', 'zebra', `${PHRASE} zebra`])('are 24, and an error repeats none of them', (text) => {
    expect(() => readPhrase(text)).toThrow(expect.objectContaining({ code: 'invalid_input' }));
    expect(() => readPhrase(text)).not.toThrow('zebra');
  });

  it('end the input of a terminal with the line that completes them', async () => {
    async function* typed(...parts: string[]): AsyncGenerator<Uint8Array> {
      for (const part of parts) yield Buffer.from(part);
      throw new Error('read too far');
    }
    const half = numbered.split('\n').slice(0, 12).join('\n');
    const rest = numbered.slice(half.length + 1);
    const seen: string[] = [];
    for await (const part of untilComplete(typed(`${half}\n`, rest.slice(0, -3), rest.slice(-3), '\n'))) {
      seen.push(Buffer.from(part).toString());
    }
    expect(readPhrase(seen.join(''))).toBe(PHRASE);
  });
});

describe('a ticket as a QR code', () => {
  const ticket = `pc1:${'aB3-'.repeat(100)}`;

  it('is drawn in lines of one width', () => {
    const lines = ticketQr(ticket, 200).split('\n');
    expect(lines.length).toBeGreaterThan(20);
    expect(new Set(lines.map((line) => line.length)).size).toBe(1);
    expect(ticketQr(ticket, undefined).split('\n')).toEqual(lines);
  });

  it('holds the longest text that fits, and says so of a longer one', () => {
    expect(ticketQr('x'.repeat(2_953), undefined).split('\n').length).toBeGreaterThan(80);
    expect(ticketQr('x'.repeat(2_954), undefined)).toMatch(/^The ticket is too long for a QR code/);
    expect(ticketQr('x'.repeat(12_288), undefined)).not.toContain('\n');
  });

  it('is not drawn where its lines would wrap', () => {
    expect(ticketQr(ticket, 40)).toMatch(/^The QR code needs \d+ columns and the terminal has 40/);
  });
});

describe('what others may need to know', () => {
  const removed = {
    ...NAMESPACE,
    role: 'removed' as const,
    removed: { by: `desk${ESCAPE}`, at: STARTED_AT, reason: 'stolen\n"now"' },
  };
  const text = `myproject: removed at ${STARTED_AT} by "desk\\u001b[2J" (reason: "stolen 'now'"); \`namespace leave\` forgets it`;

  it('is that a machine was removed: by whom, when and why', () => {
    expect(namespacesText([removed])).toBe(text);
    const { reason: _reason, ...unsaid } = removed.removed;
    expect(namespacesText([{ ...removed, removed: unsaid }])).not.toContain('reason');
    expect(namespacesText([{ ...NAMESPACE, role: 'removed' }])).toBe('myproject: this machine was removed');
    const left = { ...removed, removed: { ...removed.removed, reason: 'left', left: true as const } };
    expect(namespacesText([left])).toBe(`myproject: this machine left at ${STARTED_AT}`);
  });

  it('is that a name belongs to another machine, and what to do', () => {
    const agent = { ...localAgent(FRONTEND), name_held_by: 'desk "x"' };
    const lines = agentsText([agent]).split('\n');
    expect(lines).toHaveLength(2);
    expect(lines[1]).toContain('"desk \'x\'" had this name first');
    expect(lines[1]).toContain(`patchcord agent remove ${FRONTEND}`);
    expect(agentsText([localAgent(FRONTEND)]).split('\n')).toHaveLength(1);
  });

  const plain = {
    version: '0.1.0',
    pid: 1,
    home: '/h',
    machine: 'laptop',
    peer_id: 'p',
    started_at: STARTED_AT,
    listen: [],
    http: 'h',
    socket: 's',
    namespaces: [],
    agents: [],
    links: [],
  };

  it('is that the machine is behind NAT, and which links are punched through', () => {
    const seen = { seen_as: '203.0.113.11:40000', behind_nat: true };
    expect(statusText({ ...plain, ...seen })).toContain('\nBehind:   a NAT, seen as 203.0.113.11:40000\n');
    expect(statusText({ ...plain, ...seen, behind_nat: false })).not.toContain('NAT');
    const address = '/ip4/203.0.113.12/tcp/40000';
    const link = {
      machine: 'desk',
      peer_id: 'q',
      up: true,
      address,
      prekey: 'fresh',
      queued: 0,
      held: 0,
    } as const;
    const lines = (punched: boolean) => statusText({ ...plain, links: [{ ...link, punched }] });
    expect(lines(true)).toContain(`desk: linked punched through NAT, at ${address}; 0 queued`);
    expect(lines(false)).toContain(`desk: linked at ${address}; 0 queued`);
  });

  it('is in the status, indented like the rest', () => {
    const status = statusText({
      ...plain,
      namespaces: [removed],
      agents: [{ ...localAgent(FRONTEND), name_held_by: 'desk' }],
    });
    expect(status).toContain(`Namespaces:\n  ${text}\n`);
    expect(status).toMatch(/\n {4}"desk" had this name first/);
  });
});
