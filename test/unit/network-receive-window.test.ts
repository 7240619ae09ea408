import { expect, test } from 'vitest';
import { ReceiveWindow } from '../../daemon/network/receive-window.ts';
import { FRAME_SIZE_BYTES_MAX, WINDOW_FRAMES, WINDOW_SIZE_BYTES } from '../../protocol/limits.ts';

test('takes a full window of frames and not one more', () => {
  const window = new ReceiveWindow();
  for (let n = 0; n < WINDOW_FRAMES; n++) expect(window.received(n, 1)).toBe(true);
  window.answered(7);
  expect(window.received(WINDOW_FRAMES, 1)).toBe(true);
  expect(window.received(WINDOW_FRAMES + 1, 1)).toBe(false);
});

test('forgives one frame over the bytes', () => {
  const window = new ReceiveWindow();
  const count = WINDOW_SIZE_BYTES / FRAME_SIZE_BYTES_MAX;
  for (let n = 0; n <= count; n++) expect(window.received(n, FRAME_SIZE_BYTES_MAX)).toBe(true);
  expect(window.received(count + 1, 1)).toBe(false);
});

test('a number sent twice counts twice and is settled by one answer', () => {
  const window = new ReceiveWindow();
  for (let round = 0; round < 3; round++) {
    for (let n = 0; n < WINDOW_FRAMES / 2; n++) {
      expect(window.received(n, 1)).toBe(true);
      expect(window.received(n, 1)).toBe(true);
    }
    for (let n = 0; n < WINDOW_FRAMES / 2; n++) window.answered(n);
  }
});

test('one number sent for ever is an overrun', () => {
  const window = new ReceiveWindow();
  for (let count = 0; count < WINDOW_FRAMES; count++) expect(window.received(1, 1)).toBe(true);
  expect(window.received(1, 1)).toBe(false);
});

test('an answer to nothing changes nothing', () => {
  const window = new ReceiveWindow();
  window.answered(1);
  for (let n = 0; n < WINDOW_FRAMES; n++) expect(window.received(n, 1)).toBe(true);
  expect(window.received(WINDOW_FRAMES, 1)).toBe(false);
});
