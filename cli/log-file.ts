import { watch } from 'node:fs';
import { open, readFile, stat, type FileHandle } from 'node:fs/promises';
import { basename, dirname } from 'node:path';

const READ_SIZE_BYTES = 64 * 1024;

/** The last lines of files that continue one another, oldest file first; undefined when none of them exists. */
export async function lastLines(paths: readonly string[], linesMax: number): Promise<string[] | undefined> {
  const lines: string[] = [];
  let found = false;
  for (const path of paths) {
    const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (text === undefined) continue;
    found = true;
    lines.push(...text.split('\n').filter((line) => line !== ''));
  }
  return found ? lines.slice(-linesMax) : undefined;
}

/**
 * Tells every line that is appended to a file from now on, also when the file is set aside and begun anew, until
 * the signal aborts.
 */
export async function followFile(
  path: string,
  signal: AbortSignal,
  tell: (line: string) => Promise<void>,
): Promise<void> {
  let wake = Promise.withResolvers<void>();
  const watcher = watch(dirname(path), (_event, name) => {
    if (name === null || name === basename(path)) wake.resolve();
  });
  watcher.on('error', () => wake.resolve());
  signal.addEventListener('abort', () => wake.resolve(), { once: true });
  const tail = new Tail(path);
  try {
    await tail.skip();
    while (!signal.aborted) {
      wake = Promise.withResolvers<void>();
      for (const line of await tail.read()) await tell(line);
      if (signal.aborted) return;
      await wake.promise;
    }
  } finally {
    watcher.close();
    await tail.close();
  }
}

/** Reads what is new in a file that grows and may be replaced. */
class Tail {
  readonly #path: string;
  #file: FileHandle | undefined;
  #inode = 0;
  #position = 0;
  #rest = '';
  readonly #decoder = new TextDecoder();

  constructor(path: string) {
    this.#path = path;
  }

  /** Goes to the end of the file. */
  async skip(): Promise<void> {
    await this.#open();
    if (this.#file !== undefined) this.#position = (await this.#file.stat()).size;
  }

  /** The lines that have been completed since the last call: of the old file first when there is a new one. */
  async read(): Promise<string[]> {
    const lines = await this.#readOn();
    const now = await stat(this.#path).catch(() => undefined);
    if (now === undefined || now.ino === this.#inode) return lines;
    await this.close();
    await this.#open();
    return [...lines, ...(await this.#readOn())];
  }

  async close(): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
  }

  async #open(): Promise<void> {
    this.#file = await open(this.#path, 'r').catch(() => undefined);
    this.#inode = this.#file === undefined ? 0 : (await this.#file.stat()).ino;
    this.#position = 0;
    this.#rest = '';
  }

  async #readOn(): Promise<string[]> {
    if (this.#file === undefined) return [];
    const buffer = Buffer.alloc(READ_SIZE_BYTES);
    for (;;) {
      const { bytesRead } = await this.#file.read(buffer, 0, buffer.length, this.#position);
      if (bytesRead === 0) break;
      this.#position += bytesRead;
      this.#rest += this.#decoder.decode(buffer.subarray(0, bytesRead), { stream: true });
    }
    const lines = this.#rest.split('\n');
    this.#rest = lines.pop() ?? '';
    return lines.filter((line) => line !== '');
  }
}
