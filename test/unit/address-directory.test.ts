import { expect, test } from 'vitest';
import { AddressDirectory, type LargeCircle } from '../../daemon/discovery/address-directory.ts';
import { silentLog } from '../../daemon/log.ts';
import type { LinkStatus, RecordTable } from '../../daemon/network/network.ts';
import { openRecord, recordKey, recordProtocol, sealRecord } from '../../protocol/discovery/record.ts';
import {
  isPublishDue,
  notePublished,
  noteSought,
  whomToSeek,
  type Published,
  type Sought,
} from '../../protocol/discovery/seeking.ts';
import { signWhereabouts } from '../../protocol/discovery/whereabouts.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import {
  PUBLISH_AGAIN_MS_MAX,
  PUBLISH_UNHELD_MS,
  RECORD_SIZE_BYTES_MAX,
  SEEK_AGAIN_MS,
  SEEK_AGAIN_MS_MAX,
  SOUGHT_MAX,
  TABLE_TICK_MS,
  WHEREABOUTS_SIZE_BYTES_MAX,
} from '../../protocol/limits.ts';
import { signerFromSeed } from '../../protocol/signing.ts';
import { countingRandom, HandClock, turn } from './wire.ts';

const circle = { ns: 'a'.repeat(64), epoch: 2, key: new Uint8Array(32).fill(7) };
const [self, ann, bob, stranger] = [1, 2, 3, 4].map((seed) => signerFromSeed(new Uint8Array(32).fill(seed)));
const isMember = (machine: string): boolean => machine !== stranger!.peerId;
const { bytes: randomBytes } = countingRandom(1);
const HOME = '/ip4/192.0.2.7/tcp/4001';
const record = (signer = ann!, at = 5, by = circle) => ({
  key: recordKey(circle, signer.peerId),
  value: sealRecord(signWhereabouts([HOME], at, signer).bytes, by, randomBytes),
});

function refusal(made: { key: Uint8Array; value: Uint8Array }): string {
  try {
    openRecord(made, circle, isMember);
  } catch (error) {
    if (error instanceof PatchcordError) return error.code;
  }
  return 'taken';
}

test('a record says what was sealed, under the key of its machine alone', () => {
  const { key, value } = record();
  expect(openRecord({ key, value }, circle, isMember)).toMatchObject({ machine: ann!.peerId, at: 5 });
  expect(refusal({ key: recordKey(circle, bob!.peerId), value })).toBe('frame_malformed');
  expect(Buffer.from(key).toString()).not.toContain(ann!.peerId);
});

test.each([
  [
    'sealed with another key',
    record(ann, 5, { ...circle, key: new Uint8Array(32).fill(8) }),
    'frame_malformed',
  ],
  ['of the epoch before', record(ann, 5, { ...circle, epoch: 1 }), 'frame_malformed'],
  ['of another namespace', record(ann, 5, { ...circle, ns: 'b'.repeat(64) }), 'frame_malformed'],
  ['of a machine that is no member', record(stranger), 'forbidden'],
  ['that is empty', { ...record(), value: new Uint8Array(0) }, 'frame_malformed'],
  [
    'that is too long',
    {
      ...record(),
      value: sealRecord(new Uint8Array(WHEREABOUTS_SIZE_BYTES_MAX + 100), circle, randomBytes),
    },
    'frame_malformed',
  ],
])('a record %s is refused', (_what, made, code) => {
  expect(refusal(made)).toBe(code);
});

test('a record of which a bit was flipped is refused, also where the machine itself did not sign that bit', () => {
  const { bytes } = signWhereabouts([HOME], 5, ann!);
  const forged = Buffer.from(bytes);
  // The last byte is the address's.
  forged[forged.length - 1]! ^= 1;
  const { key, value } = record();
  const damages = [0, 31, 32, value.length - 1].map((at) =>
    value.map((byte, index) => (index === at ? byte ^ 1 : byte)),
  );
  expect(damages.map((damaged) => refusal({ key, value: damaged }))).toEqual(
    damages.map(() => 'frame_malformed'),
  );
  expect(refusal({ key, value: sealRecord(forged, circle, randomBytes) })).toBe('signature_invalid');
});

