import { CommanderError } from 'commander';
import { PatchcordError } from '../protocol/errors.ts';
import { isBrokenPipe, showError, write } from './output.ts';
import { createProgram } from './program.ts';

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

/**
 * Runs one command line (without program and script). Sets the exit code (0 done, 1 refused or failed, 2 wrong
 * usage) and lets the process run out of work. With --json exactly one document goes to stdout, whatever happens.
 */
export async function main(args: readonly string[]): Promise<void> {
  const json = wantsJson(args);
  const texts = { out: '', err: '' };
  try {
    const program = await createProgram(args, {
      out: (text) => (texts.out += text),
      err: (text) => (texts.err += text),
    });
    await program.parseAsync(args, { from: 'user' });
    await showTexts(texts, 'help', json);
  } catch (error) {
    if (!(error instanceof CommanderError)) {
      process.exitCode = EXIT_FAILED;
      if (isBrokenPipe(error)) return;
      await showError(error, json);
      return;
    }
    const kind = error.code === 'commander.version' ? 'version' : 'help';
    await showTexts(texts, kind, json);
    if (error.exitCode === 0) return;
    process.exitCode = EXIT_USAGE;
    if (json) await writeUsageError(error);
  }
}

/** The command line is wrong before it could be read, so this cannot ask commander. */
function wantsJson(args: readonly string[]): boolean {
  const end = args.indexOf('--');
  return (end === -1 ? args : args.slice(0, end)).includes('--json');
}

async function showTexts(texts: { out: string; err: string }, kind: string, json: boolean): Promise<void> {
  if (texts.err !== '') await write(process.stderr, texts.err);
  if (texts.out === '') return;
  await write(process.stdout, json ? `${JSON.stringify({ [kind]: texts.out.trimEnd() })}\n` : texts.out);
}

async function writeUsageError(error: CommanderError): Promise<void> {
  const message = error.message.replace(/^error: /, '').replaceAll('\n', ' ');
  const view = new PatchcordError('invalid_input', message, 'See `patchcord help`.').view();
  await write(process.stdout, `${JSON.stringify({ error: view })}\n`);
}
