import { encode } from '../../protocol/codec.ts';
import { newId } from '../../protocol/ids.ts';
import { GOSSIP_MESH_MAX, PRESENCE_TICK_MS } from '../../protocol/limits.ts';
import { pad } from '../../protocol/padding.ts';
import type { PresenceMessage } from '../../protocol/presence/message.ts';
import { newPresence, stepPresence, type PresenceEvent } from '../../protocol/presence/presence.ts';
import type { Verdict } from '../../protocol/presence/receive.ts';
import { isHere, type PresenceEffect, type PresenceState } from '../../protocol/presence/state.ts';
import { readPresence, type PresenceContent } from '../../protocol/presence/statement.ts';
import { signerFromSeed, type Signer } from '../../protocol/signing.ts';
import { SeededRandom } from '../sim/random.ts';
import { EventQueue } from './event-queue.ts';

/**
 * Many machines that run protocol/presence, on modelled links and a modelled gossip mesh, in virtual time. The same seed
 * gives the same run. Bytes are counted as they would be on the wire, with what carries them.
 */
export interface MeshOptions {
  seed: number;
  machines: number;
  /** Links of one machine; all of them when there are fewer others. */
  links?: number;
  agents?: number;
}

const NS = 'ab'.repeat(32);
const START_MS = 1_790_000_000_000;
/** gossipsub's D: each machine's part of the mesh. */
const GOSSIP_DEGREE = 6;
/** A lost gossip stream is opened again within that; so is a place in the mesh filled. */
const MEND_MS = 1_000;
const LATENCY_MS = [2, 60] as const;
/** Frame, yamux, noise, TCP and IP around a box; gossip has topic and protobuf instead of the frame. */
const AROUND_BYTES = 12 + 18 + 52;
const FRAME_BYTES = 96;
const GOSSIP_BYTES = 40;

export interface SimMachine {
  readonly index: number;
  readonly signer: Signer;
  readonly peerId: string;
  state: PresenceState;
  isUp: boolean;
  /** Of its own clock. */
  skewMs: number;
  content: PresenceContent;
  readonly links: Set<SimMachine>;
  readonly gossip: Set<SimMachine>;
  readonly seen: Set<number>;
  bytesIn: number;
  bytesOut: number;
  starts: number;
}

export class Mesh {
  readonly random: SeededRandom;
  readonly machines: SimMachine[] = [];
  nowMs = 0;
  /** Whether what one sends to another is lost, though their link seems up. */
  loses: (from: SimMachine, to: SimMachine) => boolean = () => false;
  /** Sees every message that arrives. */
  onMessage: (to: SimMachine, from: SimMachine, message: PresenceMessage) => void = () => {};
  readonly #queue = new EventQueue();
  readonly #read = new Map<Uint8Array, ReturnType<typeof readPresence>>();
  #messages = 0;
  readonly #options: Required<MeshOptions>;

