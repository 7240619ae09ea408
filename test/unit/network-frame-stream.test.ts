import type { Stream } from '@libp2p/interface';
import { expect, test } from 'vitest';
import { FrameStream } from '../../daemon/network/frame-stream.ts';
import { encodeFrame, FrameReader, type Frame } from '../../protocol/frame.ts';
import { FRAME_SIZE_BYTES_MAX, LINK_BUFFER_BYTES_MAX } from '../../protocol/limits.ts';

/** A stream that is full when the test says so. */
class FakeStream extends EventTarget {
  status = 'open';
  readableEnded = false;
  writableNeedsDrain = false;
  writeBufferLength = 0;
  sent: Uint8Array[] = [];
  aborted: string[] = [];

  send(bytes: Uint8Array): boolean {
    if (this.status !== 'open') throw new Error('closed');
    this.sent.push(bytes);
    return true;
  }

  abort(error: Error): void {
    this.aborted.push(error.message);
  }

  emit(type: string, fields: object = {}): void {
    this.dispatchEvent(Object.assign(new Event(type), fields));
  }
}

function opened() {
  const stream = new FakeStream();
  const frames: Frame[] = [];
  const closed: string[] = [];
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as much of it as is used
  const pipe = new FrameStream(stream as unknown as Stream, {
    frames: (some) => frames.push(...some),
    closed: (reason) => closed.push(reason),
  });
  return { stream, pipe, frames, closed };
}

const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const ack = (n: number): Frame => ({ t: 'ack', n });
const parcel = (sizeBytes: number): Frame => ({ t: 'parcel', n: 1, envelope: new Uint8Array(sizeBytes) });

test('what is sent within one tick leaves as one chunk', async () => {
  const { stream, pipe } = opened();
  pipe.send([ack(1), ack(2)]);
  pipe.send([ack(3)]);
  await tick();
  expect(stream.sent).toHaveLength(1);
  expect(new FrameReader().push(stream.sent[0]!)).toEqual([ack(1), ack(2), ack(3)]);
});

test('a full stream is left alone until it drains', async () => {
  const { stream, pipe } = opened();
  stream.writableNeedsDrain = true;
  pipe.send([ack(1)]);
  await tick();
  expect(stream.sent).toEqual([]);
  stream.writableNeedsDrain = false;
  stream.emit('drain');
  await tick();
  pipe.send([ack(2)]);
  await tick();
  expect(stream.sent).toHaveLength(2);
});

test('what waits in the stream counts towards the bound', async () => {
  const { stream, pipe, closed } = opened();
  stream.writableNeedsDrain = true;
  stream.writeBufferLength = LINK_BUFFER_BYTES_MAX - 2_000;
  expect(pipe.send([parcel(1_000)])).toBe(true);
  expect(pipe.send([parcel(1_000)])).toBe(false);
  expect([closed, stream.aborted]).toEqual([['slow reader'], ['slow reader']]);
  expect(pipe.send([ack(1)])).toBe(false);
});

test('a long frame that comes byte by byte costs no more than one that comes whole', async () => {
  const { stream, frames } = opened();
  const frame = parcel(FRAME_SIZE_BYTES_MAX - 100);
  for (const byte of encodeFrame(frame)) stream.emit('message', { data: Uint8Array.of(byte) });
  await tick();
  expect(frames).toEqual([frame]);
});

test('what came before the end is read, what comes after is not', async () => {
  const { stream, frames, closed } = opened();
  stream.emit('message', { data: encodeFrame(ack(1)) });
  stream.emit('close', {});
  stream.emit('message', { data: encodeFrame(ack(2)) });
  await tick();
  expect([frames, closed]).toEqual([[ack(1)], ['connection closed']]);
});

test('a stream that ended before anyone listened is closed', async () => {
  const stream = Object.assign(new FakeStream(), { status: 'reset' });
  const closed: string[] = [];
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as much of it as is used
  const pipe = new FrameStream(stream as unknown as Stream, {
    frames() {},
    closed: (why) => closed.push(why),
  });
  await tick();
  expect(closed).toEqual(['closed by peer']);
  expect(pipe.send([ack(1)])).toBe(false);
});