test('the longest word makes the longest record', () => {
  const value = sealRecord(new Uint8Array(WHEREABOUTS_SIZE_BYTES_MAX), circle, randomBytes);
  expect(value.length).toBe(RECORD_SIZE_BYTES_MAX);
});

test('the protocol is another one with each key, epoch and namespace', () => {
  const others = [
    circle,
    { ...circle, epoch: 3 },
    { ...circle, ns: 'b'.repeat(64) },
    { ...circle, key: new Uint8Array(32).fill(8) },
  ].map(recordProtocol);
  expect(new Set(others).size).toBe(4);
  expect(others[0]).toMatch(/^\/patchcord\/where\/1\/[0-9a-f]{32}$/);
});

test('those are asked about first of whom nobody was asked, then ever more seldom', () => {
  const sought = new Map<string, Sought>();
  const asked: [string, number][] = [];
  for (let nowMs = 0; nowMs <= 2 * SEEK_AGAIN_MS_MAX; nowMs += 1_000) {
    const machine = whomToSeek(['ann', 'bob'], sought, nowMs);
    if (machine === undefined) continue;
    noteSought(sought, machine, nowMs);
    asked.push([machine, nowMs]);
  }
  expect(asked.slice(0, 2).map(([machine]) => machine)).toEqual(['ann', 'bob']);
  const ann = asked.filter(([machine]) => machine === 'ann').map(([, atMs]) => atMs);
  const waits = ann.slice(1).map((atMs, index) => atMs - ann[index]!);
  expect(waits[0]).toBe(SEEK_AGAIN_MS);
  expect(waits).toEqual([...waits].sort((a, b) => a - b));
  expect(Math.max(...waits)).toBeLessThanOrEqual(SEEK_AGAIN_MS_MAX + 1_000);
  expect(ann.length).toBeLessThan(12);
});

test('it is remembered of so many machines only that they were asked about', () => {
  const sought = new Map<string, Sought>();
  for (let index = 0; index < SOUGHT_MAX + 10; index += 1) noteSought(sought, String(index), index);
  expect(sought.size).toBe(SOUGHT_MAX);
  expect(sought.has('9')).toBe(false);
});

test('the same is published seldom, and what is new at once', () => {
  let published: Published | undefined;
  const times: number[] = [];
  for (let nowMs = 0; nowMs < 3 * PUBLISH_AGAIN_MS_MAX; nowMs += 1_000) {
    if (!isPublishDue(published, HOME, nowMs)) continue;
    published = notePublished(published, HOME, 3, nowMs);
    times.push(nowMs);
  }
  expect(times.slice(0, 4)).toEqual([0, 15_000, 75_000, 315_000]);
  expect(times.length).toBeLessThan(9);
  expect(times.at(-1)! - times.at(-2)!).toBe(PUBLISH_AGAIN_MS_MAX);
  expect(isPublishDue(published, `${HOME}0`, times.at(-1)!)).toBe(true);
  expect(isPublishDue(undefined, '', 0)).toBe(false);
});

test('what nobody took is published again soon', () => {
  const published = notePublished(undefined, HOME, 0, 0);
  expect(isPublishDue(published, HOME, PUBLISH_UNHELD_MS - 1)).toBe(false);
  expect(isPublishDue(published, HOME, PUBLISH_UNHELD_MS)).toBe(true);
  expect(notePublished(published, HOME, 0, 1_000).times).toBe(0);
  expect(notePublished({ ...published, times: 5 }, `${HOME}0`, 1, 0).times).toBe(1);
});

/** A network that does not exist, and what it was asked. */
class Wire {
  readonly peerId = self!.peerId;
  readonly clock = new HandClock();
  readonly heard: string[] = [];
  tables: readonly RecordTable[] = [];
  calls = 0;
  down: string[] = [];
  puts = 0;
  sought: string[] = [];
  finds: Uint8Array[] = [];
  circles: LargeCircle[] = [];
  addresses = [HOME];
  isSlow = false;
  readonly directory = new AddressDirectory({
    network: this,
    clock: this.clock,
    random: countingRandom(2),
    log: silentLog,
    circles: () => this.circles,
    own: () => signWhereabouts(this.addresses, 1, self!),
    addressesOf: () => [],
    heard: (_ns, bytes) => void this.heard.push(Buffer.from(bytes).toString('hex')),
  });

