import { isDeepStrictEqual } from 'node:util';
import { beforeEach, describe, expect, test } from 'vitest';
import { systemRandom } from '../../daemon/clock.ts';
import type { Log } from '../../daemon/log.ts';
import { StoreCare } from '../../daemon/store/care/store-care.ts';
import { createKvHeldStore } from '../../daemon/store/kv-held-store.ts';
import { createKvMailStore } from '../../daemon/store/kv-mail-store.ts';
import { key } from '../../daemon/store/mail-records.ts';
import { createRecordSeal } from '../../daemon/store/record-seal.ts';
import { createMailSweep } from '../../daemon/store/mail-sweep.ts';
import { RETENTION_MS } from '../../protocol/limits.ts';
import { signReceipt } from '../../protocol/receipt.ts';
import { MemoryKv } from '../sim/memory-kv.ts';
import { handClock } from './api-fixture.ts';
import {
  ada,
  bob,
  BOOT,
  HERE,
  id,
  incoming,
  NOBODY,
  NOW,
  NS,
  outboxOf,
  outgoing,
  pendingOf,
  receipt,
  receive,
  refusal,
  statusOf,
  THERE,
  voided,
} from './mail-store-fixture.ts';
import { newNotice } from './new-notice.ts';

const seal = createRecordSeal(new Uint8Array(32).fill(7), systemRandom.bytes);
const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };
const REPORT = 'damage';

let kv: MemoryKv;
beforeEach(() => {
  kv = new MemoryKv();
});

/** A start over what lies on the disk. */
async function start() {
  const care = new StoreCare({
    kv,
    seal,
    tallyFile: undefined,
    clock: handClock(),
    log: silentLog,
  });
  await care.open();
  const { journal } = care;
  return {
    care,
    journal,
    mail: createKvMailStore(journal, HERE, newNotice),
    held: createKvHeldStore(journal, { retentionMs: RETENTION_MS }),
  };
}
/** Whether the next start begins a new epoch, so that others send again what was not read. */
const wantsResend = async () => (await keys()).includes(key.epochWork);
const keys = async () => (await kv.range({ from: '', to: '\x7f' })).map(([name]) => name);
/** Flips one bit of a stored record. */
async function damage(name: string): Promise<Uint8Array> {
  const bytes = (await kv.get(name))!;
  const altered = bytes.map((byte, at) => (at === bytes.length - 5 ? byte ^ 4 : byte));
  await kv.write([{ key: name, value: altered }], { sync: true });
  return altered;
}
const remove = (name: string) => kv.write([{ key: name, value: undefined }], { sync: true });

/** A store with something of every kind in it. */
async function filled() {
  const { mail, held, journal } = await start();
  for (const number of [1, 2, 3])
    await mail.accept(outgoing(number, number === 3 ? { thread: 'plans' } : {}));
  await mail.settle(THERE, 1, receipt(1, 'delivered'));
  await mail.markHeld(THERE, 2, 'mailbox');
  for (const seq of [1, 2, 3, 4]) await receive(mail, incoming(0x20 + seq, seq));
  // A gap, and what waits behind it.
  await receive(mail, incoming(0x27, 7));
  await receive(mail, voided(0x28, 8));
  const shown = await mail.show(ada.id, 2, NOBODY, NOW);
  await mail.confirm(ada.id, [shown[0]!.number], NOW);
  await mail.mark(ada.id, { messageId: id(0x22), status: 'deferred' }, BOOT, NOW);
  for (const byte of [1, 2]) {
    await held.hold({
      ns: NS,
      to: THERE,
      envelope: new Uint8Array(100).fill(byte),
      withdraw: new Uint8Array(32).fill(byte),
      nowMs: NOW,
      depositor: THERE,
    });
  }
  await journal.transact(async (tx) => {
    tx.put(`agent/${ada.id}`, { id: ada.id, ns: NS, name: 'ada', lastSeenMs: 1, client: 'c' });
    tx.put(`statement/${NS}/${'d'.repeat(64)}`, new Uint8Array(10));
    tx.put(`statement/${NS}/${'e'.repeat(64)}`, new Uint8Array(10));
  });
}

