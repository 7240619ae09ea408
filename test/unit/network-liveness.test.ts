import { describe, expect, test } from 'vitest';
import { careFor, excused, isStall, type LinkSigns } from '../../daemon/network/liveness.ts';

const NOW = 100_000;
const signs = (silentMs: number, quietMs: number, asked?: { agoMs: number; hurry?: boolean }): LinkSigns => ({
  heardMs: NOW - silentMs,
  saidMs: NOW - quietMs,
  ...(asked && { asked: { atMs: NOW - asked.agoMs, hurry: asked.hurry ?? false } }),
});

describe('careFor', () => {
  test.each([
    ['a lively link', signs(0, 0), 'none'],
    ['almost silent for long enough to ask', signs(2_999, 2_999), 'none'],
    ['silent', signs(3_000, 0), 'ask'],
    ['silent and asked', signs(5_000, 2_000, { agoMs: 2_000 }), 'none'],
    ['silent and asked to the last moment', signs(6_999, 3_999, { agoMs: 3_999 }), 'none'],
    ['silent for too long', signs(7_000, 4_000, { agoMs: 4_000 }), 'give up'],
    ['silent for too long and never asked', signs(7_000, 0), 'give up'],
    ['asked in a hurry', signs(3_500, 3_500, { agoMs: 3_500, hurry: true }), 'none'],
    ['asked in a hurry, to the last moment', signs(3_999, 3_999, { agoMs: 3_999, hurry: true }), 'none'],
    ['asked in a hurry and silent', signs(4_000, 4_000, { agoMs: 4_000, hurry: true }), 'give up'],
    ['listening to a long transfer', signs(0, 3_000), 'say'],
    ['listening, and said something lately', signs(0, 2_999), 'none'],
  ])('%s', (_name, link, care) => {
    expect(careFor(link, NOW)).toBe(care);
  });

  test('a link that falls silent is given up within 8 s, whenever the looks come', () => {
    for (let offsetMs = 0; offsetMs < 1_000; offsetMs += 50) {
      const link: LinkSigns = { heardMs: 0, saidMs: 0 };
      let endMs: number | undefined;
      for (let nowMs = offsetMs; endMs === undefined; nowMs += 1_000) {
        const care = careFor(link, nowMs);
        if (care === 'ask') Object.assign(link, { saidMs: nowMs, asked: { atMs: nowMs, hurry: false } });
        if (care === 'give up') endMs = nowMs;
      }
      expect(endMs).toBeGreaterThanOrEqual(7_000);
      expect(endMs).toBeLessThanOrEqual(8_000);
    }
  });

  test('an idle link carries one question and one answer every 3 to 4 s', () => {
    const links: LinkSigns[] = [
      { heardMs: 0, saidMs: 0 },
      { heardMs: 0, saidMs: 0 },
    ];
    let frames = 0;
    for (let nowMs = 0; nowMs < 300_000; nowMs += 500) {
      const at = (nowMs / 500) % 2;
      const [link, other] = [links[at]!, links[1 - at]!];
      const care = careFor(link, nowMs);
      if (care === 'none') continue;
      expect(care).toBe('ask');
      Object.assign(link, { heardMs: nowMs, saidMs: nowMs });
      Object.assign(other, { heardMs: nowMs, saidMs: nowMs });
      frames += 2;
    }
    expect(frames).toBeLessThanOrEqual(200);
    expect(frames).toBeGreaterThanOrEqual(150);
  });
});

describe('a process that stood still', () => {
  test('knows it by its looks', () => {
    expect([1_000, 1_500, 2_999, 3_000, 30_000].map(isStall)).toEqual([false, false, false, true, true]);
  });

  test('asks its links before it gives them up', () => {
    const after = excused(signs(30_000, 30_000, { agoMs: 30_000 }), NOW);
    expect(careFor(after, NOW)).toBe('ask');
    const asked = { ...after, asked: { atMs: NOW, hurry: false } };
    expect(careFor(asked, NOW + 3_999)).toBe('none');
    expect(careFor(asked, NOW + 4_000)).toBe('give up');
  });

  test('forgives no silence that came after', () => {
    expect(excused(signs(500, 100), NOW)).toEqual(signs(500, 100));
  });
});
