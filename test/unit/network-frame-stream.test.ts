import type { Stream } from '@libp2p/interface';
import { expect, test } from 'vitest';
import { FrameStream, type Ending } from '../../daemon/network/frame-stream.ts';
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

  async close(): Promise<void> {
    this.status = 'closing';
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
  const endings: Ending[] = [];
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as much of it as is used
  const pipe = new FrameStream(stream as unknown as Stream, {
    frames: (some) => frames.push(...some),
    closed: (ending) => {
      endings.push(ending);
      closed.push(ending.reason);
    },
  });
  return { stream, pipe, frames, closed, endings };
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

test('parting sends what was waiting, closes, and hears nothing any more', async () => {
  const { stream, pipe, frames, closed } = opened();
  stream.writableNeedsDrain = true;
  pipe.send([ack(1)]);
  stream.emit('message', { data: encodeFrame(ack(7)) });
  pipe.part('enough');
  expect(pipe.send([ack(2)])).toBe(false);
  expect([closed, stream.status, stream.aborted]).toEqual([['enough'], 'closing', []]);
  stream.emit('message', { data: encodeFrame(ack(8)) });
  stream.emit('end');
  stream.emit('close');
  await tick();
  expect(new FrameReader().push(Buffer.concat(stream.sent))).toEqual([ack(1)]);
  expect([frames, closed, stream.aborted]).toEqual([[], ['enough'], []]);
});

test('parting from a stream that cannot be written any more aborts it', () => {
  const { stream, pipe, closed } = opened();
  pipe.send([ack(1)]);
  stream.status = 'reset';
  pipe.part('enough');
  expect([closed, stream.aborted]).toEqual([['enough'], ['enough']]);
});

test.each([
  ['end', {}, 'open', false],
  ['end', {}, 'aborted', true],
  ['close', { local: true, error: new Error('x') }, 'aborted', true],
  ['close', { error: new Error('x') }, 'reset', false],
  ['close', {}, 'closed', false],
])('%s %o of a stream that is %s: ours is %s', (type, fields, status, ours) => {
  const { stream, endings } = opened();
  stream.status = status;
  stream.emit(type, fields);
  expect(endings).toMatchObject([{ ours }]);
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
    closed: ({ reason }) => closed.push(reason),
  });
  await tick();
  expect(closed).toEqual(['closed by peer']);
  expect(pipe.send([ack(1)])).toBe(false);
});
