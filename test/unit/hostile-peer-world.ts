import { expect } from 'vitest';
import { systemRandom } from '../../daemon/clock.ts';
import type { Log } from '../../daemon/log.ts';
import type { Session } from '../../mcp/messenger.ts';
import type { Party } from '../../protocol/letter.ts';
import { sha256Hex } from '../../protocol/digest.ts';
import { HandPeer } from './hand-peer.ts';
import { hostileWorld, id, type HostileWorld } from './postoffice-world.ts';
import { startMachine, turn, type TestMachine } from './wire.ts';

/**
 * Beside the desk and mal: laptop is a member with bob on it. Old was a member and is removed; it still shares the
 * namespace `other` with desk and laptop, so its links stand. Gone was removed and shares nothing. Out never was in.
 */
export interface Circle extends HostileWorld {
  laptop: TestMachine;
  bob: Session;
  bobParty: Party;
  old: HandPeer;
  oldParty: Party;
  gone: HandPeer;
  out: HandPeer;
  otherNs: string;
  /** What desk and laptop have said in their logs since the last look, each as `text: code`. */
  warned(): string[];
}

export async function circle(): Promise<Circle> {
  const lines: string[] = [];
  const note = (fields: object, text: string): void => {
    const why = 'code' in fields ? String(fields.code) : '';
    lines.push(why === '' ? text : `${text}: ${why}`);
  };
  const log: Log = { debug: () => undefined, info: note, warn: note, error: note };
  const world = await hostileWorld(log);
  const { wire, clock, desk, ns } = world;
  const more = { clock, random: systemRandom, log };
  const laptop = await startMachine(wire, { seed: 2, label: 'laptop', ...more });
  await laptop.admin.join((await desk.admin.invite('myproject')).ticket);
  const bob = await laptop.messenger.open({ agent: 'bob@myproject', client: 'test 1' });
  const { id: otherNs } = await desk.admin.createNamespace('other');
  await laptop.admin.join((await desk.admin.invite('other')).ticket);
  const [old, gone, out] = [new HandPeer(wire, 7), new HandPeer(wire, 6), new HandPeer(wire, 5)];
  for (const peer of [old, gone, out]) await peer.start();
  for (const peer of [old, gone]) await peer.join((await desk.admin.invite('myproject')).ticket);
  await old.join((await desk.admin.invite('other')).ticket);
  const oldParty = { id: id(0x01d), name: 'old' };
  old.host(ns, [oldParty]);
  await turn();
  old.answersHeads = false;
  gone.answersHeads = false;
  for (const { peerId } of [old, gone]) await desk.admin.removeMember('myproject', peerId);
  await turn();
  const bobParty = { id: (await laptop.admin.agents())[0]!.id, name: 'bob' };
  lines.length = 0;
  return {
    ...world,
    laptop,
    bob,
    bobParty,
    old,
    oldParty,
    gone,
    out,
    otherNs,
    warned: () => lines.splice(0),
  };
}

/** All that a machine has stored and shows; `but` names stored keys that are left out. */
async function stateOf(machine: TestMachine, but?: RegExp) {
  const records = await machine.kv.range({ from: '', to: '\uffff' });
  // Each batch is marked, whatever is in it.
  const stored = records
    .filter(([key]) => !key.startsWith('batch/') && !but?.test(key))
    .map(([key, bytes]) => [key, sha256Hex(bytes)]);
  const { admin } = machine;
  const namespaces = await admin.namespaces();
  const members = await Promise.all(namespaces.map(({ namespace }) => admin.members(namespace)));
  const agents = await admin.agents();
  const inboxes = await Promise.all(agents.map(({ agent }) => admin.peek(agent, 100)));
  return { stored, namespaces, members, agents, inboxes, status: await admin.status() };
}

/** Runs what a hostile peer does, and holds that nobody is the worse for it. */
export async function unharmed<T>(world: Circle, act: () => Promise<T> | T, but?: RegExp): Promise<T> {
  const machines = [world.desk, world.laptop];
  const before = await Promise.all(machines.map((machine) => stateOf(machine, but)));
  world.warned();
  const result = await act();
  await turn();
  const after = await Promise.all(machines.map((machine) => stateOf(machine, but)));
  for (const [index, state] of after.entries()) expect(state).toEqual(before[index]);
  return result;
}
