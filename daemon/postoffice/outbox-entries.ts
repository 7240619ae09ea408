import type { MailStore, OutboxEntry } from '../store/mail-store.ts';

/** Entries and bytes that one look reads. */
const PAGE_ENTRIES = 64;
const PAGE_SIZE_BYTES = 1024 * 1024;

/** Everything that waits for a machine, by rising number, a page in memory at a time. */
export async function* outboxEntries(
  mail: Pick<MailStore, 'outboxPage'>,
  machine: string,
): AsyncGenerator<OutboxEntry> {
  for (let after: number | undefined = 0; after !== undefined;) {
    const page = await mail.outboxPage(machine, after, PAGE_ENTRIES, PAGE_SIZE_BYTES);
    yield* page;
    after = page.at(-1)?.number;
  }
}
