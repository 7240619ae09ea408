import { guard } from '../mcp/frame.ts';

/** One line of the daemon's log as an object; a line that is none becomes its text. */
export function parseLogLine(line: string): Record<string, unknown> {
  try {
    const parsed: unknown = JSON.parse(line);
    if (typeof parsed === 'object' && parsed !== null) return { ...parsed };
  } catch {
    // A crash can cut the last line short.
  }
  return { msg: line };
}

/** One line of the log for people: time, level, what happened, and the details as they are. */
export function logText(line: string): string {
  const { time, level, msg, ...fields } = parseLogLine(line);
  const head = [time, level, msg].filter((part) => typeof part === 'string').join(' ');
  const details = Object.entries(fields).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return guard([head, ...details].join(' ')).replaceAll('\n', ' ');
}
