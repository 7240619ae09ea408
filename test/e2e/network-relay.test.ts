import { afterEach, describe, expect, test } from 'vitest';
import type { Frame } from '../../protocol/frame.ts';
import { start, stopAll, type Machine, type MachineOptions } from './network-machine.ts';

afterEach(stopAll);

const parcel = (n: number, sizeBytes = 100): Frame => ({
  t: 'parcel',
  n,
  envelope: new Uint8Array(sizeBytes),
});
const numbers = ({ frames }: Machine): number[] =>
  frames.map((frame) => (frame.t === 'parcel' ? frame.n : -1));

/** A relay; whom it passes on to whom is for the test to say. */
function relay(options: Partial<MachineOptions['handlers']> = {}): Promise<Machine> {
  return start({ handlers: { relays: () => true, mayRelay: () => true, ...options } });
}

/** A machine that nobody can dial, linked with a relay. */
async function behind(
  hub: Machine,
  handlers: NonNullable<MachineOptions['handlers']> = {},
  listen: string[] = [],
): Promise<Machine> {
  const machine = await start({ listen, handlers });
  machine.name(hub);
  await Promise.all([machine.linked(hub), hub.linked(machine)]);
  return machine;
}

/** Names machines, at addresses that a test gives, and the relay. */
function know(machine: Machine, hub: Machine, others: Record<string, string[]>): void {
  machine.network.setPeers(new Map([[hub.peerId, hub.network.addresses()], ...Object.entries(others)]));
}

const linkTo = (machine: Machine, peer: Machine) =>
  machine.network.links().find(({ peerId }) => peerId === peer.peerId);

describe('a relay', () => {
  test('links two machines that nobody can dial, and says so', async () => {
    const hub = await relay();
    const [b, c] = [await behind(hub), await behind(hub)];
    expect(c.network.addresses()).toEqual([`${hub.network.addresses()[0]}/p2p-circuit/p2p/${c.peerId}`]);
    know(b, hub, { [c.peerId]: c.network.addresses() });
    await Promise.all([b.linked(c), c.linked(b)]);
    expect(linkTo(b, c)).toMatchObject({ up: true, relay: hub.peerId });
    expect(linkTo(b, c)!.address).toContain(`/p2p/${hub.peerId}/p2p-circuit/p2p/${c.peerId}`);
    expect(linkTo(b, hub)!.relay).toBeUndefined();
    for (let n = 0; n < 400; n++) b.network.send(c.peerId, [parcel(n, 2_000)]);
    await c.until(() => c.frames.length === 400);
    expect(numbers(c)).toEqual([...Array(400).keys()]);
    expect(hub.frames).toEqual([]);
  });

  test('is tried for a machine of which no address is known', async () => {
    const hub = await relay();
    const [b, c] = [await behind(hub), await behind(hub)];
    know(b, hub, { [c.peerId]: [] });
    await Promise.all([b.linked(c), c.linked(b)]);
    expect(linkTo(b, c)!.relay).toBe(hub.peerId);
  });

  test('reaches a machine for one that has no link with it', async () => {
    const hub = await relay();
    const [b, c] = [await start({ listen: [] }), await behind(hub)];
    b.network.setPeers(new Map([[c.peerId, c.network.addresses()]]));
    await Promise.all([b.linked(c), c.linked(b)]);
    expect(linkTo(b, c)!.relay).toBe(hub.peerId);
  });

  test('addresses through it are told and taken back as its link comes and goes', async () => {
    let changes = 0;
    const hub = await relay();
    const b = await behind(hub, { addressesChanged: () => void (changes += 1) });
    expect([changes, b.network.addresses().length]).toEqual([1, 1]);
    await hub.network.stop();
    await b.until(() => b.events.length === 2);
    expect([changes, b.network.addresses()]).toEqual([2, []]);
  });

  test('that is killed takes the link along, and the machines find another', async () => {
    const [hub, other] = [await relay(), await relay()];
    const [b, c] = [await behind(hub), await behind(hub)];
    const both = [hub, other].map((one): [string, readonly string[]] => [
      one.peerId,
      one.network.addresses(),
    ]);
    b.network.setPeers(new Map([...both, [c.peerId, []]]));
    c.network.setPeers(new Map(both));
    await Promise.all([b.linked(c), c.linked(b), b.linked(other), c.linked(other)]);
    const first = linkTo(b, c)!.relay === hub.peerId ? hub : other;
    await first.network.stop();
    await b.until(() => b.events.filter((event) => event === `up ${c.peerId}`).length === 2);
    expect(linkTo(b, c)!.relay).toBe(first === hub ? other.peerId : hub.peerId);
  });

  test('gives way to a direct way; what is acknowledged arrived once and in order', async () => {
    const hub = await relay();
    const [b, c] = [await behind(hub), await behind(hub, {}, ['/ip4/127.0.0.1/tcp/0'])];
    know(b, hub, { [c.peerId]: [] });
    await Promise.all([b.linked(c), c.linked(b)]);
    expect(linkTo(b, c)!.relay).toBe(hub.peerId);

    // As the couriers do: what was not acknowledged when a link broke is sent again on the next.
    let [acked, sent] = [0, 0];
    const arrived: number[] = [];
    c.onFrame = (peerId, frame) => {
      if (frame.t !== 'parcel') return;
      if (frame.n === arrived.length) arrived.push(frame.n);
      c.network.send(peerId, [{ t: 'ack', n: frame.n }]);
    };
    const pump = (): void => {
      while (sent < acked + 50 && sent < 5_000) if (!b.network.send(c.peerId, [parcel(sent++)])) sent -= 1;
    };
    b.onFrame = (_, frame) => {
      if (frame.t !== 'ack') return;
      acked = Math.max(acked, frame.n + 1);
      if (acked === 500) know(b, hub, { [c.peerId]: c.network.addresses() });
      pump();
    };
    pump();
    await b.until(() => b.events.filter((event) => event === `up ${c.peerId}`).length === 2);
    expect(linkTo(b, c)!.relay).toBeUndefined();
    sent = acked;
    pump();
    await b.until(() => acked === 5_000);
    expect(arrived).toEqual([...Array(5_000).keys()]);
    expect(b.events.filter((event) => event.includes(c.peerId))).toEqual([
      `up ${c.peerId}`,
      `down ${c.peerId} superseded`,
      `up ${c.peerId}`,
    ]);
  });
});

