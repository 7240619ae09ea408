import { FRAME_SIZE_BYTES_MAX } from '../../protocol/limits.ts';
import { readStatement, type SignedStatement } from '../../protocol/membership/statement.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import type { Clock } from '../clock.ts';

/** Room that one frame or answer leaves for a list, beside its other fields and the padding of a box. */
const LIST_SIZE_BYTES_MAX = 0.8 * FRAME_SIZE_BYTES_MAX;
const ITEMS_MAX = 500;

/** Cuts a list into pages that each fit a frame. */
export function pages<T>(items: readonly T[], sizeBytes: (item: T) => number): T[][] {
  const all: T[][] = [];
  let page: T[] = [];
  let filled = 0;
  for (const item of items) {
    const size = sizeBytes(item);
    if (page.length > 0 && (filled + size > LIST_SIZE_BYTES_MAX || page.length >= ITEMS_MAX)) {
      all.push(page);
      page = [];
      filled = 0;
    }
    page.push(item);
    filled += size;
  }
  if (page.length > 0) all.push(page);
  return all;
}

/** The statements that fit one frame, as they travel, and whether some are left. */
export function firstPage(statements: readonly SignedStatement[]): { page: Uint8Array[]; more: boolean } {
  const [page = []] = pages(statements, ({ bytes }) => bytes.length + 8);
  return { page: page.map(({ bytes }) => bytes), more: page.length < statements.length };
}

/** Checking one statement takes a fifth of a millisecond; so many are done before others get their turn. */
const STATEMENTS_PER_TURN = 64;

/** Reads statements of another machine, a slice at a time; `onRefused` hears why one is none. */
export async function readStatements(
  list: readonly Uint8Array[],
  clock: Clock,
  onRefused: (error: PatchcordError) => void,
): Promise<SignedStatement[]> {
  const read: SignedStatement[] = [];
  for (const [index, bytes] of list.entries()) {
    if (index > 0 && index % STATEMENTS_PER_TURN === 0) {
      await new Promise<void>((resolve) => void clock.after(0, resolve));
    }
    try {
      read.push(readStatement(bytes));
    } catch (error) {
      if (!(error instanceof PatchcordError)) throw error;
      onRefused(error);
    }
  }
  return read;
}
