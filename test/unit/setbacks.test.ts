import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemRandom } from '../../daemon/clock.ts';
import { createRecordSeal } from '../../daemon/store/record-seal.ts';
import type { Session } from '../../mcp/messenger.ts';
import { newId } from '../../protocol/ids.ts';
import { BEAT_INTERVAL_MS, GAP_HOLD_MS, MILESTONE_SIZE_BYTES_MAX } from '../../protocol/limits.ts';
import type { HandPeer } from './hand-peer.ts';
import { deskAndLaptop, rungOf, type Team } from './team.ts';
import { diskOf, START_MS, type TestMachine } from './wire.ts';

/**
 * Two machines, of which one is set back behind its back: the desk with ada, seed 1, and the laptop with bob, seed 2.
 */

let team: Team;
let desk: TestMachine;
let laptop: TestMachine;
let ada: Session;
let bob: Session;

beforeEach(async () => {
  ({ team, desk, laptop, ada, bob } = await deskAndLaptop());
  await say(ada, 'bob', '1', '2');
  await readAll(bob);
  await say(bob, 'ada', 'a', 'b');
  await readAll(ada);
});
afterEach(() => team.stopAll());

type Disk = Awaited<ReturnType<typeof diskOf>>;

/** The laptop is started on what lay on its disk then. */
async function setBackTo(disk: Disk): Promise<void> {
  await team.stop(laptop);
  await team.clock.advance(1_000);
  laptop = await team.start(2, 'laptop', { kv: disk });
  await team.clock.advance(5_000);
  bob = await team.open(laptop, 'bob');
}

async function say(session: Session, to: string, ...contents: string[]): Promise<void> {
  for (const content of contents)
    expect(await team.say(session, to, content)).toMatchObject({ status: 'sent' });
}
const shownTo = async (session: Session) =>
  (await session.inbox({ all_agents: false })).pending.map(
    ({ content, seen_before, late, missing_before: missing }) =>
      `${content}${seen_before ? ' again' : ''}${late ? ' late' : ''}${missing ? ` ${missing} missing` : ''}`,
  );
const readAll = async (session: Session) => {
  const shown = await shownTo(session);
  await session.confirm();
  await team.clock.advance(100);
  return shown;
};
/** In how many epochs a machine has been. */
const epochOf = (machine: TestMachine) => team.wire.networks.get(machine.peerId)!.epoch;

/** What happens after the copy is made: bob reads 3 to 5, answers, and gets 6 and 7. */
async function goOn(): Promise<void> {
  await readAll(bob);
  await say(ada, 'bob', '5');
  await readAll(bob);
  await say(bob, 'ada', 'c', 'd', 'e');
  await readAll(ada);
  await say(ada, 'bob', '6', '7');
}

/** What both sides see after the machine was set back, when more was said. */
async function seenAfter() {
  await say(ada, 'bob', '8');
  const bobSees = await readAll(bob);
  await say(bob, 'ada', 'f', 'g');
  const adaSees = await readAll(ada);
  await team.clock.advance(GAP_HOLD_MS);
  const later = [...(await shownTo(bob)), ...(await shownTo(ada))];
  return { bobSees, adaSees, later, rungs: [await rungOf(ada, '7'), await rungOf(bob, 'g')] };
}
const WHOLE = {
  bobSees: ['6 again', '7 again', '8'],
  adaSees: ['f', 'g'],
  later: [],
  rungs: ['read', 'read'],
};

describe('a machine that was set back behind its back', () => {
  test('while it was stopped: shows nothing again that was read, and sends in order', async () => {
    await say(ada, 'bob', '3', '4');
    await team.stop(laptop);
    const disk = await diskOf(laptop);
    laptop = await team.start(2, 'laptop', { kv: laptop.kv });
    bob = await team.open(laptop, 'bob');
    await goOn();
    await setBackTo(disk);
    expect(await seenAfter()).toEqual(WHOLE);
  });

  test('while it ran: the same, once somebody was told how far it had got', async () => {
    await say(ada, 'bob', '3', '4');
    const disk = await diskOf(laptop);
    await goOn();
    await team.clock.advance(BEAT_INTERVAL_MS);
    await setBackTo(disk);
    expect(await seenAfter()).toEqual(WHOLE);
  });

  test('notices it also when it went on for a while by itself', async () => {
    await say(ada, 'bob', '3', '4');
    const disk = await diskOf(laptop);
    await goOn();
    await team.clock.advance(BEAT_INTERVAL_MS);
    team.cut(desk, laptop);
    await setBackTo(disk);
    // Nobody was there to say that they were read.
    expect(await readAll(bob)).toEqual(['3', '4']);
    for (let start = 0; start < 3; start += 1) {
      await say(bob, 'ada', `offline ${start}`);
      await team.clock.advance(5_000);
      laptop = await team.again(laptop);
      bob = await team.open(laptop, 'bob');
    }
    expect(epochOf(laptop)).toBe(0);
    await team.mend(desk, laptop);
    await team.clock.advance(5_000);
    expect(await readAll(ada)).toEqual(['offline 0', 'offline 1', 'offline 2']);
    expect(await seenAfter()).toEqual(WHOLE);
  });

  test('begins one epoch for it, and none for being started or killed', async () => {
    await say(ada, 'bob', '3', '4');
    const early = await diskOf(laptop);
    await goOn();
    await team.clock.advance(BEAT_INTERVAL_MS);
    // What lies on the disk at any moment is what a crash leaves.
    const crashed = await diskOf(laptop);
    await setBackTo(crashed);
    await setBackTo(await diskOf(laptop));
    expect(epochOf(laptop)).toBe(0);
    expect(await readAll(bob)).toEqual(['6', '7']);

    await setBackTo(early);
    const epoch = epochOf(laptop);
    expect(epoch).toBeGreaterThan(0);
    laptop = await team.again(laptop);
    await team.clock.advance(BEAT_INTERVAL_MS);
    expect(epochOf(laptop)).toBe(epoch);
    expect(epochOf(desk)).toBe(0);
  });

  test('is set back once more, to before it noticed', async () => {
    await say(ada, 'bob', '3', '4');
    const [disk, same] = [await diskOf(laptop), await diskOf(laptop)];
    await goOn();
    await team.clock.advance(BEAT_INTERVAL_MS);
    await setBackTo(disk);
    const epoch = epochOf(laptop);
    await team.clock.advance(60_000);
    await setBackTo(same);
    expect(epochOf(laptop)).toBeGreaterThan(epoch);
    expect(await seenAfter()).toEqual(WHOLE);
  });

  test('is sealed to by a prekey that it has the key of', async () => {
    await say(ada, 'bob', '3', '4');
    const disk = await diskOf(laptop);
    await goOn();
    await team.clock.advance(25 * 3_600_000);
    expect(laptop.prekeyFile.writes).toBeGreaterThan(1);
    await setBackTo(disk);
    await say(ada, 'bob', '8');
    expect((await shownTo(bob)).at(-1)).toBe('8');
  });
});