  links(): LinkStatus[] {
    const statuses: LinkStatus[] = this.down.map((peerId) => ({
      peerId,
      up: false,
      attempts: 1,
      lastError: 'no answer',
    }));
    return [{ peerId: bob!.peerId, up: true, attempts: 0 }, ...statuses];
  }

  setTables(tables: readonly RecordTable[]): void {
    this.calls += 1;
    this.tables = tables;
  }

  async putRecord(): Promise<number> {
    this.puts += 1;
    return 1;
  }

  async findRecord(_protocol: string, key: Uint8Array, found: (value: Uint8Array) => void): Promise<void> {
    this.sought.push(Buffer.from(key).toString());
    if (this.isSlow) return new Promise(() => {});
    for (const value of this.finds) found(value);
  }

  async ticks(count: number): Promise<void> {
    for (let tick = 0; tick < count; tick += 1) {
      await this.clock.advance(TABLE_TICK_MS);
      await turn();
    }
  }
}

test('without a large namespace the network is asked nothing', async () => {
  const wire = new Wire();
  wire.down = [ann!.peerId];
  wire.directory.start();
  await wire.ticks(20);
  expect([wire.calls, wire.puts, wire.sought.length]).toEqual([0, 0, 0]);
});

test('a namespace that gets another key, or small, has its table replaced, or ended', async () => {
  const wire = new Wire();
  wire.circles = [{ ...circle, isMember }];
  wire.directory.start();
  await wire.ticks(1);
  const [first] = wire.tables;
  expect(first?.protocol).toBe(recordProtocol(circle));
  await wire.ticks(1);
  expect(wire.tables[0]).toBe(first);
  wire.circles = [{ ...circle, epoch: 3, isMember }];
  await wire.ticks(1);
  expect(wire.tables.map(({ protocol }) => protocol)).toEqual([recordProtocol({ ...circle, epoch: 3 })]);
  wire.circles = [];
  await wire.ticks(1);
  expect(wire.tables).toEqual([]);
});

test('a table knows who is a member now, not who was', async () => {
  const wire = new Wire();
  wire.circles = [{ ...circle, isMember }];
  wire.directory.start();
  await wire.ticks(1);
  const [table] = wire.tables;
  const { key, value } = record(ann, 9);
  expect(table!.hasMember(ann!.peerId)).toBe(true);
  expect(table!.check(key, value)).toBe(9);
  wire.circles = [{ ...circle, isMember: (machine) => machine === bob!.peerId }];
  await wire.ticks(1);
  expect(table!.hasMember(ann!.peerId)).toBe(false);
  expect(() => table!.check(key, value)).toThrow(PatchcordError);
});

test('a machine that cannot be reached is asked about, one at a time, and what is found is checked', async () => {
  const wire = new Wire();
  wire.circles = [{ ...circle, isMember }];
  wire.down = [ann!.peerId, stranger!.peerId];
  wire.finds = [record(bob).value, new Uint8Array(50), record(ann).value];
  wire.directory.start();
  await wire.ticks(4);
  expect(new Set(wire.sought)).toEqual(new Set([Buffer.from(record(ann).key).toString()]));
  expect(new Set(wire.heard)).toEqual(
    new Set([Buffer.from(signWhereabouts([HOME], 5, ann!).bytes).toString('hex')]),
  );
  wire.isSlow = true;
  const before = wire.sought.length;
  await wire.ticks(60);
  expect(wire.sought.length).toBe(before + 1);
});

test('a machine that moves says so at once', async () => {
  const wire = new Wire();
  wire.circles = [{ ...circle, isMember }];
  wire.directory.start();
  await wire.ticks(5);
  expect(wire.puts).toBe(1);
  wire.addresses = ['/ip4/192.0.2.8/tcp/4001'];
  await wire.ticks(1);
  expect(wire.puts).toBe(2);
});
