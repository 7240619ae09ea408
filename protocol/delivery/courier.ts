import { RETRY_BASE_MS, RETRY_MAX_MS } from '../limits.ts';

/**
 * The sending side of delivery: brings the outbox for one machine across, at least once, in order, never more
 * at a time than the peer's window.
 *
 * Invariants:
 * - what is in flight fits the window (or is one parcel alone);
 * - on a new link everything unsettled is sent again from the lowest number;
 * - an entry leaves only by `settled`; the courier itself never gives one up;
 * - with no link nothing is sent and no timer runs.
 */
export interface Courier {
  window: { frames: number; sizeBytes: number } | undefined;
  /** Counts links, so that what was loaded for an earlier one is not taken for this one's. */
  epoch: number;
  /** The last number that was loaded since the link came up. */
  cursor: number;
  /** Whether the outbox may hold more beyond the cursor. */
  more: boolean;
  loading: boolean;
  /** Settled, though they lie beyond all that was loaded: they are not to be sent when they are told of. */
  gone: Set<number>;
  /** Loaded, not yet sent. */
  ready: Entry[];
  /** Sent and not answered. */
  inflight: Map<number, Flight>;
  inflightSizeBytes: number;
  /** Refused for now, to be sent again. */
  paused: Map<number, Flight>;
}

export interface Entry {
  number: number;
  sizeBytes: number;
}

/** A new entry, and the number of the one before it in the outbox, which may be gone again. */
export interface NextEntry extends Entry {
  previous: number | undefined;
}

interface Flight extends Entry {
  attempts: number;
  /** When it is sent again if nothing is heard. */
  againAtMs: number;
}

export type CourierEvent =
  | { type: 'link-up'; window: { frames: number; sizeBytes: number } }
  | { type: 'link-down' }
  /** The outbox got new entries; `next` is the only one, if that is known. */
  | { type: 'appended'; next?: NextEntry | undefined }
  /** The answer to a `load`: what is to be sent of the outbox up to a number. */
  | { type: 'loaded'; epoch: number; entries: Entry[]; upTo?: number | undefined; more: boolean }
  /** The peer has it, or it was refused for good, or it was taken out of the outbox. */
  | { type: 'settled'; number: number }
  /** The peer cannot take it now. */
  | { type: 'postponed'; number: number }
  | { type: 'tick' };

export type CourierEffect =
  | { type: 'load'; after: number; epoch: number }
  | { type: 'transmit'; number: number }
  /** The body of this entry is no longer needed in memory. */
  | { type: 'forget'; number: number }
  /** Send a `tick` then; replaces the earlier wish. Undefined: no timer. */
  | { type: 'wake'; atMs: number | undefined };

/** With this many refused for now, the rest waits too. */
const PAUSED_MAX = 64;
/** With this many loaded and not sent, what is new waits in the outbox. */
const READY_MAX = 64;

export function newCourier(): Courier {
  return {
    window: undefined,
    epoch: 0,
    cursor: 0,
    more: false,
    loading: false,
    gone: new Set(),
    ready: [],
    inflight: new Map(),
    inflightSizeBytes: 0,
    paused: new Map(),
  };
}

/**
 * Whether an entry that was just appended is taken as it is, without a look into the outbox: everything before it was
 * loaded. One that a look would not have found any more is passed over.
 */
export function takesNext(courier: Courier, { number, previous }: NextEntry): boolean {
  return isCaughtUp(courier) && previous === courier.cursor && !courier.gone.has(number);
}

function isCaughtUp({ window, more, loading, ready }: Courier): boolean {
  return window !== undefined && !more && !loading && ready.length < READY_MAX;
}

/** Applies one event. The state is updated in place and belongs to the caller; the effects are to be run in order. */
export function stepCourier(courier: Courier, event: CourierEvent, nowMs: number): CourierEffect[] {
  const effects: CourierEffect[] = [];
  switch (event.type) {
    case 'link-up':
      effects.push(...forgetAll(courier));
      courier.window = event.window;
      courier.more = true;
      break;
    case 'link-down':
      effects.push(...forgetAll(courier));
      courier.window = undefined;
      break;
    case 'appended':
      append(courier, event.next);
      break;
    case 'loaded':
      if (event.epoch !== courier.epoch) {
        effects.push(...event.entries.map(({ number }) => ({ type: 'forget' as const, number })));
        break;
      }
      courier.loading = false;
      courier.gone.clear();
      courier.more ||= event.more;
      courier.ready.push(...event.entries);
      courier.cursor = event.upTo ?? event.entries.at(-1)?.number ?? courier.cursor;
      break;
    case 'settled':
      passOver(courier, event.number);
      settle(courier, event.number);
      effects.push({ type: 'forget', number: event.number });
      break;
    case 'postponed':
      postpone(courier, event.number, nowMs);
      break;
    case 'tick':
      break;
  }
  if (courier.window !== undefined) effects.push(...pump(courier, courier.window, nowMs));
  effects.push({ type: 'wake', atMs: nextTick(courier, nowMs) });
  return effects;
}