describe('a hostile member', () => {
  test('makes nobody begin an epoch by what it gives back', async () => {
    const mal = await team.hand(9, desk);
    await team.clock.advance(BEAT_INTERVAL_MS);
    const marks = mal.frames.flatMap(({ from, frame }) =>
      frame.t === 'milestone' ? [{ from, mark: frame.mark }] : [],
    );
    const own = marks.filter(({ from }) => from === desk.peerId).map(({ mark }) => mark);
    const others = marks.filter(({ from }) => from === laptop.peerId).map(({ mark }) => mark);
    expect(own.length * others.length).toBeGreaterThan(0);
    const altered = Uint8Array.from(own[0]!);
    altered[20]! ^= 1;
    const garbage = new Uint8Array(MILESTONE_SIZE_BYTES_MAX);
    for (const kept of [...own, ...others, altered, garbage, new Uint8Array(0)]) {
      mal.kept = kept;
      team.cut(mal, desk);
      await team.mend(mal, desk);
      expect(mal.network.linked.has(desk.peerId)).toBe(true);
    }
    expect(epochOf(desk)).toBe(0);
  });

  test('gives the same back again and again, and another epoch begins for none of it', async () => {
    const mal = await team.hand(9, desk);
    await team.clock.advance(BEAT_INTERVAL_MS);
    const disk = await diskOf(laptop);
    await say(ada, 'bob', '3');
    await team.clock.advance(BEAT_INTERVAL_MS);
    mal.kept = mal.frames
      .flatMap(({ from, frame }) => (from === laptop.peerId && frame.t === 'milestone' ? [frame.mark] : []))
      .at(-1);
    await setBackTo(disk);
    const epoch = epochOf(laptop);
    expect(epoch).toBeGreaterThan(0);
    for (let time = 0; time < 3; time += 1) {
      await team.clock.advance(120_000);
      team.cut(mal, laptop);
      await team.mend(mal, laptop);
      expect(mal.network.linked.has(laptop.peerId)).toBe(true);
    }
    expect(epochOf(laptop)).toBe(epoch);
  });
});

describe('a machine that learns that it was set back', () => {
  /** What the desk has said of a time that it does not know of. */
  const fromTheFuture = (epoch: number) =>
    createRecordSeal(new Uint8Array(32).fill(1), systemRandom.bytes).seal('milestone', {
      epoch,
      start: 1,
      boot: newId(START_MS, systemRandom.bytes),
      batch: 1,
    });
  const linkWith = async (mal: HandPeer) => {
    team.cut(mal, desk);
    await team.mend(mal, desk);
  };

  test('begins one epoch a minute at most, and does without that link until then', async () => {
    const mal = await team.hand(9, desk);
    mal.kept = fromTheFuture(START_MS + 1_000_000);
    await linkWith(mal);
    expect(epochOf(desk)).toBe(START_MS + 1_000_001);
    mal.kept = fromTheFuture(START_MS + 2_000_000);
    await linkWith(mal);
    expect(epochOf(desk)).toBe(START_MS + 1_000_001);
    expect(team.wire.networks.get(desk.peerId)!.linked.has(laptop.peerId)).toBe(true);
    await team.clock.advance(60_000);
    await linkWith(mal);
    expect(epochOf(desk)).toBe(START_MS + 2_000_001);
  });

  test('has no link until its epoch has begun, and begins it again when that failed', async () => {
    const mal = await team.hand(9, desk);
    mal.kept = fromTheFuture(1);
    desk.prekeyFile.failure = new Error('the disk is full');
    await linkWith(mal);
    await say(ada, 'bob', '3');
    expect(epochOf(desk)).toBe(0);
    expect(await rungOf(ada, '3')).toBe('queued');
    desk.prekeyFile.failure = undefined;
    // On this wire links are tried without a pause.
    for (const other of [mal, laptop]) team.cut(desk, other);
    await team.clock.advance(10_000);
    for (const other of [mal, laptop]) await team.mend(desk, other);
    const epoch = epochOf(desk);
    expect(epoch).toBeGreaterThan(0);
    await say(ada, 'bob', '4');
    expect(await shownTo(bob)).toEqual(['3', '4']);
    desk = await team.again(desk);
    expect(epochOf(desk)).toBe(epoch);
  });
});
