import type { Problem } from './ledger.ts';
import type { SimResult } from './simulate.ts';
import type { Worked } from './worker.ts';

const SHOWN_MAX = 12;

/** What broke in one run, and how to see it again. */
export function failureText({ seed, steps, isReal, problems }: SimResult, messages: number): string {
  const shown = problems.slice(0, SHOWN_MAX).map(({ kind, text }) => `  ${kind}: ${text}`);
  const more = problems.length - shown.length;
  return [
    `seed ${seed}: ${problems.length} problems in ${steps} steps; ` +
      `replay: npm run sim -- --seed ${seed} --messages ${messages}${isReal ? ' --real' : ''} --trace`,
    ...shown,
    ...(more > 0 ? [`  and ${more} more`] : []),
  ].join('\n');
}

/** The figures of all runs together, and what they say of runs not made. */
export function closingReport(results: readonly Worked[], tookMs: number): string {
  const sum = (count: (result: Worked) => number) =>
    results.reduce((total, result) => total + count(result), 0);
  const of = (...kinds: Problem['kind'][]) =>
    sum(({ problems }) => problems.filter(({ kind }) => kinds.includes(kind)).length);
  const failed = results.filter(({ problems }) => problems.length > 0).length;
  const drainS = Math.max(...results.map(({ drainMs }) => drainMs)) / 1_000;
  const real = results.filter(({ isReal }) => isReal).length;
  const twice = results.filter(({ isTwice }) => isTwice).length;
  return [
    `${results.length} seeds (${real} with real cryptography, ${twice} twice), ${sum(({ crashes }) => crashes)} crashes, ${sum(({ accepted }) => accepted)} messages ` +
      `(${sum(({ shown }) => shown)} shown, ${sum(({ byMailbox }) => byMailbox)} of them only by mailbox), ${sum(({ framesDelivered }) => framesDelivered)} frames, ` +
      `${Math.round(sum(({ virtualMs }) => virtualMs) / 60_000)} virtual minutes, ${(tookMs / 1_000).toFixed(1)} s, ` +
      `${(sum(({ cpuMs }) => cpuMs) / 1_000 / results.length).toFixed(2)} processor seconds a seed; ` +
      `slowest drain ${drainS.toFixed(0)} s`,
    `lost ${of('lost')}, duplicated ${of('duplicated')}, reordered ${of('reordered')}, leaked ${of('leaked')}, ` +
      `read after unsend ${of('unread')}, claimed too much ${of('claimed')}, altered ${of('altered')}, ` +
      `stuck ${of('stuck')}, presence ${of('presence')}, membership ${of('membership')}, varied ${of('varied')}, internal ${of('internal')}`,
    bound(failed, results.length),
  ].join('\n');
}

/** Rule of three: with no failure in N trials the rate is below 3/N with 95 % confidence. */
function bound(failed: number, trials: number): string {
  if (failed > 0) return `${failed} of ${trials} runs failed`;
  return `no run failed: with 95 % confidence fewer than ${Math.min(100, 300 / trials).toFixed(2)} % of runs do`;
}
