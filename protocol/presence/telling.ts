import { PRESENCE_BOX_SIZE_BYTES_MAX, PRESENCE_STATEMENTS_MAX } from '../limits.ts';
import { packBeats } from './beat.ts';
import { beatOf, type Entry, type PresenceState } from './state.ts';

/** Half of a box is for statements, so that padding and beats fit as well. */
const STATEMENTS_SIZE_BYTES = PRESENCE_BOX_SIZE_BYTES_MAX / 2;

/** Tells a member all that is known of some machines, in as many boxes as it takes. */
export function tellInBoxes(
  state: PresenceState,
  to: string,
  entries: ReadonlySet<Entry>,
  nowMs: number,
): void {
  let page: Entry[] = [];
  let sizeBytes = 0;
  const send = (): void => {
    if (page.length === 0) return;
    const statements = page.map(({ statement }) => statement.bytes);
    const beats = packBeats(page.map((entry) => beatOf(entry, nowMs)));
    state.effects.push({ type: 'send', to, message: { statements, beats } });
    page = [];
    sizeBytes = 0;
  };
  for (const entry of entries) {
    const { length } = entry.statement.bytes;
    if (page.length >= PRESENCE_STATEMENTS_MAX || sizeBytes + length > STATEMENTS_SIZE_BYTES) send();
    page.push(entry);
    sizeBytes += length;
    entry.told.push(to);
  }
  send();
}
