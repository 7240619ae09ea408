/** One measured number; above `bound` it misses what was promised. */
export interface Figure {
  name: string;
  value: number;
  unit: string;
  bound?: number;
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** One line a figure, with what it is held to. */
export function formatFigure({ name, value, unit, bound }: Figure): string {
  const number = `${value.toFixed(2).padStart(9)} ${unit.padEnd(4)}`;
  if (bound === undefined) return `${name.padEnd(44)}${number}`;
  const verdict = value <= bound ? 'ok' : 'MISSED';
  return `${name.padEnd(44)}${number}  at most ${bound} ${unit}: ${verdict}`;
}
