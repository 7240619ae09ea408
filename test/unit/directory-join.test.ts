import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { INVITE_TTL_MS, INVITE_TTL_MS_MAX, INVITES_MAX } from '../../protocol/limits.ts';
import { decodeJoinRequest, formatTicket, joinProof, parseTicket } from '../../protocol/ticket.ts';
import { HandPeer } from './hand-peer.ts';
import { HandClock, startMachine, turn, Wire, type TestMachine } from './wire.ts';

/** The desk invites; laptop and tower want in; time stands still. */
let wire: Wire;
let clock: HandClock;
let desk: TestMachine;
let laptop: TestMachine;
let tower: TestMachine;
let running: TestMachine[];

async function start(
  seed: number,
  label: string,
  more: { kv?: TestMachine['kv'] } = {},
): Promise<TestMachine> {
  const machine = await startMachine(wire, { seed, label, clock, ...more });
  running.push(machine);
  return machine;
}

beforeEach(async () => {
  wire = new Wire();
  clock = new HandClock();
  running = [];
  desk = await start(1, 'desk');
  laptop = await start(2, 'laptop');
  tower = await start(3, 'tower');
  await desk.admin.createNamespace('myproject');
});
afterEach(async () => {
  for (const machine of running) await machine.stop();
});

const refusal = (code: string) => expect.objectContaining({ name: 'PatchcordError', code });
const invite = async (ttlMs?: number) => (await desk.admin.invite('myproject', { ttlMs })).ticket;
const membersOf = async (machine: TestMachine) =>
  (await machine.admin.members('myproject')).map(({ machine: label }) => label).sort();