describe('a relay refuses', () => {
  /** The reason for which a machine could not be reached. */
  async function failure(from: Machine, to: Machine): Promise<string> {
    await from.until(() => linkTo(from, to)?.lastError !== undefined);
    return linkTo(from, to)!.lastError!;
  }

  test('who is no relay', async () => {
    const hub = await start({ handlers: { relays: () => false, mayRelay: () => true } });
    const [b, c] = [await behind(hub), await behind(hub)];
    expect(c.network.addresses()).toEqual([]);
    know(b, hub, { [c.peerId]: [`${hub.network.addresses()[0]}/p2p-circuit`] });
    expect(await failure(b, c)).toContain('it does not relay');
  });

  test('members of different namespaces', async () => {
    const hub = await relay({ mayRelay: () => false });
    const [b, c] = [await behind(hub), await behind(hub)];
    know(b, hub, { [c.peerId]: c.network.addresses() });
    expect(await failure(b, c)).toContain('share no namespace');
    expect(c.events.filter((event) => event.includes(b.peerId))).toEqual([]);
  });

  test('a machine that is not linked', async () => {
    const hub = await relay();
    const [b, c] = [await behind(hub), await start({ listen: [] })];
    know(b, hub, { [c.peerId]: [] });
    expect(await failure(b, c)).toContain('not linked with it now');
  });

  test('a stranger, at the gate', async () => {
    const hub = await relay();
    const c = await behind(hub);
    const stranger = await start({ listen: [] });
    hub.admits = (peerId) => peerId !== stranger.peerId;
    stranger.network.setPeers(new Map([[c.peerId, c.network.addresses()]]));
    await failure(stranger, c);
    expect(hub.events.filter((event) => event.includes(stranger.peerId))).toEqual([]);
    expect(c.events).toEqual([`up ${hub.peerId}`]);
  });

  test('what it let through, once the two share no namespace any more', async () => {
    let shared = true;
    const hub = await relay({ mayRelay: () => shared });
    const [b, c] = [await behind(hub), await behind(hub)];
    know(b, hub, { [c.peerId]: [] });
    await Promise.all([b.linked(c), c.linked(b)]);
    shared = false;
    hub.network.setPeers(new Map());
    await b.until(() => b.events.some((event) => event.startsWith(`down ${c.peerId}`)));
    await b.until(() => linkTo(b, c)!.lastError?.includes('share no namespace') === true);
    expect(linkTo(b, c)!.up).toBe(false);
  });

  test('the machine behind it refuses who is no member of its own, whatever the relay thinks', async () => {
    const hub = await relay();
    const [b, c] = [await behind(hub), await behind(hub)];
    c.admits = (peerId) => peerId === hub.peerId;
    know(b, hub, { [c.peerId]: [] });
    await failure(b, c);
    expect(c.events).toEqual([`up ${hub.peerId}`]);
  });
});

describe('a stranger with an invite', () => {
  const question = new Uint8Array([1, 2, 3]);

  async function invited(): Promise<{
    hub: Machine;
    inviter: Machine;
    joiner: Machine;
    ask: () => Promise<Uint8Array>;
  }> {
    const hub = await relay({ mayRelay: () => false });
    const inviter = await behind(hub);
    const joiner = await start({ listen: [] });
    hub.admits = (peerId) => peerId !== joiner.peerId;
    inviter.admits = (peerId) => peerId === hub.peerId;
    const addresses = inviter.network.addresses();
    return {
      hub,
      inviter,
      joiner,
      ask: () => joiner.network.requestJoin(inviter.peerId, addresses, question),
    };
  }

  test('reaches the inviter behind the relay, and only while it has invites', async () => {
    const { hub, inviter, joiner, ask } = await invited();
    await expect(ask()).rejects.toMatchObject({ code: 'peer_unreachable' });
    inviter.admitsJoin = () => true;
    inviter.network.expectGuests!(Date.now() + 60_000);
    // The relay hears of it a moment later.
    let answer: Uint8Array | undefined;
    while (answer === undefined) answer = await ask().catch(() => undefined);
    expect([...answer]).toEqual([1, 2, 3]);
    expect(inviter.asked).toEqual([joiner.peerId]);
    // It is no guest of the relay itself, which has no invites.
    await expect(
      joiner.network.requestJoin(hub.peerId, hub.network.addresses(), question),
    ).rejects.toMatchObject({ code: 'peer_unreachable' });
    expect(hub.asked).toEqual([]);

    inviter.network.expectGuests!(1);
    let refused = false;
    while (!refused)
      refused = await ask().then(
        () => false,
        () => true,
      );
    expect(refused).toBe(true);
  });

  test('reaches nobody else there', async () => {
    const { hub, inviter, joiner } = await invited();
    const other = await behind(hub);
    inviter.admitsJoin = () => true;
    inviter.network.expectGuests!(Date.now() + 60_000);
    const ask = (machine: Machine) =>
      joiner.network.requestJoin(machine.peerId, machine.network.addresses(), question);
    while ((await ask(inviter).catch(() => undefined)) === undefined);
    await expect(ask(other)).rejects.toThrow('no invite is open');
  });
});
