import { afterEach, describe, expect, test } from 'vitest';
import { parseTicket } from '../../protocol/ticket.ts';
import { MemoryKv } from '../sim/memory-kv.ts';
import { admit, HandClock, startMachine, turn, Wire, type TestMachine } from './wire.ts';

let machines: TestMachine[] = [];
afterEach(async () => {
  for (const machine of machines.splice(0)) await machine.stop();
});

/** Everything that ever was in a store, keys and values, also what was deleted: a disk keeps it. */
class RememberingKv extends MemoryKv {
  readonly written: Buffer[] = [];

  override async write(...[operations, options]: Parameters<MemoryKv['write']>): Promise<void> {
    for (const { key, value } of operations)
      this.written.push(Buffer.from(`\n${key}\n`), Buffer.from(value ?? []));
    await super.write(operations, options);
  }

  contains(text: string | Uint8Array): boolean {
    const bytes = Buffer.from(text);
    const disk = Buffer.concat(this.written);
    const spelled = (['hex', 'base64', 'base64url'] as const).map((form) => bytes.toString(form));
    return [bytes, ...spelled].some((form) => disk.indexOf(form) >= 0);
  }
}

test('nothing that is stored can be read without the store key', async () => {
  const wire = new Wire();
  const clock = new HandClock();
  const [deskKv, laptopKv] = [new RememberingKv(), new RememberingKv()];
  const desk = await startMachine(wire, { seed: 1, label: 'desk-label', clock, kv: deskKv });
  const laptop = await startMachine(wire, { seed: 2, label: 'laptop-label', clock, kv: laptopKv });
  machines = [desk, laptop];
  await desk.admin.createNamespace('hidden-project');
  const { ticket } = await desk.admin.invite('hidden-project');
  await laptop.admin.join(ticket);
  await turn();
  const ada = await desk.messenger.open({ agent: 'ada-the-agent@hidden-project', client: 'hidden-client 1' });
  const bob = await laptop.messenger.open({
    agent: 'bob-the-agent@hidden-project',
    client: 'hidden-client 2',
  });
  await turn();
  const { token } = await desk.admin.newToken('ada-the-agent@hidden-project');
  await ada.send({ to_agent: 'bob-the-agent', content: 'the launch code is 0000', thread: 'launch-thread' });
  await turn();
  const { pending } = await bob.inbox({ all_agents: false });
  await bob.reply({
    message_id: pending[0]!.message_id,
    content: 'understood, 0000 it is',
    defer: false,
    resolve: true,
  });
  await ada.inbox({ all_agents: false });
  await ada.send({ to_agent: 'ada-the-agent', content: 'note to myself', thread: '' });

  const secrets: [string, string | Uint8Array][] = [
    ['a message', 'launch code'],
    ['a reply', 'understood'],
    ['a note', 'note to myself'],
    ['a token', token],
    ['a token without its prefix', token.slice(4)],
    ['the secret of an invite', parseTicket(ticket).secret],
    ['an agent name', 'ada-the-agent'],
    ['a namespace name', 'hidden-project'],
    ['a machine label', 'laptop-label'],
    ['a client', 'hidden-client'],
    ['a thread', 'launch-thread'],
  ];
  for (const kv of [deskKv, laptopKv]) {
    expect(kv.written.length).toBeGreaterThan(20);
    expect(secrets.filter(([, secret]) => kv.contains(secret)).map(([what]) => what)).toEqual([]);
  }
});

describe('a damaged store', () => {
  test('is not taken for an empty one', async () => {
    const wire = new Wire();
    const clock = new HandClock();
    const kv = new MemoryKv();
    const desk = await startMachine(wire, { seed: 1, label: 'desk', clock, kv });
    const laptop = await startMachine(wire, { seed: 2, label: 'laptop', clock });
    machines = [laptop];
    await desk.admin.createNamespace('myproject');
    await admit(desk, laptop);
    await desk.stop();
    const entries = await kv.range({ from: 'statement/', to: 'statement0', limit: 1 });
    expect(entries).toHaveLength(1);
    const damaged = entries.map(([key, value]) => ({
      key,
      value: value.map((byte, at) => (at === 30 ? byte ^ 1 : byte)),
    }));
    await kv.write(damaged, { sync: true });
    const again = await startMachine(wire, { seed: 1, label: 'desk', clock, kv });
    machines.push(again);
    // Who is a member is not guessed from what is left.
    expect(await again.admin.namespaces()).toEqual([]);
    expect((await again.admin.status()).damage?.findings).toEqual([
      expect.objectContaining({ kind: 'damaged', what: expect.stringContaining('a statement of namespace') }),
    ]);
  });
});