  constructor(options: MeshOptions) {
    this.#options = { links: 64, agents: 3, ...options };
    this.random = new SeededRandom(`${options.seed}`);
    for (let index = 0; index < options.machines; index++) this.machines.push(this.#machine(index));
    this.#linkAll();
    this.#warmUp();
    for (const machine of this.machines) this.#tick(machine, this.random.fraction() * PRESENCE_TICK_MS);
  }

  get up(): SimMachine[] {
    return this.machines.filter(({ isUp }) => isUp);
  }

  run(forMs: number): void {
    const endMs = this.nowMs + forMs;
    for (let next = this.#queue.take(endMs); next; next = this.#queue.take(endMs)) {
      this.nowMs = Math.max(this.nowMs, next.atMs);
      next.run();
    }
    this.nowMs = endMs;
  }

  after(delayMs: number, run: () => void): void {
    this.#queue.add(this.nowMs + delayMs, run);
  }

  /** How long until the condition holds, looked at every 100 ms; Infinity when it does not within `withinMs`. */
  until(condition: () => boolean, withinMs: number): number {
    const startMs = this.nowMs;
    while (!condition()) {
      if (this.nowMs - startMs >= withinMs) return Infinity;
      this.run(100);
    }
    return this.nowMs - startMs;
  }

  /** Whether everybody who is up sees exactly those who are. */
  agrees(watching = this.up, truth = (machine: SimMachine): boolean => machine.isUp): boolean {
    return watching.every(({ state }) =>
      this.machines.every((machine) => (isHere(state, machine.peerId) ?? false) === truth(machine)),
    );
  }

  step(machine: SimMachine, event: PresenceEvent): Verdict | undefined {
    const { effects, verdict } = stepPresence(machine.state, event, this.nowMs + machine.skewMs);
    for (const effect of effects) this.#effect(machine, effect);
    return verdict;
  }

  /** Something else is to be said of its agents. */
  change(machine: SimMachine, client: string): void {
    const agents = machine.content.roster.agents.map((card) => ({ ...card, client }));
    machine.content = { ...machine.content, roster: { ...machine.content.roster, agents } };
    this.step(machine, { type: 'content', content: machine.content });
  }

  /** Its process is gone: every link breaks at once; without power they fall silent, and break after `silentMs`. */
  crash(machine: SimMachine, silentMs = 0): void {
    machine.isUp = false;
    for (const other of machine.links) {
      // Each looks for itself whether its links are alive.
      const breakMs = silentMs === 0 ? this.#latency() : silentMs * (0.75 + 0.25 * this.random.fraction());
      this.after(breakMs, () => this.unlink(other, machine, silentMs > 0));
    }
  }

  leave(machine: SimMachine): void {
    this.step(machine, { type: 'content', content: { ...machine.content, left: true } });
    this.after(50, () => this.crash(machine));
  }

  /** Another start of it, with nothing left of what it knew; its clock may be set otherwise. */
  start(machine: SimMachine, skewMs = machine.skewMs): void {
    Object.assign(machine, {
      isUp: true,
      skewMs,
      starts: machine.starts + 1,
      state: this.#state(machine, skewMs),
    });
    this.step(machine, { type: 'content', content: machine.content });
    for (const other of this.up)
      if (other !== machine && this.#options.machines <= this.#options.links + 1) this.link(machine, other);
    for (const other of this.#some(this.up, this.#options.links)) this.link(machine, other);
    this.#tick(machine, PRESENCE_TICK_MS);
  }

  link(a: SimMachine, b: SimMachine): void {
    if (a === b || a.links.has(b) || !a.isUp || !b.isUp) return;
    a.links.add(b);
    b.links.add(a);
    this.step(a, { type: 'link-up', machine: b.peerId });
    this.step(b, { type: 'link-up', machine: a.peerId });
    this.after(this.random.fraction() * MEND_MS, () => this.#fillGossip(a));
    this.after(this.random.fraction() * MEND_MS, () => this.#fillGossip(b));
  }

  unlink(a: SimMachine, b: SimMachine, silent = false): void {
    if (!a.links.delete(b)) return;
    b.links.delete(a);
    this.resetGossip(a, b);
    for (const [one, other] of [[a, b] as const, [b, a] as const])
      if (one.isUp) this.step(one, { type: 'link-down', machine: other.peerId, silent });
  }

  /** Their gossip streams are reset, though the link lives on; each notices within a second. */
  resetGossip(a: SimMachine, b: SimMachine): void {
    a.gossip.delete(b);
    b.gossip.delete(a);
    for (const one of [a, b]) this.after(MEND_MS, () => this.#fillGossip(one));
  }

  /** Sends something by hand, as a liar would. */
  inject(from: SimMachine, to: SimMachine, message: PresenceMessage): void {
    this.#send(from, to, message);
  }

  publish(from: SimMachine, message: PresenceMessage): void {
    const id = (this.#messages += 1);
    from.seen.add(id);
    const sizeBytes = this.#size(message, GOSSIP_BYTES);
    for (const to of from.gossip) this.#gossip(from, to, { id, message, sizeBytes });
  }

  #machine(index: number): SimMachine {
    const signer = signerFromSeed(this.random.bytes(32));
    const roster = {
      platform: 'linux x64',
      agents: Array.from({ length: this.#options.agents }, () => ({
        id: newId(START_MS, (length) => this.random.bytes(length)),
        online: true,
        last_seen: START_MS,
        client: 'claude-code 2.1.330',
      })),
    };
    const content: PresenceContent = {
      boot: newId(START_MS, (length) => this.random.bytes(length)),
      left: false,
      roster,
      prekey: { seq: 20_000, hash: this.random.bytes(32) },
      log: new Uint8Array(32),
    };
    const machine = {
      index,
      signer,
      peerId: signer.peerId,
      isUp: true,
      skewMs: Math.floor((this.random.fraction() - 0.5) * 86_400_000),
      content,
      links: new Set<SimMachine>(),
      gossip: new Set<SimMachine>(),
      seen: new Set<number>(),
      bytesIn: 0,
      bytesOut: 0,
      starts: 0,
    };
    return Object.assign(machine, { state: this.#state(machine, machine.skewMs) });
  }

  #state({ signer }: Pick<SimMachine, 'signer'>, skewMs: number): PresenceState {
    const state = newPresence({
      ns: NS,
      seq: START_MS + this.nowMs + skewMs,
      signer,
      randomBytes: (length) => this.random.bytes(length),
      // One statement is read once, and not by everybody.
      read: (bytes, ns) => {
        const known = this.#read.get(bytes);
        if (known) return known;
        const made = readPresence(bytes, ns);
        made.verify();
        const kept = { statement: made.statement, verify: () => {} };
        this.#read.set(bytes, kept);
        return kept;
      },
    });
    stepPresence(state, { type: 'members', machines: this.machines.map(({ peerId }) => peerId) }, 0);
    return state;
  }

  #linkAll(): void {
    const { machines, links } = this.#options;
    for (const [index, a] of this.machines.entries()) {
      const others =
        machines <= links + 1 ? this.machines.slice(index + 1) : this.#some(this.machines, links / 2);
      for (const b of others) {
        if (a === b) continue;
        a.links.add(b);
        b.links.add(a);
      }
    }
    for (const machine of this.machines) this.#fillGossip(machine);
  }

  /** All have run for a while and know each other. */
  #warmUp(): void {
    const members = this.machines.map(({ peerId }) => peerId);
    for (const machine of this.machines) {
      stepPresence(machine.state, { type: 'members', machines: members }, 0);
      stepPresence(machine.state, { type: 'content', content: machine.content }, machine.skewMs);
    }
    const statements = this.machines.map(({ state, peerId }) => state.entries.get(peerId)!.statement.bytes);
    for (const { state, skewMs, links } of this.machines) {
      const from = [...links][0]!.peerId;
      for (let at = 0; at < statements.length; at += 50) {
        const message = { statements: statements.slice(at, at + 50) };
        stepPresence(state, { type: 'message', from, via: 'gossip', message }, skewMs);
      }
      state.fresh.clear();
      for (const { peerId } of links) state.linked.add(peerId);
      state.own!.beatDueMs = skewMs + this.random.fraction() * 15_000;
    }
  }

  #fillGossip(machine: SimMachine): void {
    if (!machine.isUp) return;
    const free = [...machine.links].filter(
      (other) => other.isUp && !machine.gossip.has(other) && other.gossip.size < GOSSIP_MESH_MAX,
    );
    for (const other of this.#some(free, Math.max(0, GOSSIP_DEGREE - machine.gossip.size))) {
      machine.gossip.add(other);
      other.gossip.add(machine);
    }
  }

  #some<T>(from: readonly T[], count: number): T[] {
    const rest = [...from];
    const some: T[] = [];
    while (some.length < count && rest.length > 0) {
      const at = Math.floor(this.random.fraction() * rest.length);
      some.push(rest[at]!);
      rest[at] = rest.at(-1)!;
      rest.pop();
    }
    return some;
  }

  #tick(machine: SimMachine, delayMs: number): void {
    const { starts } = machine;
    this.after(delayMs, () => {
      if (!machine.isUp || machine.starts !== starts) return;
      this.step(machine, { type: 'tick' });
      this.#tick(machine, PRESENCE_TICK_MS);
    });
  }

  #effect(machine: SimMachine, effect: PresenceEffect): void {
    if (effect.type === 'changed') return;
    if (effect.type === 'publish') return this.publish(machine, effect.message);
    const to = [...machine.links].find(({ peerId }) => peerId === effect.to);
    if (to) this.#send(machine, to, effect.message);
  }

