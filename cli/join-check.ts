import { inline } from '../mcp/frame.ts';
import type { JoinCheckView } from '../protocol/admin-views.ts';
import { PatchcordError } from '../protocol/errors.ts';

/** How often it is looked whether a machine asks to join. */
const LOOK_AGAIN_MS = 1_000;

/** The six digits as people read them to each other. */
export function spaced(code: string): string {
  return inline(`${code.slice(0, 3)} ${code.slice(3)}`);
}

/** "123456", "123 456" or "123-456" as six digits; undefined for anything else. */
export function parseCode(text: string): string | undefined {
  const digits = text.replaceAll(/[\s-]/gu, '');
  return /^[0-9]{6}$/.test(digits) ? digits : undefined;
}

/** Only a plain yes lets a machine in. */
export function isYes(answer: string): boolean {
  return /^y(es)?$/i.test(answer.trim());
}

/** A machine that nobody knows yet: the label is what it says of itself, the key is proved. */
export function stranger({ machine, peer_id }: JoinCheckView): string {
  return `"${inline(machine)}" (key …${inline(peer_id.slice(-8))})`;
}

export function checksText(namespace: string, joins: readonly JoinCheckView[]): string {
  const name = inline(namespace);
  if (joins.length === 0) return `No join waits in ${name}.`;
  const lines = joins.map(
    (join) => `${spaced(join.code)}  ${stranger(join)}, waits since ${inline(join.since)}`,
  );
  const next = `If the other machine shows the same digits: \`patchcord namespace confirm ${name} CODE\`. If not, the same with --reject.`;
  return [...lines, next].join('\n');
}

/** What the loop below needs of the world. */
export interface ConfirmParts {
  checks: () => Promise<JoinCheckView[]>;
  decide: (code: string, accept: boolean) => Promise<unknown>;
  /** What was typed; undefined when nobody answers any more. */
  ask: (question: string) => Promise<string | undefined>;
  tell: (text: string) => Promise<void>;
  /** Resolves after this long, or sooner when the signal aborts. */
  pause: (ms: number) => Promise<void>;
  now: () => number;
  signal: AbortSignal;
}

/**
 * Asks about every join that shows up, until one is let in, the ticket has expired, or nobody answers. Turning one
 * away goes on: the machine that was meant may still come.
 */
export async function confirmJoins(
  expiresAtMs: number,
  parts: ConfirmParts,
): Promise<'admitted' | 'expired' | 'interrupted'> {
  while (!parts.signal.aborted) {
    for (const check of await parts.checks()) {
      const question = `${stranger(check)} asks to join and must show ${spaced(check.code)} there. The same? [y/N] `;
      const answer = await parts.ask(question);
      if (answer === undefined || parts.signal.aborted) return 'interrupted';
      const decided = await decide(check, isYes(answer), parts);
      if (decided === 'admitted') return decided;
    }
    if (parts.now() >= expiresAtMs) return 'expired';
    await parts.pause(LOOK_AGAIN_MS);
  }
  return 'interrupted';
}

async function decide(
  check: JoinCheckView,
  accept: boolean,
  parts: ConfirmParts,
): Promise<'admitted' | 'rejected' | 'gone'> {
  try {
    await parts.decide(check.code, accept);
  } catch (error) {
    // It gave up, or somebody else has decided, while the question stood there.
    if (!(error instanceof PatchcordError) || error.code !== 'not_found') throw error;
    await parts.tell(`${stranger(check)} does not wait any more.`);
    return 'gone';
  }
  await parts.tell(`${stranger(check)} ${accept ? 'may join now' : 'was turned away'}.`);
  return accept ? 'admitted' : 'rejected';
}
