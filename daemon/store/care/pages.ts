import type { Tx } from '../journal.ts';

/** Records read at a time: between two pages the event loop does other things. */
const PAGE = 64;

/** All records of a range, a page at a time, as they are when their page is read. */
export async function* pagesOf<T>(
  tx: Pick<Tx, 'range'>,
  range: { from: string; to: string },
): AsyncGenerator<[key: string, value: T][]> {
  let { from } = range;
  for (;;) {
    const page = await tx.range<T>({ from, to: range.to, limit: PAGE });
    if (page.length > 0) yield page;
    if (page.length < PAGE) return;
    from = `${page.at(-1)![0]}\0`;
  }
}

/** The second parts of all keys below a prefix, each once, without reading what lies between. */
export async function namesBelow(tx: Pick<Tx, 'range'>, prefix: string): Promise<string[]> {
  const names: string[] = [];
  const to = `${prefix.slice(0, -1)}0`;
  let from = prefix;
  for (;;) {
    const [entry] = await tx.range({ from, to, limit: 1 });
    if (!entry) return names;
    const name = entry[0].slice(prefix.length).split('/')[0]!;
    names.push(name);
    // The character after the slash.
    from = `${prefix}${name}0`;
  }
}
