import type { Session } from '../../mcp/messenger.ts';
import { overlayOf, type Overlay } from '../../protocol/mesh/overlay.ts';
import { Team } from './team.ts';
import { admit, type TestMachine } from './wire.ts';

/** Twelve machines that keep four links each: up to four links lie between two of them. */
export const LINKS = 4;
export const LABELS = Array.from({ length: 12 }, (_none, at) => `m${at}`);

/** Machines of one namespace, one agent on each with the machine's name; only neighbours can reach each other. */
export interface MeshWorld {
  team: Team;
  ns: string;
  overlay: Overlay;
  machines: Map<string, TestMachine>;
  agents: Map<string, Session>;
  labelOf(peerId: string): string;
  /** Labels of the neighbours of a machine. */
  neighbours(label: string): string[];
  distance(from: string, to: string): number;
  restart(label: string): Promise<void>;
  stop(label: string): Promise<void>;
}

export async function meshWorld(labels = LABELS, { gossips = false } = {}): Promise<MeshWorld> {
  const team = new Team(LINKS);
  team.wire.gossips = gossips;
  const machines = new Map<string, TestMachine>();
  const agents = new Map<string, Session>();
  for (const [at, label] of labels.entries()) machines.set(label, await team.start(at + 1, label));
  const [first] = machines.values();
  const { id: ns } = await first!.admin.createNamespace('myproject');
  for (const machine of machines.values()) {
    if (machine !== first) await admit(first!, machine);
    await team.clock.advance(1_000);
  }
  for (const [label, machine] of machines) agents.set(label, await team.open(machine, label));
  const { places } = await team.log(first!, ns);
  const overlay = overlayOf(places, new Set(), LINKS);
  for (const a of machines.values())
    for (const b of machines.values()) if (overlay.distance(a.peerId, b.peerId) > 1) team.cut(a, b);
  // Until the links for a time are given up.
  await team.clock.advance(120_000);
  const peer = (label: string) => machines.get(label)!.peerId;
  const labelOf = (peerId: string) => [...machines].find(([, one]) => one.peerId === peerId)![0];
  return {
    team,
    ns,
    overlay,
    machines,
    agents,
    labelOf,
    neighbours: (label) => overlay.neighbours(peer(label)).map(labelOf).sort(),
    distance: (from, to) => overlay.distance(peer(from), peer(to)),
    async restart(label) {
      machines.set(label, await team.again(machines.get(label)!));
      agents.set(label, await team.open(machines.get(label)!, label));
    },
    async stop(label) {
      await team.stop(machines.get(label)!);
    },
  };
}
