import type { Stream } from '@libp2p/interface';
import { describe, expect, test } from 'vitest';
import { RelayPipe } from '../../daemon/network/relay-pipe.ts';
import {
  RELAYED_BUFFER_BYTES_MAX,
  RELAYED_GUEST_SIZE_BYTES_MAX,
  RELAYED_SILENCE_MS,
} from '../../protocol/limits.ts';

/** A stream, as much of it as a pipe uses: what is sent waits when its reader is slow. */
class FakeStream extends EventTarget {
  status = 'open';
  readableEnded = false;
  writeBufferLength = 0;
  slow = false;
  readonly got: number[] = [];

  send(data: Uint8Array): void {
    if (this.status !== 'open') throw new Error('closed');
    this.got.push(data.byteLength);
    if (this.slow) this.writeBufferLength += data.byteLength;
  }

  abort(): void {
    this.status = 'aborted';
  }

  arrive(sizeBytes: number): void {
    this.dispatchEvent(Object.assign(new Event('message'), { data: new Uint8Array(sizeBytes) }));
  }

  get real(): Stream {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as much of it as is used
    return this as unknown as Stream;
  }
}

function pipe({ guest = false, hasRoom = true } = {}) {
  const [a, b] = [new FakeStream(), new FakeStream()];
  const world = { nowMs: 0, hasRoom, ends: [] as string[], timer: undefined as (() => void) | undefined };
  const made = new RelayPipe([a.real, b.real], {
    guest,
    clock: {
      now: () => 0,
      elapsed: () => world.nowMs,
      after(delayMs, task) {
        world.timer = () => {
          world.nowMs += delayMs;
          task();
        };
        return { cancel: () => (world.timer = undefined) };
      },
    },
    hasRoom: () => world.hasRoom,
    onEnd: (reason) => world.ends.push(reason),
  });
  return { a, b, world, made };
}

describe('RelayPipe', () => {
  test('passes bytes on both ways', () => {
    const { a, b, world } = pipe();
    a.arrive(10);
    b.arrive(20);
    a.arrive(30);
    expect([a.got, b.got, world.ends]).toEqual([[20], [10, 30], []]);
  });

  test('drops who lets too much wait, and not before', () => {
    const { a, b, world, made } = pipe();
    b.slow = true;
    a.arrive(RELAYED_BUFFER_BYTES_MAX);
    expect([world.ends, made.waitingBytes]).toEqual([[], RELAYED_BUFFER_BYTES_MAX]);
    a.arrive(1);
    expect([world.ends, a.status, b.status]).toEqual([['slow reader'], 'aborted', 'aborted']);
    b.arrive(1);
    expect(a.got).toEqual([]);
  });

  test('drops who lets much wait when all pipes together hold too much; who reads goes on', () => {
    const { a, b, world } = pipe({ hasRoom: false });
    a.arrive(1_000_000);
    expect(world.ends).toEqual([]);
    b.slow = true;
    a.arrive(100_000);
    expect(world.ends).toEqual(['too many slow readers']);
  });

  test('a guest has little, for a short time', () => {
    const much = pipe({ guest: true });
    much.a.arrive(RELAYED_GUEST_SIZE_BYTES_MAX / 2);
    much.b.arrive(RELAYED_GUEST_SIZE_BYTES_MAX / 2);
    expect(much.world.ends).toEqual([]);
    much.b.arrive(1);
    expect(much.world.ends).toEqual(['too much for a guest']);
    const long = pipe({ guest: true });
    long.world.timer!();
    expect(long.world.ends).toEqual(['stayed too long']);
  });

  test('a member has all the time, as long as something is said', () => {
    const { a, world } = pipe();
    for (let round = 0; round < 100; round++) {
      a.arrive(RELAYED_GUEST_SIZE_BYTES_MAX);
      world.timer!();
    }
    expect(world.nowMs).toBeGreaterThan(10 * RELAYED_SILENCE_MS);
    expect(world.ends).toEqual([]);
    world.timer!();
    expect(world.ends).toEqual(['silence']);
  });

  test.each(['close', 'end'])('ends with one of its ends: %s', (event) => {
    const { a, b, world } = pipe();
    a.dispatchEvent(new Event(event));
    expect([world.ends, b.status, world.timer]).toEqual([['closed'], 'aborted', undefined]);
    a.dispatchEvent(new Event('close'));
    expect(world.ends).toEqual(['closed']);
  });
});
