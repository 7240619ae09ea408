import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { joinCheckCode, joinCommitment } from '../../protocol/join-check.ts';
import { INVITE_TTL_MS } from '../../protocol/limits.ts';
import { formatTicket, parseTicket, type JoinAnswer } from '../../protocol/ticket.ts';
import type { HandPeer } from './hand-peer.ts';
import { linksOf, membersOf, refusal, Team } from './team.ts';
import { turn, type TestMachine } from './wire.ts';

/** The desk invites with a check of six digits; time stands still. */
let team: Team;
let desk: TestMachine;
let laptop: TestMachine;
let ticket: string;
beforeEach(async () => {
  team = new Team();
  desk = await team.start(1, 'desk');
  laptop = await team.start(2, 'laptop');
  await desk.admin.createNamespace('myproject');
  ticket = await invite();
});
afterEach(async () => {
  await team.stopAll();
});

const invite = async (ttlMs?: number) =>
  (await desk.admin.invite('myproject', { confirm: true, ttlMs })).ticket;
const codeOf = (answer: Awaited<ReturnType<TestMachine['admin']['join']>>): string => {
  if (!('check' in answer)) throw new Error('it did not ask for a check');
  return answer.check;
};
/** The join as it stands: the digits again, or the end of it. */
const ask = async (machine: TestMachine, text = ticket) => {
  const asking = machine.admin.join(text);
  asking.catch(() => undefined);
  await turn();
  return asking;
};
/** Asks until the join is decided or fails. */
const askOn = async (machine: TestMachine) => {
  for (let round = 0; round < 4; round++) {
    const asking = machine.admin.join(ticket);
    asking.catch(() => undefined);
    await team.clock.advance(10_000);
    if (!('check' in (await asking))) break;
  }
};
const checks = async () => desk.admin.joinChecks('myproject');
const codes = async () => (await checks()).map(({ code }) => code);
const decide = async (code: string, accept: boolean) => {
  const check = await desk.admin.decideJoin('myproject', code, accept);
  await turn();
  return check;
};

