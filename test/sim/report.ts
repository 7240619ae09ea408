import type { Problem } from './ledger.ts';
import type { SimResult } from './simulate.ts';

const SHOWN_MAX = 12;

/** What broke in one run, and how to see it again. */
export function failureText({ seed, problems }: SimResult, messages: number): string {
  const shown = problems.slice(0, SHOWN_MAX).map(({ kind, text }) => `  ${kind}: ${text}`);
  const more = problems.length - shown.length;
  return [
    `seed ${seed}: ${problems.length} problems; replay: node test/sim/run.ts --seed ${seed} --messages ${messages}`,
    ...shown,
    ...(more > 0 ? [`  and ${more} more`] : []),
  ].join('\n');
}

/** The figures of all runs together, and what they say of runs not made. */
export function closingReport(results: readonly SimResult[], tookMs: number): string {
  const sum = (count: (result: SimResult) => number) =>
    results.reduce((total, result) => total + count(result), 0);
  const of = (...kinds: Problem['kind'][]) =>
    sum(({ problems }) => problems.filter(({ kind }) => kinds.includes(kind)).length);
  const failed = results.filter(({ problems }) => problems.length > 0).length;
  const drainS = Math.max(...results.map(({ drainMs }) => drainMs)) / 1_000;
  return [
    `${results.length} seeds, ${sum(({ crashes }) => crashes)} crashes, ${sum(({ accepted }) => accepted)} messages ` +
      `(${sum(({ shown }) => shown)} shown), ${sum(({ framesDelivered }) => framesDelivered)} frames, ` +
      `${Math.round(sum(({ virtualMs }) => virtualMs) / 60_000)} virtual minutes, ${(tookMs / 1_000).toFixed(1)} s; ` +
      `slowest drain ${drainS.toFixed(0)} s`,
    `lost ${of('lost')}, duplicated ${of('duplicated')}, reordered ${of('reordered')}, leaked ${of('leaked')}, ` +
      `read after unsend ${of('unread')}, claimed too much ${of('claimed')}, altered ${of('altered')}, ` +
      `stuck ${of('stuck')}, presence ${of('presence')}, membership ${of('membership')}, internal ${of('internal')}`,
    bound(failed, results.length),
  ].join('\n');
}

/** Rule of three: with no failure in N trials the rate is below 3/N with 95 % confidence. */
function bound(failed: number, trials: number): string {
  if (failed > 0) return `${failed} of ${trials} runs failed`;
  return `no run failed: with 95 % confidence fewer than ${Math.min(100, 300 / trials).toFixed(2)} % of runs do`;
}
