import { InvalidArgumentError, Option } from 'commander';
import { zUrgency } from '../protocol/delivery/wakes.ts';
import { parseDuration } from '../protocol/duration.ts';

/** Options that several commands share, and readers that turn wrong usage into commander's own error. */

export function asOption(): Option {
  return new Option('--as <agent>', 'the agent to act as: name@namespace').makeOptionMandatory();
}

export function urgencyOption(): Option {
  const what = 'info: wakes nobody; steer: also whoever does not want to be disturbed (default: normal)';
  return new Option('--urgency <urgency>', what).choices(zUrgency.options);
}

export function durationMs(text: string): number {
  const durationMs = parseDuration(text);
  if (durationMs === undefined)
    throw new InvalidArgumentError('Write a duration such as 90s, 10m, 1h or 7d.');
  return durationMs;
}

/** The same, checked and left as it is. */
export function duration(text: string): string {
  durationMs(text);
  return text;
}

export function count(text: string): number {
  if (!/^\d{1,6}$/.test(text)) throw new InvalidArgumentError('Write a whole number.');
  return Number(text);
}

/** For options that may be given several times. */
export function collect(text: string, before: readonly string[] | undefined): string[] {
  return [...(before ?? []), text];
}