describe('a ticket', () => {
  test('lets one machine in; both see it, and each other', async () => {
    const joined = await laptop.admin.join(await invite());
    expect(joined).toMatchObject({ namespace: 'myproject', joined: true, admitted_by: 'desk' });
    await turn();
    for (const machine of [desk, laptop]) expect(await membersOf(machine)).toEqual(['desk', 'laptop']);
    expect((await desk.admin.members('myproject')).find(({ self }) => !self)).toMatchObject({
      role: 'member',
      online: true,
      peer_id: laptop.peerId,
    });
  });

  test('lets a second machine see the first, though neither let the other in', async () => {
    await laptop.admin.join(await invite());
    await tower.admin.join(await invite());
    await turn();
    for (const machine of [desk, laptop, tower])
      expect(await membersOf(machine)).toEqual(['desk', 'laptop', 'tower']);
    expect((await tower.admin.members('myproject')).every(({ online }) => online)).toBe(true);
  });

  test('is good for one machine', async () => {
    const ticket = await invite();
    await laptop.admin.join(ticket);
    await expect(tower.admin.join(ticket)).rejects.toEqual(refusal('ticket_used'));
    expect(await tower.admin.namespaces()).toEqual([]);
    expect(await membersOf(desk)).toEqual(['desk', 'laptop']);
  });

  test('may be used again by the machine that used it', async () => {
    const ticket = await invite();
    await laptop.admin.join(ticket);
    expect(await laptop.admin.join(ticket)).toMatchObject({ joined: false, namespace: 'myproject' });
    expect(await membersOf(desk)).toEqual(['desk', 'laptop']);
  });

  test('is answered alike when the first answer was lost', async () => {
    const peer = new HandPeer(wire, 9);
    await peer.start();
    const ticket = await invite();
    const first = await peer.join(ticket);
    const second = await peer.join(ticket);
    expect(first.k).toBe('admitted');
    expect(second).toEqual(first);
    expect(await membersOf(desk)).toEqual(['desk', 'stranger']);
  });

  test.each([1, 2, 3])('used by several machines at once lets exactly one in (%i)', async (round) => {
    const ticket = await invite();
    const peers = Array.from({ length: 5 }, (_none, index) => new HandPeer(wire, 20 + 10 * round + index));
    for (const peer of peers) await peer.start();
    const answers = await Promise.all(peers.map((peer) => peer.join(ticket)));
    expect(answers.filter(({ k }) => k === 'admitted')).toHaveLength(1);
    expect(answers.filter((answer) => answer.k === 'refused' && answer.code === 'ticket_used')).toHaveLength(
      4,
    );
    expect(await membersOf(desk)).toHaveLength(2);
  });

  test('used twice at once by one machine lets it in once', async () => {
    const ticket = await invite();
    const both = await Promise.allSettled([laptop.admin.join(ticket), laptop.admin.join(ticket)]);
    expect(both.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled']);
    await turn();
    expect(await membersOf(desk)).toEqual(['desk', 'laptop']);
    expect(await laptop.admin.namespaces()).toHaveLength(1);
  });

  test('holds until it expires by the clock of the inviter, and no longer', async () => {
    const [early, late] = [await invite(), await invite()];
    await clock.advance(INVITE_TTL_MS);
    await laptop.admin.join(early);
    await clock.advance(1);
    await expect(tower.admin.join(late)).rejects.toEqual(refusal('ticket_expired'));
    const peer = new HandPeer(wire, 9);
    await peer.start();
    await expect(peer.join(late)).rejects.toEqual(refusal('peer_unreachable'));
    await invite();
    expect(await peer.join(late)).toEqual({ k: 'refused', code: 'ticket_refused' });
    expect(await membersOf(desk)).toEqual(['desk', 'laptop']);
  });

  test('that expired is refused as such while another is open', async () => {
    const other = await invite(2 * INVITE_TTL_MS);
    const ticket = await invite();
    await clock.advance(INVITE_TTL_MS + 1);
    await expect(laptop.admin.join(ticket)).rejects.toEqual(refusal('ticket_expired'));
    expect(await laptop.admin.join(other)).toMatchObject({ joined: true });
  });

  test('survives a restart of the inviter, used or not', async () => {
    const [used, open] = [await invite(), await invite()];
    await laptop.admin.join(used);
    await desk.stop();
    running = running.filter((machine) => machine !== desk);
    desk = await start(1, 'desk', { kv: desk.kv });
    await expect(tower.admin.join(used)).rejects.toEqual(refusal('ticket_used'));
    expect(await tower.admin.join(open)).toMatchObject({ joined: true });
    await turn();
    expect(await membersOf(laptop)).toEqual(['desk', 'laptop', 'tower']);
  });

  test.for<[what: string, change: (text: string) => string, code: string]>([
    [
      'damaged',
      (text) => text.slice(0, 40) + (text[40] === 'A' ? 'B' : 'A') + text.slice(41),
      'ticket_damaged',
    ],
    ['cut short', (text) => text.slice(0, -10), 'ticket_damaged'],
    ['of another version', (text) => text.replace('pc1:', 'pc2:'), 'ticket_version'],
    [
      'with another secret',
      (text) => formatTicket({ ...parseTicket(text), secret: new Uint8Array(16) }),
      'ticket_refused',
    ],
    [
      'for another namespace',
      (text) => formatTicket({ ...parseTicket(text), ns: 'a'.repeat(64) }),
      'ticket_refused',
    ],
    [
      'of a machine that is not there',
      (text) => formatTicket({ ...parseTicket(text), peer: new HandPeer(wire, 77).peerId }),
      'peer_unreachable',
    ],
  ])('%s is refused', async ([, change, code]) => {
    await expect(laptop.admin.join(change(await invite()))).rejects.toEqual(refusal(code));
    expect(await membersOf(desk)).toEqual(['desk']);
    expect(await laptop.admin.namespaces()).toEqual([]);
  });

  test('with a later expiry written into it does not hold longer', async () => {
    const text = await invite();
    await invite(2 * INVITE_TTL_MS);
    await clock.advance(INVITE_TTL_MS + 1);
    const forged = formatTicket({ ...parseTicket(text), expires_at: clock.now() + 1_000_000 });
    await expect(laptop.admin.join(forged)).rejects.toEqual(refusal('ticket_expired'));
  });
});

describe('a join', () => {
  test.for<[what: string, proof: (secret: Uint8Array, ns: string, peer: HandPeer) => Uint8Array]>([
    [
      'the proof of another machine',
      (secret, ns) => joinProof(secret, { ns, inviter: desk.peerId, joiner: laptop.peerId }),
    ],
    [
      'a proof for another inviter',
      (secret, ns, peer) => joinProof(secret, { ns, inviter: laptop.peerId, joiner: peer.peerId }),
    ],
    [
      'a proof for another namespace',
      (secret, _ns, peer) =>
        joinProof(secret, { ns: 'a'.repeat(64), inviter: desk.peerId, joiner: peer.peerId }),
    ],
    ['the secret twice', (secret) => new Uint8Array([...secret, ...secret])],
    ['zeros', () => new Uint8Array(32)],
  ])('with %s is refused, and uses nothing up', async ([, proof]) => {
    const peer = new HandPeer(wire, 9);
    await peer.start();
    const ticket = await invite();
    const { secret, ns } = parseTicket(ticket);
    expect(await peer.join(ticket, { proof: proof(secret, ns, peer) })).toEqual({
      k: 'refused',
      code: 'ticket_refused',
    });
    expect(await laptop.admin.join(ticket)).toMatchObject({ joined: true });
  });

  test('that is no request is refused', async () => {
    const peer = new HandPeer(wire, 9);
    await peer.start();
    await invite();
    for (const bytes of [new Uint8Array(0), new Uint8Array(100), new Uint8Array(200_000).fill(0x81)]) {
      const answer = await peer.network.requestJoin(desk.peerId, [], bytes);
      expect(Buffer.from(answer).includes('ticket_refused')).toBe(true);
    }
    expect(await membersOf(desk)).toEqual(['desk']);
  });

  test('under a label that is taken gets a number', async () => {
    const second = await start(4, 'laptop');
    await laptop.admin.join(await invite());
    await second.admin.join(await invite());
    expect(await membersOf(desk)).toEqual(['desk', 'laptop', 'laptop-2']);
  });

  test('of a namespace whose name is taken here is refused', async () => {
    await laptop.admin.createNamespace('myproject');
    await expect(laptop.admin.join(await invite())).rejects.toEqual(refusal('namespace_exists'));
    expect(await laptop.admin.namespaces()).toHaveLength(1);
  });

  test('with no invite open finds nobody', async () => {
    const ticket = await invite(1_000);
    await clock.advance(1_001);
    await expect(laptop.admin.join(ticket)).rejects.toEqual(refusal('ticket_expired'));
  });

  test('outlasts restarts of both', async () => {
    await laptop.admin.join(await invite());
    for (const machine of [desk, laptop]) await machine.stop();
    running = [tower];
    desk = await start(1, 'desk', { kv: desk.kv });
    laptop = await start(2, 'laptop', { kv: laptop.kv });
    await turn();
    expect((await laptop.admin.members('myproject')).every(({ online }) => online)).toBe(true);
  });
});

describe('an invite', () => {
  test('is for admins to give', async () => {
    await laptop.admin.join(await invite());
    await expect(laptop.admin.invite('myproject')).rejects.toEqual(refusal('not_admin'));
    await expect(tower.admin.invite('myproject')).rejects.toEqual(refusal('unknown_namespace'));
  });

  test.for([0, 999, -1, NaN, Infinity, INVITE_TTL_MS_MAX + 1])('does not hold for %d ms', async (ttlMs) => {
    await expect(desk.admin.invite('myproject', { ttlMs })).rejects.toEqual(refusal('invalid_input'));
  });

  test.for([1_000, INVITE_TTL_MS_MAX])('holds for %d ms', async (ttlMs) => {
    const { expires_at: expiresAt } = await desk.admin.invite('myproject', { ttlMs });
    expect(Date.parse(expiresAt)).toBe(clock.now() + ttlMs);
  });

  test('is one of so many at once', async () => {
    for (let count = 0; count < INVITES_MAX; count++) await invite();
    await expect(invite()).rejects.toEqual(refusal('too_many'));
    await clock.advance(INVITE_TTL_MS + 1);
    await invite();
  });
});

describe('a role', () => {
  const roleOf = async (machine: TestMachine) => (await machine.admin.namespaces())[0]!.role;

  test.for([undefined, 'member', 'admin', 'keeper'] as const)('%s is what the ticket says', async (role) => {
    const { ticket } = await desk.admin.invite('myproject', { role });
    await laptop.admin.join(ticket);
    expect(await roleOf(laptop)).toBe(role ?? 'member');
    const seen = (await desk.admin.members('myproject')).find(({ self }) => !self);
    expect(seen!.role).toBe(role ?? 'member');
  });

  test('of an admin lets it invite, and remove', async () => {
    await laptop.admin.join((await desk.admin.invite('myproject', { role: 'admin' })).ticket);
    await tower.admin.join((await laptop.admin.invite('myproject')).ticket);
    await turn();
    expect(await membersOf(desk)).toEqual(['desk', 'laptop', 'tower']);
    await laptop.admin.removeMember('myproject', 'tower');
    await turn();
    expect(await membersOf(desk)).toEqual(['desk', 'laptop']);
  });

  test('of a keeper hosts no agents', async () => {
    await laptop.admin.join((await desk.admin.invite('myproject', { role: 'keeper' })).ticket);
    const refused = refusal('not_member');
    await expect(laptop.admin.addAgent('bob@myproject')).rejects.toEqual(refused);
    await expect(laptop.messenger.open({ agent: 'bob@myproject', client: 'x' })).rejects.toEqual(refused);
    await turn();
    expect((await desk.admin.namespaces())[0]!.agents).toEqual([]);
  });

  test('may be raised once', async () => {
    await laptop.admin.join((await desk.admin.invite('myproject', { role: 'keeper' })).ticket);
    expect(await desk.admin.promote('myproject', 'laptop')).toMatchObject({ role: 'admin' });
    await turn();
    expect(await roleOf(laptop)).toBe('admin');
    await expect(desk.admin.promote('myproject', 'laptop')).rejects.toEqual(refusal('invalid_input'));
  });
});

describe('a log that is longer than one answer', () => {
  /** Agents that come and go: so many statements. */
  async function churn(count: number): Promise<void> {
    for (let agent = 0; agent < count / 2; agent++) {
      await desk.admin.addAgent('passing@myproject');
      await desk.admin.removeAgent('passing@myproject');
    }
  }
  const asked = (machine: TestMachine) => {
    const requests: string[] = [];
    const network = wire.networks.get(desk.peerId)!;
    const find = network.joinHandlers.bind(network);
    network.joinHandlers = (peerId) => {
      const handlers = find(peerId);
      return (
        handlers && {
          ...handlers,
          join(from, bytes) {
            if (from === machine.peerId) requests.push(decodeJoinRequest(bytes).k);
            return handlers.join(from, bytes);
          },
        }
      );
    };
    return requests;
  };

  test('is learnt in several, before the join is done', { timeout: 60_000 }, async () => {
    await churn(1_200);
    await desk.admin.addAgent('last@myproject');
    const requests = asked(laptop);
    const join = laptop.admin.join(await invite());
    while (requests.length < 2) await turn();
    const joined = await join;
    expect(joined).toMatchObject({ joined: true, admitted_by: 'desk' });
    expect(requests[0]).toBe('join');
    expect(requests.filter((kind) => kind === 'standing').length).toBeGreaterThanOrEqual(3);
    expect((await laptop.admin.namespaces())[0]).toMatchObject({ agents: ['last@myproject'], members: 2 });
    expect(laptop.kv.keys('statement/')).toEqual(desk.kv.keys('statement/'));
  });

  test('is caught up on a link in several frames', { timeout: 60_000 }, async () => {
    await laptop.admin.join(await invite());
    wire.cut(desk.peerId, laptop.peerId);
    await churn(1_200);
    await desk.admin.addAgent('last@myproject');
    wire.mend(desk.peerId, laptop.peerId);
    for (let round = 0; round < 200; round++) await turn();
    expect(laptop.kv.keys('statement/')).toEqual(desk.kv.keys('statement/'));
    expect((await laptop.admin.namespaces())[0]!.agents).toEqual(['last@myproject']);
  });
});

describe('a machine that was admitted while another member was off', () => {
  // A stranger is refused before it can say anything, and that is what it is until another member vouches for it.
  test('is refused by that one as long as nobody else is there', async () => {
    await tower.admin.join(await invite());
    await turn();
    await tower.stop();
    await laptop.admin.join(await invite());
    await desk.stop();
    running = [laptop];
    tower = await start(3, 'tower', { kv: tower.kv });
    await clock.advance(60_000);
    expect(await membersOf(tower)).toEqual(['desk', 'tower']);
    expect((await laptop.admin.members('myproject')).filter(({ online }) => online)).toHaveLength(1);
  });

  test('is known to it as soon as anybody brings it', async () => {
    await tower.admin.join(await invite());
    await turn();
    await tower.stop();
    await laptop.admin.join(await invite());
    running = [desk, laptop];
    tower = await start(3, 'tower', { kv: tower.kv });
    await turn();
    expect(await membersOf(tower)).toEqual(['desk', 'laptop', 'tower']);
    expect((await tower.admin.members('myproject')).every(({ online }) => online)).toBe(true);
  });
});

describe('a namespace', () => {
  test('is created once under a name', async () => {
    await expect(desk.admin.createNamespace('MyProject')).rejects.toEqual(refusal('namespace_exists'));
    await expect(desk.admin.createNamespace('my project')).rejects.toEqual(refusal('invalid_name'));
  });

  test('is created once, though asked for twice at the same time', async () => {
    const both = await Promise.allSettled([
      laptop.admin.createNamespace('twins'),
      laptop.admin.createNamespace('twins'),
    ]);
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(await laptop.admin.namespaces()).toHaveLength(1);
  });

  test('of the same name on two machines is two', async () => {
    const other = await laptop.admin.createNamespace('myproject');
    expect(other.id).not.toBe((await desk.admin.namespaces())[0]!.id);
  });
});