describe('a join with a check', () => {
  test('shows the same six digits on both sides, and lets nobody in before they are compared', async () => {
    const answer = await ask(laptop);
    expect(answer).toEqual({ joined: false, check: expect.stringMatching(/^[0-9]{6}$/) });
    expect(await checks()).toEqual([
      {
        code: codeOf(answer),
        machine: 'laptop',
        peer_id: laptop.peerId,
        since: new Date(team.clock.now()).toISOString(),
      },
    ]);
    await team.clock.advance(60_000);
    expect(await membersOf(desk)).toEqual(['desk']);
    expect(await laptop.admin.namespaces()).toEqual([]);
    expect(await linksOf(desk)).toEqual([]);
  });

  test('goes through when they are the same, with the digits as people type them', async () => {
    const code = codeOf(await ask(laptop));
    expect(await decide(` ${code.slice(0, 3)} ${code.slice(3)} `, true)).toMatchObject({ machine: 'laptop' });
    expect(await ask(laptop)).toMatchObject({ namespace: 'myproject', joined: true, admitted_by: 'desk' });
    expect(await membersOf(laptop)).toEqual(['desk', 'laptop']);
    expect(await linksOf(desk)).toEqual(['laptop']);
    expect(await checks()).toEqual([]);
    expect(await ask(laptop)).toMatchObject({ joined: false, namespace: 'myproject' });
  });

  test('is turned away when they are not, and uses nothing up', async () => {
    const code = codeOf(await ask(laptop));
    await decide(code, false);
    await expect(ask(laptop)).rejects.toEqual(refusal('join_rejected'));
    expect(await membersOf(desk)).toEqual(['desk']);
    expect(await checks()).toEqual([]);
    const again = codeOf(await ask(laptop));
    expect(again).not.toBe(code);
    await decide(again, true);
    expect(await ask(laptop)).toMatchObject({ joined: true });
  });

  test('answers within ten seconds, as often as it is asked', async () => {
    const code = codeOf(await ask(laptop));
    for (let round = 0; round < 3; round++) {
      const asking = laptop.admin.join(ticket);
      await team.clock.advance(10_000);
      expect(await asking).toEqual({ joined: false, check: code });
    }
    const asking = laptop.admin.join(ticket);
    await decide(code, true);
    expect(await asking).toMatchObject({ joined: true });
  });

  test.for(['000000', '', '12345', 'abcdef'])('is not let in by other digits: %j', async (wrong) => {
    const code = codeOf(await ask(laptop));
    if (code === wrong) return;
    await expect(decide(wrong, true)).rejects.toEqual(refusal('not_found'));
    expect(await codes()).toEqual([code]);
  });

  test('is decided once', async () => {
    const code = codeOf(await ask(laptop));
    await decide(code, false);
    await expect(decide(code, true)).rejects.toEqual(refusal('not_found'));
    await expect(ask(laptop)).rejects.toEqual(refusal('join_rejected'));
  });

  test('is for admins to decide', async () => {
    await laptop.admin.join((await desk.admin.invite('myproject')).ticket);
    await expect(laptop.admin.decideJoin('myproject', '123456', true)).rejects.toEqual(refusal('not_admin'));
  });

  test('is not begun by a ticket that asks for none, and cannot be left out of one that does', async () => {
    const { confirm: _confirm, ...rest } = parseTicket(ticket);
    await expect(laptop.admin.join(formatTicket(rest))).rejects.toEqual(refusal('ticket_refused'));
    expect(await membersOf(desk)).toEqual(['desk']);
    const plain = (await desk.admin.invite('myproject')).ticket;
    expect(await ask(laptop, formatTicket({ ...parseTicket(plain), confirm: true }))).toMatchObject({
      joined: true,
    });
    expect(await checks()).toEqual([]);
  });

  test('ends with its invite: the digits are not shown any more, and accept nothing', async () => {
    const code = codeOf(await ask(laptop));
    await team.clock.advance(INVITE_TTL_MS + 1);
    expect(await checks()).toEqual([]);
    await expect(decide(code, true)).rejects.toEqual(refusal('not_found'));
    await expect(ask(laptop).then(() => ask(laptop))).rejects.toEqual(refusal('ticket_expired'));
    expect(await membersOf(desk)).toEqual(['desk']);
  });

  test('that was accepted in time is too late when it is asked for after the invite', async () => {
    const peer = await team.hand(9);
    const { ns, nonce } = await begin(peer);
    const asking = peer.ask(desk.peerId, { v: 1, k: 'reveal', ns, nonce });
    await turn();
    await team.clock.advance(10_000);
    expect(await asking).toEqual({ k: 'pending' });
    await decide((await codes())[0]!, true);
    await team.clock.advance(INVITE_TTL_MS);
    await desk.admin.invite('myproject');
    expect(await peer.ask(desk.peerId, { v: 1, k: 'reveal', ns, nonce })).toMatchObject({ k: 'refused' });
    expect(await membersOf(desk)).toEqual(['desk']);
  });

  test('starts again when the inviter was restarted in between', async () => {
    const before = codeOf(await ask(laptop));
    desk = await team.again(desk);
    expect(await checks()).toEqual([]);
    await expect(decide(before, true)).rejects.toEqual(refusal('not_found'));
    await expect(askOn(laptop)).rejects.toEqual(refusal('ticket_refused'));
    const code = codeOf(await ask(laptop));
    await decide(code, true);
    expect(await ask(laptop)).toMatchObject({ joined: true });
  });

  test('starts again when the joiner was restarted in between', async () => {
    const before = codeOf(await ask(laptop));
    laptop = await team.again(laptop);
    const code = codeOf(await ask(laptop));
    expect(code).not.toBe(before);
    expect(await codes()).toEqual([code]);
    await decide(code, true);
    expect(await ask(laptop)).toMatchObject({ joined: true });
  });

  test('lets one of several in; the others hear that the ticket is used', async () => {
    const tower = await team.start(3, 'tower');
    const mine = codeOf(await ask(laptop));
    codeOf(await ask(tower));
    await decide(mine, true);
    expect(await ask(laptop)).toMatchObject({ joined: true });
    expect(await checks()).toEqual([]);
    await expect(askOn(tower)).rejects.toEqual(refusal('ticket_used'));
    expect(await membersOf(desk)).toEqual(['desk', 'laptop']);
  });
});

const nonceOf = (fill: number) => new Uint8Array(32).fill(fill);

/** A machine that begins a check by hand. */
async function begin(
  peer: HandPeer,
  fill = 5,
): Promise<{ ns: string; nonce: Uint8Array; answer: JoinAnswer }> {
  const nonce = nonceOf(fill);
  const answer = await peer.join(ticket, { commit: joinCommitment(nonce) });
  return { ns: parseTicket(ticket).ns, nonce, answer };
}

