import type { Connection, Stream } from '@libp2p/interface';
import { describe, expect, test } from 'vitest';
import type { Clock } from '../../daemon/clock.ts';
import { silentLog } from '../../daemon/log.ts';
import { Admission } from '../../daemon/network/admission.ts';
import { JoinDesk } from '../../daemon/network/join.ts';

/** A connection of a machine, as much of it as admission uses. */
class FakeConnection extends EventTarget {
  readonly direction = 'inbound';
  readonly remotePeer: string;
  reason: string | undefined;

  constructor(peerId: string) {
    super();
    this.remotePeer = peerId;
  }

  abort(error: Error): void {
    this.reason = error.message;
    this.dispatchEvent(new Event('close'));
  }

  get real(): Connection {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as much of it as is used
    return this as unknown as Connection;
  }
}

function hall(members: string[], askers: (peerId: string) => boolean = () => true) {
  const timers = new Set<() => void>();
  const clock: Clock = {
    now: () => 0,
    elapsed: () => 0,
    after(_, task) {
      timers.add(task);
      return { cancel: () => void timers.delete(task) };
    },
  };
  const admission = new Admission({
    handlers: { admits: (peerId) => members.includes(peerId), admitsJoin: askers },
    clock,
    log: silentLog,
  });
  const open = (peerId: string): FakeConnection => {
    const connection = new FakeConnection(peerId);
    admission.opened(connection.real, 1);
    return connection;
  };
  const passTime = (): void => {
    for (const task of timers) if (timers.delete(task)) task();
  };
  return { members, clock, admission, open, timers, passTime };
}

describe('Admission', () => {
  test('asks who it is that wants to ask', () => {
    const { admission } = hall(['member'], (peerId) => peerId === 'removed');
    expect(['member', 'removed', 'stranger'].map((peerId) => admission.mayJoin(peerId))).toEqual([
      true,
      true,
      false,
    ]);
    expect(['member', 'removed', 'stranger'].map((peerId) => admission.mayLink(peerId))).toEqual([
      true,
      false,
      false,
    ]);
  });

  test('one machine cannot take the place of all guests, and a guest that goes makes room', () => {
    const { open, timers } = hall([]);
    const greedy = Array.from({ length: 10 }, () => open('greedy'));
    expect(greedy.map(({ reason }) => reason ?? 'in')).toEqual([
      ...Array<string>(4).fill('in'),
      ...Array<string>(6).fill('too many guests'),
    ]);
    const others = Array.from({ length: 100 }, (_, index) => open(`guest ${index}`));
    expect(others.filter(({ reason }) => reason === undefined)).toHaveLength(60);
    greedy[0]!.abort(new Error('done'));
    expect(open('late').reason).toBeUndefined();
    expect(timers.size).toBe(64);
  });

  test('a sweep leaves guests alone, but not one that became a member and is none any more', () => {
    const { admission, members, open, passTime } = hall(['member']);
    const [member, guest, friend] = [open('member'), open('guest'), open('friend')];
    members.push('friend');
    passTime();
    expect([guest.reason, friend.reason]).toEqual(['stayed too long', undefined]);
    const late = open('guest');
    members.length = 0;
    admission.sweep([member, friend, late].map((connection) => connection.real));
    expect([member.reason, friend.reason, late.reason]).toEqual(['not a member', 'not a member', undefined]);
  });
});

/** A stream that carries one request, and what came of it. */
class FakeStream extends EventTarget {
  status = 'open';
  readableEnded = false;
  outcome: string | undefined;

  send(): boolean {
    this.outcome = 'answered';
    return true;
  }

  async close(): Promise<void> {}

  abort(error: Error): void {
    this.outcome ??= error.message;
  }

  ask(): void {
    this.dispatchEvent(Object.assign(new Event('message'), { data: new Uint8Array(4) }));
  }
}

describe('JoinDesk', () => {
  test('answers 32 at a time and two of one machine; who was answered makes room', async () => {
    const { admission, clock } = hall([]);
    const { promise: consent, resolve: confirm } = Promise.withResolvers<void>();
    const desk = new JoinDesk({
      handlers: {
        async join(_, request) {
          await consent;
          return request;
        },
      },
      admission,
      clock,
      log: silentLog,
      stopping: new AbortController().signal,
    });
    const served: Promise<void>[] = [];
    const ask = (peerId: string): FakeStream => {
      const stream = new FakeStream();
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as much of it as is used
      served.push(desk.serve(stream as unknown as Stream, new FakeConnection(peerId).real));
      stream.ask();
      return stream;
    };
    const streams = ['a', 'a', 'a', ...Array.from({ length: 31 }, (_, index) => `b${index}`)].map(ask);
    const waiting = streams.filter(({ outcome }) => outcome === undefined);
    expect(waiting).toHaveLength(32);
    expect(streams.flatMap(({ outcome }, index) => (outcome === 'not now' ? index : []))).toEqual([2, 33]);
    confirm();
    await Promise.all(served);
    expect(new Set(waiting.map(({ outcome }) => outcome))).toEqual(new Set(['answered']));
    const again = [ask('a'), ask('a')];
    await Promise.all(served);
    expect(again.map(({ outcome }) => outcome)).toEqual(['answered', 'answered']);
  });
});