function pump(
  courier: Courier,
  window: { frames: number; sizeBytes: number },
  nowMs: number,
): CourierEffect[] {
  const effects: CourierEffect[] = [];
  for (const flight of courier.inflight.values()) {
    if (flight.againAtMs > nowMs) continue;
    effects.push({ type: 'transmit', number: flight.number });
    again(flight, nowMs);
  }
  for (const flight of courier.paused.values()) {
    if (flight.againAtMs > nowMs || !fits(courier, window, flight)) continue;
    courier.paused.delete(flight.number);
    fly(courier, flight);
    effects.push({ type: 'transmit', number: flight.number });
    again(flight, nowMs);
  }
  while (
    courier.ready.length > 0 &&
    courier.paused.size < PAUSED_MAX &&
    fits(courier, window, courier.ready[0]!)
  ) {
    const flight = { ...courier.ready.shift()!, attempts: 0, againAtMs: 0 };
    fly(courier, flight);
    effects.push({ type: 'transmit', number: flight.number });
    again(flight, nowMs);
  }
  if (courier.ready.length === 0 && courier.more && !courier.loading && courier.paused.size < PAUSED_MAX) {
    courier.loading = true;
    courier.more = false;
    effects.push({ type: 'load', after: courier.cursor, epoch: courier.epoch });
  }
  return effects;
}

function fits(courier: Courier, window: { frames: number; sizeBytes: number }, entry: Entry): boolean {
  if (courier.inflight.size === 0) return true;
  return (
    courier.inflight.size < window.frames && courier.inflightSizeBytes + entry.sizeBytes <= window.sizeBytes
  );
}

function fly(courier: Courier, flight: Flight): void {
  courier.inflight.set(flight.number, flight);
  courier.inflightSizeBytes += flight.sizeBytes;
}

function again(flight: Flight, nowMs: number): void {
  flight.againAtMs = nowMs + Math.min(RETRY_MAX_MS, RETRY_BASE_MS * 2 ** flight.attempts);
  flight.attempts += 1;
}

function append(courier: Courier, next: NextEntry | undefined): void {
  if (!next || !takesNext(courier, next)) {
    courier.more = true;
    return;
  }
  courier.ready.push({ number: next.number, sizeBytes: next.sizeBytes });
  courier.cursor = next.number;
}

/** With too many to remember, it looks into the outbox. */
function passOver(courier: Courier, number: number): void {
  if (!isCaughtUp(courier) || number <= courier.cursor) return;
  courier.gone.add(number);
  if (courier.gone.size <= READY_MAX) return;
  courier.gone.clear();
  courier.more = true;
}

function settle(courier: Courier, number: number): void {
  const flight = courier.inflight.get(number);
  if (flight) courier.inflightSizeBytes -= flight.sizeBytes;
  courier.inflight.delete(number);
  courier.paused.delete(number);
  courier.ready = courier.ready.filter((entry) => entry.number !== number);
}

function postpone(courier: Courier, number: number, nowMs: number): void {
  const flight = courier.inflight.get(number);
  if (!flight) return;
  courier.inflight.delete(number);
  courier.inflightSizeBytes -= flight.sizeBytes;
  courier.paused.set(number, { ...flight, againAtMs: Math.max(flight.againAtMs, nowMs + RETRY_BASE_MS) });
}

function forgetAll(courier: Courier): CourierEffect[] {
  const numbers = [
    ...courier.ready.map((entry) => entry.number),
    ...courier.inflight.keys(),
    ...courier.paused.keys(),
  ];
  courier.ready = [];
  courier.gone.clear();
  courier.inflight.clear();
  courier.inflightSizeBytes = 0;
  courier.paused.clear();
  courier.epoch += 1;
  courier.cursor = 0;
  courier.more = false;
  courier.loading = false;
  return numbers.map((number) => ({ type: 'forget', number }));
}

/** When something is due again. What is due already and does not fit the window goes with the next answer. */
function nextTick(courier: Courier, nowMs: number): number | undefined {
  if (courier.window === undefined) return undefined;
  let atMs: number | undefined;
  for (const { againAtMs } of [...courier.inflight.values(), ...courier.paused.values()]) {
    if (againAtMs > nowMs && (atMs === undefined || againAtMs < atMs)) atMs = againAtMs;
  }
  return atMs;
}