/** The same in a later epoch, with mail in doubt, an answer that is owed, an answer that waits, and a swept history. */
async function filledTwice() {
  await filled();
  const { mail, journal } = await start();
  await mail.newEpoch({ inDoubt: true, boot: BOOT, nowMs: NOW });
  await mail.accept(outgoing(4, { replyWithinMs: 3_600_000 }));
  await receive(mail, incoming(0x29, 1, { epoch: NOW + 5 }));
  const about = { ns: NS, id: id(0x29), sender: bob.id, recipient: ada.id };
  await mail.tell(THERE, NS, signReceipt({ ...about, state: 'delivered', at: NOW }, HERE), BOOT);
  const time = { beforeMs: NOW + 1, nowMs: NOW };
  await createMailSweep(journal).history(ada.id, time, 0);
}

/** What is wrong after one record was damaged or removed and the store was put right. */
async function problemsOf(
  whole: readonly [string, Uint8Array][],
  name: string,
  how: 'damaged' | 'removed',
): Promise<string[]> {
  kv = new MemoryKv();
  await kv.write(
    whole.map(([at, value]) => ({ key: at, value })),
    { sync: true },
  );
  const bytes = how === 'damaged' ? await damage(name) : undefined;
  if (how === 'removed') await remove(name);
  const { care, mail } = await start();
  const untouched = await kv.range({ from: '', to: '\x7f' });
  const examined = await care.examine();
  const isUntouched = isDeepStrictEqual(await kv.range({ from: '', to: '\x7f' }), untouched);
  const repaired = await care.repair();
  // The schema is read at every start, which mends it.
  const told = name === 'schema' ? (care.unseen?.findings ?? []) : repaired.findings;
  // An envelope that nobody can be offered goes with what says where it is.
  const moved = name.startsWith('mailbox-place/') ? 2 : 1;
  const { keys: aside, count } = repaired.quarantined;
  const isKept = isDeepStrictEqual(await kv.get(`quarantine/${name}`), bytes);
  const again = await start();
  const leftOver = (await again.care.examine()).findings;
  // Numbers are never given twice, and what is new gets through.
  const history = await mail.history(ada.id, 100);
  await again.mail.accept(outgoing(0x40));
  await receive(again.mail, incoming(0x41, 9));
  const after = await again.mail.history(ada.id, 100);
  const letters = (await outboxOf(again.mail)).map(({ letter }) => letter);
  const checks: [holds: boolean, what: string][] = [
    [isUntouched, 'examining changed something'],
    [isDeepStrictEqual(examined.findings, repaired.findings), 'examining saw something else'],
    [isKept, 'its bytes were not kept'],
    [!bytes || told.some(({ kind }) => kind === 'damaged'), 'the damage was not told'],
    [!bytes || (aside.includes(name) && count === moved), `in quarantine: ${aside.join()}`],
    [!bytes || care.unseen !== undefined, 'there is no report'],
    [leftOver.length === 0, `left over: ${JSON.stringify(leftOver)}`],
    [isDeepStrictEqual(after.slice(-history.length), history), 'history was overwritten'],
    [(await statusOf(again.mail, 0x40)) === 'queued', 'nothing can be sent'],
    [letters.some((letter) => 'id' in letter && letter.id === id(0x40)), 'nothing is queued'],
    [(await again.care.examine()).findings.length === 0, 'using it broke it again'],
  ];
  return checks.filter(([holds]) => !holds).map(([, what]) => what);
}

