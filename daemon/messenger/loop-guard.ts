import { threadSlug } from '../../protocol/address.ts';
import { PatchcordError } from '../../protocol/errors.ts';

/**
 * What an agent is told that may not go on without its human. The slug of a thread is a peer's word: it stands in the
 * command only when it is one that a shell takes as it is.
 */
export function loopGuard(agent: string, hopsMax: number, thread = ''): PatchcordError {
  const where = thread !== '' && threadSlug(thread) === thread ? ` --thread ${thread}` : '';
  return new PatchcordError(
    'loop_guard',
    `Agents have answered one another ${hopsMax} times in a row here, and no person has said anything since.`,
    'Stop, and ask your human whether this should go on. They let you go on with ' +
      `\`patchcord reset --as ${agent}${where}\`, or say something themselves with \`patchcord send\`. ` +
      'Until then reply(defer=true) and reply(resolve=true) without content still work.',
  );
}

/** Said with an answer that leaves few more. */
export function hopsWarning(left: number | undefined): string | undefined {
  if (left === undefined) return undefined;
  const more = left === 0 ? 'No further answer' : left === 1 ? 'One more answer' : `${left} more answers`;
  return `${more} may follow in this chain until a person steps in: come to an end, or involve your human.`;
}
