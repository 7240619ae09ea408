import { asPatchcordError } from '../protocol/errors.ts';
import { guard } from '../mcp/frame.ts';

/** What a command has to say, for programs and for people. */
export interface Answer {
  /** The one document of --json. */
  json: unknown;
  /** Text of peers in it is escaped already. */
  text: string;
  /** The command was understood and refused: exit code 1. */
  refused?: boolean;
}

/** Resolves when the operating system has the text; rejects when nobody reads it any more. */
export function write(stream: NodeJS.WriteStream, text: string): Promise<void> {
  return writeBytes(stream, text);
}

/** The same for bytes. */
export function writeBytes(stream: NodeJS.WriteStream, text: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    // Without a listener the broken pipe would end the process before the caller can react.
    if (stream.listenerCount('error') === 0) stream.on('error', () => {});
    stream.write(text, (error) => (error ? reject(error) : resolve()));
  });
}

/** Whether stdout has had the one document of --json: a failure after that is told by exit code and stderr. */
let documentShown = false;

export async function showAnswer(answer: Answer, json: boolean): Promise<void> {
  const text = json ? JSON.stringify(answer.json) : answer.text;
  documentShown = json;
  await write(process.stdout, text.endsWith('\n') ? text : `${text}\n`);
  if (answer.refused === true) process.exitCode = 1;
}

/** A failure as it is shown: why on one line, what to do on the next; for programs the error document. */
export function renderError(error: unknown): { lines: string; document: string } {
  const shown = asPatchcordError(error);
  const lines = [`patchcord: ${shown.message}`, ...(shown.remedy === '' ? [] : [shown.remedy])];
  return {
    lines: lines.map((line) => `${guard(line).replaceAll('\n', ' ')}\n`).join(''),
    document: `${JSON.stringify({ error: shown.view() })}\n`,
  };
}

/** Whether the reader of stdout went away, as `head` does when it has enough. */
export function isBrokenPipe(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EPIPE' && 'syscall' in error;
}

/** Says what failed; a reader that is gone does not hear it, and that is all. */
export async function showError(failure: unknown, json: boolean): Promise<void> {
  const { lines, document } = renderError(failure);
  await write(process.stderr, lines).catch(() => {});
  if (json && !documentShown) await write(process.stdout, document).catch(() => {});
}

/** Something worth knowing that is not the answer. */
export async function notice(text: string): Promise<void> {
  await write(process.stderr, `${guard(text)}\n`).catch(() => {});
}
