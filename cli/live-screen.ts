/** Terminal sequences of ECMA-48 and xterm. */
const ALTERNATE_ON = '\u001b[?1049h';
const ALTERNATE_OFF = '\u001b[?1049l';
const CURSOR_HIDE = '\u001b[?25l';
const CURSOR_SHOW = '\u001b[?25h';
const HOME = '\u001b[H';
const CLEAR_LINE = '\u001b[K';
const CLEAR_REST = '\u001b[J';
const CTRL_C = '\u0003';

/** What of a process's terminal a screen needs. */
export interface Terminal {
  input: {
    isRaw?: boolean;
    setRawMode(raw: boolean): unknown;
    resume(): unknown;
    pause(): unknown;
    on(event: 'data', listener: (bytes: Buffer) => void): unknown;
    off(event: 'data', listener: (bytes: Buffer) => void): unknown;
  };
  output: {
    columns: number;
    rows: number;
    write(text: string): unknown;
    on(event: 'resize', listener: () => void): unknown;
    off(event: 'resize', listener: () => void): unknown;
  };
}

/**
 * Draws frames on the whole terminal until the frames end, the signal aborts, or somebody presses q or Ctrl-C. However
 * it ends, the terminal is as it was before.
 */
export async function showLive<Frame>(
  { input, output }: Terminal,
  signal: AbortSignal,
  frames: (ended: AbortSignal) => AsyncIterable<Frame>,
  draw: (frame: Frame, size: { columns: number; rows: number }) => readonly string[],
): Promise<void> {
  const left = new AbortController();
  const ended = AbortSignal.any([signal, left.signal]);
  let last: Frame | undefined;
  const paint = (): void => {
    if (last === undefined) return;
    const { columns, rows } = output;
    const lines = draw(last, { columns, rows });
    output.write(`${HOME}${lines.map((line) => line + CLEAR_LINE).join('\r\n')}${CLEAR_REST}`);
  };
  const onKey = (bytes: Buffer): void => {
    const keys = bytes.toString('latin1');
    if (keys === 'q' || keys === 'Q' || keys.includes(CTRL_C)) left.abort();
  };
  const wasRaw = input.isRaw ?? false;
  input.setRawMode(true);
  input.on('data', onKey);
  input.resume();
  output.on('resize', paint);
  output.write(ALTERNATE_ON + CURSOR_HIDE);
  try {
    for await (const frame of frames(ended)) {
      last = frame;
      paint();
    }
  } catch (error) {
    if (!ended.aborted) throw error;
  } finally {
    output.write(CURSOR_SHOW + ALTERNATE_OFF);
    output.off('resize', paint);
    input.off('data', onKey);
    input.setRawMode(wasRaw);
    input.pause();
  }
}
