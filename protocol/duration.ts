const UNIT_MS = new Map([
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);

/** "90s", "10m", "1h" or "7d" in milliseconds; a number alone means seconds. Undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  const found = /^(\d{1,9})([smhd])?$/.exec(text.trim().toLowerCase());
  if (found === null) return undefined;
  return Number(found[1]) * (UNIT_MS.get(found[2] ?? 's') ?? 0);
}