describe('the care of a store', () => {
  test('finds nothing in a store that is well, and changes nothing', async () => {
    await filled();
    const before = await kv.range({ from: '', to: '\x7f' });
    const { care } = await start();
    expect((await care.examine()).findings).toEqual([]);
    expect((await care.repair()).findings).toEqual([]);
    expect(await kv.range({ from: '', to: '\x7f' })).toEqual(before);
    expect(await wantsResend()).toBe(false);
  });

  /** Damages or removes every record in turn; afterwards the store is whole again, and takes what comes. */
  test.each([
    ['damaged', 'one epoch', filled, ['gap', 'held', 'known', 'line-out', 'pending', 'tally']],
    ['removed', 'one epoch', filled, ['gap', 'held', 'known', 'line-out', 'pending', 'tally']],
    [
      'damaged',
      'two epochs',
      filledTwice,
      ['doubt', 'due', 'epoch', 'kept', 'outbox-size', 'told', 'unread'],
    ],
    [
      'removed',
      'two epochs',
      filledTwice,
      ['doubt', 'due', 'epoch', 'kept', 'outbox-size', 'told', 'unread'],
    ],
  ] as const)('a record of any kind that is %s, in %s', async (how, _epochs, fill, kinds) => {
    await fill();
    expect((await keys()).map((name) => name.split('/')[0])).toEqual(expect.arrayContaining([...kinds]));
    const whole = await kv.range({ from: '', to: '\x7f' });
    const names = whole.map(([name]) => name).filter((name) => !name.startsWith('batch/'));
    const problems: string[] = [];
    for (const name of names)
      for (const what of await problemsOf(whole, name, how)) problems.push(`${name}: ${what}`);
    expect(problems).toEqual([]);
    expect(names.length).toBeGreaterThan(40);
  });

  test('a record whose key is damaged is put aside though only a range finds it', async () => {
    await filled();
    const [name, bytes] = (await kv.range({ from: 'outbox/', to: 'outbox0' }))[0]!;
    const altered = `${name.slice(0, -1)}\0`;
    await kv.write([{ key: altered, value: bytes }], { sync: true });
    // As LevelDB does by the filter of the table that the key was in before.
    const get = kv.get.bind(kv);
    kv.get = async (one) => (one === altered ? undefined : get(one));
    await (await start()).care.repair();
    expect(await keys()).not.toContain(altered);
    expect(await kv.get(`quarantine/${altered}`)).toEqual(bytes);
    expect((await (await start()).care.examine()).findings).toEqual([]);
  });

  test('an unread message that is damaged is named, and taken again when it is sent again', async () => {
    await filled();
    const { mail } = await start();
    const record = await mail.find(ada.id, id(0x24));
    await damage(key.history(ada.id, record!.number));
    const next = await start();
    await expect(next.mail.pending(ada.id, 100)).rejects.toEqual(refusal('store_damaged'));
    await next.care.repair();
    expect(await wantsResend()).toBe(true);
    expect(next.care.unseen?.findings.map(({ what }) => what)).toEqual(
      expect.arrayContaining([
        `history of agent ${ada.id}, number ${record!.number}`,
        `an unread message of agent ${ada.id}, which can be sent again`,
      ]),
    );
    expect(await pendingOf(next.mail)).toEqual(['content 35']);
    const again = await receive(next.mail, incoming(0x24, 4));
    expect(again).toMatchObject({ released: [id(0x24)] });
    expect(await pendingOf(next.mail)).toEqual(['content 35', 'content 36']);
  });

  test('a message that was read and is damaged is never shown again', async () => {
    await filled();
    const { mail } = await start();
    const record = await mail.find(ada.id, id(0x21));
    expect(record?.status).toBe('read');
    await damage(key.history(ada.id, record!.number));
    const next = await start();
    await next.care.repair();
    expect(await receive(next.mail, incoming(0x21, 1))).toMatchObject({ released: [] });
  });

  test('a letter in the outbox that is damaged is made again from the history', async () => {
    await filled();
    const { mail } = await start();
    const before = await outboxOf(mail);
    const entry = before.find(({ letter }) => letter.k === 'message' && letter.id === id(2))!;
    await damage(key.outbox(THERE, entry.number));
    const next = await start();
    await next.care.repair();
    const after = await outboxOf(next.mail);
    expect(after.map(({ letter, number, held }) => ({ letter, number, held }))).toEqual(
      before.map(({ letter, number, held }) => ({ letter, number, held })),
    );
    expect(await next.mail.outboxCount(THERE)).toBe(before.length);
  });

  test('a sequence that is damaged goes on beyond what was sent', async () => {
    await filled();
    await damage(key.lineOut(ada.id, bob.id));
    const { care, mail } = await start();
    await care.repair();
    await mail.accept(outgoing(0x40));
    const letters = (await outboxOf(mail)).map(({ letter }) => letter);
    expect(letters).toContainEqual(expect.objectContaining({ id: id(0x40), seq: 4 }));
  });

  test('a counter that is gone begins behind what is there, before anybody notices', async () => {
    await filled();
    for (const name of [key.tally(ada.id), key.outboxNumber, 'mailbox-number']) await remove(name);
    const { mail, held, care } = await start();
    const history = await mail.history(ada.id, 100);
    const outbox = await outboxOf(mail);
    await mail.accept(outgoing(0x40));
    await held.hold({
      ns: NS,
      to: THERE,
      envelope: new Uint8Array(100).fill(3),
      withdraw: new Uint8Array(32).fill(3),
      nowMs: NOW,
      depositor: THERE,
    });
    expect((await mail.history(ada.id, 100)).slice(1)).toEqual(history);
    expect((await outboxOf(mail)).slice(0, -1)).toEqual(outbox);
    expect(await held.offers(THERE, NS, 0, 10)).toHaveLength(3);
    await care.repair();
    expect(await mail.tally(ada.id)).toEqual({ pending: 2, deferred: 1 });
    expect((await care.examine()).findings).toEqual([]);
  });

  test('a read that meets damage is followed by a pass', async () => {
    await filled();
    await damage(key.tally(ada.id));
    const clock = handClock();
    const care = new StoreCare({ kv, seal, tallyFile: undefined, clock, log: silentLog });
    await care.open();
    const mended = new Promise<void>((resolve) => (care.onMended = resolve));
    const mail = createKvMailStore(care.journal, HERE, newNotice);
    await expect(mail.tally(ada.id)).rejects.toEqual(refusal('store_damaged'));
    clock.advance(0);
    await mended;
    expect(await mail.tally(ada.id)).toEqual({ pending: 2, deferred: 1 });
    await care.close();
  });

  test('what reads the store at the start runs again after a pass', async () => {
    await filled();
    await damage(key.tally(ada.id));
    const { care, mail } = await start();
    expect(await care.guarded(() => mail.tally(ada.id))).toEqual({ pending: 2, deferred: 1 });
  });

  test('the report stays until it was seen, over starts, and grows', async () => {
    await filled();
    await damage(`agent/${ada.id}`);
    await (await start()).care.repair();
    const { care } = await start();
    expect(care.unseen?.findings).toHaveLength(2);
    await damage(`statement/${NS}/${'d'.repeat(64)}`);
    await care.repair();
    expect(care.unseen?.findings).toHaveLength(3);
    await care.acknowledge();
    expect(care.unseen).toBeUndefined();
    const again = await start();
    expect(again.care.unseen).toBeUndefined();
    expect((await again.care.examine()).report?.findings).toHaveLength(3);
    expect(await keys()).toContain(REPORT);
  });

  test('nothing is moved when no record opens: the key is wrong', async () => {
    await filled();
    const before = await kv.range({ from: '', to: '\x7f' });
    const other = createRecordSeal(new Uint8Array(32).fill(8), systemRandom.bytes);
    const care = new StoreCare({ kv, seal: other, tallyFile: undefined, clock: handClock(), log: silentLog });
    await expect(care.open()).rejects.toEqual(refusal('store_damaged'));
    expect(await kv.range({ from: '', to: '\x7f' })).toEqual(before);
  });

  test('a start that finds a batch missing names what is gone and goes on behind it', async () => {
    await filled();
    const { mail } = await start();
    const last = await mail.find(ada.id, id(0x24));
    // The batch that brought it, as LevelDB leaves it out.
    await remove(key.history(ada.id, last!.number));
    await remove(key.pending(ada.id, last!.number));
    await remove(key.known(ada.id, id(0x24)));
    const marks = (await keys()).filter((name) => name.startsWith('batch/'));
    await remove(marks[5]!);
    const next = await start();
    expect(await wantsResend()).toBe(true);
    expect(next.care.unseen?.findings).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ kind: 'lost', what: expect.stringContaining('written batches'), count: 1 }),
        { kind: 'lost', what: `history of agent ${ada.id}, number ${last!.number}`, count: 1 },
      ]),
    );
    await remove(key.epochWork);
    await start();
    expect(await wantsResend()).toBe(false);
  });
});
