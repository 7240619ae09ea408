import { encode } from '../codec.ts';
import { sha256Hex } from '../digest.ts';
import { MAILBOX_UPTIME_LONG_MS, MAILBOXES_PER_RECIPIENT } from '../limits.ts';
import type { Role } from '../membership/statement.ts';

/** A member that is linked now and could keep envelopes for another. */
export interface Candidate {
  machine: string;
  role: Role;
  /** Since its daemon started, as it says. */
  uptimeMs: number;
  /** What fails together has one host; a machine whose host is not known is its own, named by its peer id. */
  host: string;
  /** Links from it to the recipient in the mesh; see protocol/mesh/overlay.ts. 1 where all link with all. */
  distance: number;
}

const CONTEXT = 'patchcord mailbox choice v1';

/**
 * The members at which mail for `recipient` is left, the best first: by rendezvous hashing (Thaler and Ravishankar,
 * 1998) each candidate draws a weight for each recipient, and the highest win.
 *
 * Invariants, whatever the order of `candidates`:
 * - there are `count`, or as many as there are; each once, and never the recipient;
 * - those at a shorter distance come before those at a longer one, and of one distance:
 * - one host has two only when every host has one;
 * - of one host, keepers come before machines that have run for long, and those before the rest; hosts are ranked
 *   by their best machine;
 * - when a candidate that was not chosen leaves, nothing changes; when a chosen one leaves, the others stay;
 * - over many recipients, candidates of one rank, each on its own host, are chosen equally often.
 */
export function chooseMailboxes(
  recipient: string,
  candidates: readonly Candidate[],
  count: number = MAILBOXES_PER_RECIPIENT,
): string[] {
  const ranked = candidates
    .filter(({ machine }) => machine !== recipient)
    .map((candidate) => ({
      ...candidate,
      rank: rankOf(candidate),
      weight: weightOf(recipient, candidate.machine),
    }))
    .sort((a, b) => a.rank - b.rank || compare(b.weight, a.weight) || compare(a.host, b.host));
  const hosts = new Set<string>();
  const firsts: Ranked[] = [];
  const others: Ranked[] = [];
  for (const one of ranked) {
    const { host, distance } = one;
    (hosts.has(`${distance} ${host}`) ? others : firsts).push(one);
    hosts.add(`${distance} ${host}`);
  }
  const chosen = [...firsts, ...others].sort((a, b) => a.distance - b.distance);
  return [...new Set(chosen.map(({ machine }) => machine))].slice(0, count);
}

type Ranked = Pick<Candidate, 'machine' | 'distance'>;

function rankOf({ role, uptimeMs }: Candidate): number {
  if (role === 'keeper') return 0;
  return uptimeMs >= MAILBOX_UPTIME_LONG_MS ? 1 : 2;
}

function weightOf(recipient: string, machine: string): string {
  return sha256Hex(encode([CONTEXT, recipient, machine]));
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