describe('a thief of the ticket', () => {
  test('shows other digits than the rightful joiner, and is not let in by those of the latter', async () => {
    const thief = await team.hand(9);
    const { ns, nonce } = await begin(thief);
    void thief.ask(desk.peerId, { v: 1, k: 'reveal', ns, nonce });
    const mine = codeOf(await ask(laptop));
    const shown = await codes();
    expect(shown).toHaveLength(2);
    expect(new Set(shown).size).toBe(2);
    await decide(mine, true);
    expect(await ask(laptop)).toMatchObject({ joined: true });
    const asking = thief.ask(desk.peerId, { v: 1, k: 'reveal', ns, nonce });
    await team.clock.advance(10_000);
    expect(await asking).toEqual({ k: 'refused', code: 'ticket_used' });
    expect(await membersOf(desk)).toEqual(['desk', 'laptop']);
  });

  test('sees the digits that follow from both nonces and both machines', async () => {
    const thief = await team.hand(9);
    const { ns, nonce, answer } = await begin(thief);
    if (answer.k !== 'check') throw new Error(answer.k);
    void thief.ask(desk.peerId, { v: 1, k: 'reveal', ns, nonce });
    await turn();
    const bound = { ns, inviter: desk.peerId, joiner: thief.peerId };
    expect(await codes()).toEqual([
      joinCheckCode({ ...bound, inviterNonce: answer.nonce, joinerNonce: nonce }),
    ]);
  });

  test('is refused when it opens another nonce than it committed to, and so is the right one after that', async () => {
    const thief = await team.hand(9);
    const { ns, nonce } = await begin(thief);
    const refused = { k: 'refused', code: 'ticket_refused' };
    for (const opened of [nonceOf(6), nonce]) {
      const asking = thief.ask(desk.peerId, { v: 1, k: 'reveal', ns, nonce: opened });
      // One that is not refused is answered after a while.
      await team.clock.advance(10_000);
      expect(await asking).toEqual(refused);
    }
    expect(await checks()).toEqual([]);
  });

  test('is refused without a commitment, and without having asked to join', async () => {
    const thief = await team.hand(9);
    const { ns } = parseTicket(ticket);
    const refused = { k: 'refused', code: 'ticket_refused' };
    expect(await thief.ask(desk.peerId, { v: 1, k: 'reveal', ns, nonce: nonceOf(1) })).toEqual(refused);
    expect(await thief.join(ticket)).toEqual(refused);
    const proof = new Uint8Array(32);
    expect(await thief.join(ticket, { proof, commit: joinCommitment(nonceOf(1)) })).toEqual(refused);
    expect(await checks()).toEqual([]);
    expect(codeOf(await ask(laptop))).toBe((await codes())[0]);
  });

  test('that shows no digits is not in the list', async () => {
    await begin(await team.hand(9));
    expect(await checks()).toEqual([]);
  });

  test('has eight tries in all; after them nobody has one', async () => {
    const thief = await team.hand(9);
    const tries: JoinAnswer['k'][] = [];
    for (let count = 0; count < 10; count++) tries.push((await begin(thief, count + 1)).answer.k);
    expect(tries).toEqual([...Array<string>(8).fill('check'), 'refused', 'refused']);
    await expect(ask(laptop)).rejects.toEqual(refusal('ticket_refused'));
    ticket = await invite();
    codeOf(await ask(laptop));
  });

  test('cannot turn the rightful joiner away: a check is of one machine', async () => {
    const mine = codeOf(await ask(laptop));
    const thief = await team.hand(9);
    const { ns } = await begin(thief);
    await thief.ask(desk.peerId, { v: 1, k: 'reveal', ns, nonce: nonceOf(99) });
    expect(await codes()).toEqual([mine]);
    await decide(mine, true);
    expect(await ask(laptop)).toMatchObject({ joined: true });
  });

  test('that changes its nonce after it has seen the digits has another check, with its own digits', async () => {
    const thief = await team.hand(9);
    const { ns, nonce } = await begin(thief);
    void thief.ask(desk.peerId, { v: 1, k: 'reveal', ns, nonce });
    await turn();
    const [before] = await codes();
    const second = await begin(thief, 6);
    expect(await codes()).toEqual([]);
    await expect(decide(before!, true)).rejects.toEqual(refusal('not_found'));
    void thief.ask(desk.peerId, { v: 1, k: 'reveal', ns, nonce: second.nonce });
    await turn();
    expect(await codes()).toHaveLength(1);
  });
});
