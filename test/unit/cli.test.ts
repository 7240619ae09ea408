import { describe, expect, it } from 'vitest';
import { commandTree } from '../../cli/commands/completion.ts';
import { completionScript, SHELLS, type CommandTree } from '../../cli/completion.ts';
import { parseDuration } from '../../protocol/duration.ts';
import { logText, parseLogLine } from '../../cli/log-text.ts';
import { renderError } from '../../cli/output.ts';
import { createProgram } from '../../cli/program.ts';
import { readText } from '../../cli/stdin.ts';
import { PatchcordError } from '../../protocol/errors.ts';

describe('parseDuration', () => {
  it.each([
    ['90s', 90_000],
    ['10m', 600_000],
    ['1h', 3_600_000],
    ['7d', 604_800_000],
    ['5', 5_000],
    [' 2M ', 120_000],
    ['', undefined],
    ['m', undefined],
    ['1.5h', undefined],
    ['-1m', undefined],
    ['1h30m', undefined],
    ['10 m', undefined],
    ['9'.repeat(20), undefined],
  ])('%j', (text, expected) => {
    expect(parseDuration(text)).toBe(expected);
  });
});

describe('renderError', () => {
  it('says why on one line and what to do on the next', () => {
    const { lines, document } = renderError(new PatchcordError('home_in_use', 'It is\nin use.', 'Stop it.'));
    expect(lines).toBe('patchcord: It is in use.\nStop it.\n');
    expect(JSON.parse(document)).toEqual({
      error: { code: 'home_in_use', message: 'It is\nin use. Stop it.', retryable: true },
    });
  });

  it('lets nothing through that a terminal obeys', () => {
    expect(renderError(new PatchcordError('internal', 'a\u001b[2Jb')).lines).not.toContain('\u001b');
  });

  it.each([new TypeError('x'), 'x', undefined])('renders %s', (failure) => {
    expect(JSON.parse(renderError(failure).document)).toMatchObject({ error: { code: 'internal' } });
  });
});

describe('logText', () => {
  it('shows time, level, text and details', () => {
    const line = '{"level":"info","time":"T","port":1,"a":{"b":"c"},"msg":"it\\nlistens"}';
    expect(logText(line)).toBe('T info it listens port=1 a={"b":"c"}');
  });

  it.each(['{"level":"in', '[1]', '7', 'null', 'text'])('keeps %j, which is not one of ours', (line) => {
    expect(logText(line)).toMatch(/./);
    expect(parseLogLine(line)).toBeTypeOf('object');
  });
});

describe('readText', () => {
  async function* input(...parts: Uint8Array[]): AsyncGenerator<Uint8Array> {
    yield* parts;
  }

  it('takes an argument as it is', async () => {
    expect(await readText('--', 1, input())).toBe('--');
  });

  it('reads stdin for -, characters cut in two parts included', async () => {
    const bytes = Buffer.from('grüße\n');
    expect(await readText('-', 10, input(bytes.subarray(0, 3), bytes.subarray(3)))).toBe('grüße\n');
  });

  it('is bounded', async () => {
    await expect(readText('-', 3, input(Buffer.from('four')))).rejects.toMatchObject({
      code: 'content_too_long',
    });
  });

  it('refuses what is no text', async () => {
    await expect(readText('-', 9, input(Buffer.from([0xff])))).rejects.toMatchObject({
      code: 'invalid_input',
    });
  });
});

describe('the command tree', async () => {
  const program = await createProgram([], { out() {}, err() {} });
  const tree = commandTree(program);
  const lines = (command: CommandTree, above = ''): string[] =>
    command.commands.flatMap((below) => [`${above}${below.name}`, ...lines(below, `${above}${below.name} `)]);

  it('is the contract', () => {
    const expected = `daemon up down status logs doctor namespace agent mcp send reply reset unsend inbox wait recall top watch bundle backup restore completion help`;
    expect(tree.commands.map(({ name }) => name)).toEqual(expected.split(' '));
    expect(lines(tree)).toEqual(
      expect.arrayContaining([
        ...[
          'create',
          'invite',
          'confirm',
          'join',
          'list',
          'members',
          'remove',
          'promote',
          'leave',
          'recover',
        ].map((name) => `namespace ${name}`),
        ...['add', 'list', 'remove', 'token'].map((name) => `agent ${name}`),
        ...['export', 'import'].map((name) => `bundle ${name}`),
      ]),
    );
  });

  it('has a command also when the line names no other', async () => {
    for (const { name } of tree.commands) {
      const alone = await createProgram(['--home', 'x', name], { out() {}, err() {} });
      expect(commandTree(alone).commands.map((command) => command.name)).toContain(name);
    }
  });

  it('gives --home and --json to every command', () => {
    const check = (command: CommandTree): void => {
      expect(command.options.map(({ name }) => name)).toEqual(
        expect.arrayContaining(['--home', '--json', '--help']),
      );
      command.commands.forEach(check);
    };
    check(tree);
  });

  it('keeps the flag of a background process to itself', () => {
    expect(program.commands.map((command) => command.helpInformation()).join('')).not.toMatch(
      /background <|--background/i,
    );
  });

  it.each(SHELLS)('is all in the completion for %s', (shell) => {
    const script = completionScript(shell, tree);
    for (const name of lines(tree).flatMap((line) => line.split(' '))) expect(script).toContain(name);
    for (const option of ['ttl', 'qr', 'reject', 'http-port', 'as', 'peek']) expect(script).toContain(option);
  });
});
