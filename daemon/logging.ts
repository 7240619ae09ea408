import { closeSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs';
import { pino, type DestinationStream } from 'pino';
import { FILE_MODE_PRIVATE } from './atomic-file.ts';
import type { LogLevel } from './config.ts';
import type { Log } from './log.ts';

/** A log file that has grown to this is set aside as FILE.1, in the place of the one before. */
const LOG_SIZE_BYTES_MAX = 5 * 1024 * 1024;

/** Fields that must not be logged, should one ever get into a log call. */
const SECRET_FIELDS = ['token', 'ticket', 'secret', 'content', 'seed'];

/** A log of JSON lines to stderr. */
export function stderrLog(level: LogLevel): Log {
  return createLog(level, pino.destination(2));
}

/** A log of JSON lines to a file that never outgrows its bound, for a daemon that nobody watches. */
export function fileLog(level: LogLevel, path: string): Log {
  return createLog(level, rotatingFile(path));
}

function createLog(level: LogLevel, destination: DestinationStream): Log {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: [...SECRET_FIELDS, ...SECRET_FIELDS.map((field) => `*.${field}`)],
    },
    destination,
  );
}

/**
 * Appends lines to a file; at `sizeBytesMax` the file becomes FILE.1 and a new one starts. Writes are
 * synchronous, so the last lines before a crash are there. A failed write (a full disk) loses the line, never
 * the daemon.
 */
export function rotatingFile(
  path: string,
  sizeBytesMax = LOG_SIZE_BYTES_MAX,
): DestinationStream & { close(): void } {
  let file: number | undefined;
  let sizeBytes = 0;
  const opened = (): number => {
    if (file !== undefined) return file;
    file = openSync(path, 'a', FILE_MODE_PRIVATE);
    sizeBytes = fstatSync(file).size;
    return file;
  };
  const close = (): void => {
    if (file !== undefined) closeSync(file);
    file = undefined;
  };
  return {
    write(line) {
      try {
        opened();
        if (sizeBytes >= sizeBytesMax) {
          close();
          renameSync(path, `${path}.1`);
        }
        sizeBytes += writeSync(opened(), line);
      } catch {
        // There is nowhere left to tell.
      }
    },
    close,
  };
}