  #send(from: SimMachine, to: SimMachine, message: PresenceMessage): void {
    this.#travel(from, to, this.#size(message, FRAME_BYTES), () => {
      this.onMessage(to, from, message);
      this.step(to, { type: 'message', from: from.peerId, via: 'link', message });
    });
  }

  #gossip(
    from: SimMachine,
    to: SimMachine,
    one: { id: number; message: PresenceMessage; sizeBytes: number },
  ): void {
    this.#travel(from, to, one.sizeBytes, () => {
      if (to.seen.has(one.id)) return;
      to.seen.add(one.id);
      this.onMessage(to, from, one.message);
      const verdict = this.step(to, {
        type: 'message',
        from: from.peerId,
        via: 'gossip',
        message: one.message,
      });
      if (verdict !== 'accept') return;
      for (const next of to.gossip) if (next !== from) this.#gossip(to, next, one);
    });
  }

  #travel(from: SimMachine, to: SimMachine, sizeBytes: number, arrive: () => void): void {
    from.bytesOut += sizeBytes;
    const { starts } = to;
    this.after(this.#latency(), () => {
      if (!to.isUp || to.starts !== starts || !from.links.has(to) || this.loses(from, to)) return;
      to.bytesIn += sizeBytes;
      arrive();
    });
  }

  #latency(): number {
    const [least, most] = LATENCY_MS;
    return least + this.random.fraction() * (most - least);
  }

  /** With statements boxes are padded to 512 bytes at least, see protocol/presence/message.ts. */
  #size(message: PresenceMessage, aroundBytes: number): number {
    const padded = pad(encode(message), message.statements ? 512 : 64);
    return padded.length + 32 + aroundBytes + AROUND_BYTES;
  }
}
