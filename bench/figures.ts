/** One measured number; above `bound`, or below `least`, it misses what was promised. */
export interface Figure {
  name: string;
  value: number;
  unit: string;
  bound?: number;
  least?: number;
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** One line a figure, with what it is held to. */
export function formatFigure(figure: Figure): string {
  const { name, value, unit, bound, least } = figure;
  const number = `${value.toFixed(2).padStart(9)} ${unit.padEnd(4)}`;
  const held = bound === undefined ? least : bound;
  if (held === undefined) return `${name.padEnd(44)}${number}`;
  const verdict = isMissed(figure) ? 'MISSED' : 'ok';
  return `${name.padEnd(44)}${number}  at ${bound === undefined ? 'least' : 'most'} ${held} ${unit}: ${verdict}`;
}

/** What could not be measured is missed too. */
export function isMissed({ value, bound, least }: Figure): boolean {
  return (bound !== undefined && !(value <= bound)) || (least !== undefined && !(value >= least));
}
