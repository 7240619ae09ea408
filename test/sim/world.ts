import { createHash } from 'node:crypto';
import { SimAgent } from './agent.ts';
import { VirtualTime } from './clock.ts';
import { Ledger } from './ledger.ts';
import { SimNode } from './node.ts';
import { SeededRandom } from './random.ts';
import { SimWire } from './wire.ts';

export interface SimOptions {
  seed: string;
  /** How many messages the agents try to send before the faults end. */
  messages: number;
  /** Receives every line of the event log. */
  onTrace?: (line: string) => void;
}

export const RED = 'red-team';
export const BLUE = 'blue-team';

/**
 * Three machines, two namespaces, seven agents. `west` is no member of the blue namespace: nothing blue may reach
 * it, whatever it says.
 */
export class World {
  readonly time = new VirtualTime();
  readonly ledger = new Ledger();
  readonly random: SeededRandom;
  readonly wire: SimWire;
  readonly nodes: { north: SimNode; south: SimNode; west: SimNode };
  readonly agents: SimAgent[] = [];
  /** Ids of the namespaces and, by address, of the agents. */
  redId = '';
  blueId = '';
  readonly agentIds = new Map<string, string>();
  readonly #options: SimOptions;
  readonly #hash = createHash('sha256');
  #left: number;

  constructor(options: SimOptions) {
    this.#options = options;
    this.#left = options.messages;
    this.random = new SeededRandom(options.seed);
    this.wire = new SimWire({
      time: this.time,
      random: this.random.fork('wire'),
      trace: (what, bytes) => this.trace(what, bytes),
      onDelivered: (peerId, bytes) => this.#lookForLeaks(peerId, bytes),
    });
    this.nodes = { north: this.#node('north'), south: this.#node('south'), west: this.#node('west') };
  }

  get all(): SimNode[] {
    return Object.values(this.nodes);
  }

  get isSpent(): boolean {
    return this.#left <= 0;
  }

  trace(what: string, bytes?: Uint8Array): void {
    const line = `${this.time.nowMs} ${what}`;
    this.#hash.update(line);
    // ML-KEM draws randomness of its own, so two runs differ in what an envelope's bytes are.
    if (bytes) this.#hash.update(isParcel(bytes) ? String(bytes.length) : bytes);
    this.#options.onTrace?.(bytes ? `${line} ${bytes.length}` : line);
  }

  digest(): string {
    return this.#hash.digest('hex');
  }

  addAgents(): void {
    const { north, south, west } = this.nodes;
    const red = [
      ['ana', north],
      ['ben', north],
      ['cleo', south],
      ['dan', west],
    ] as const;
    // The name ana exists in both.
    const blue = [
      ['ana', south],
      ['blue-eva', north],
      ['blue-fay', south],
    ] as const;
    for (const [namespace, agents] of [
      [RED, red],
      [BLUE, blue],
    ] as const) {
      for (const [name, node] of agents) {
        const others = agents.map(([other]) => other).filter((other) => other !== name);
        const agent = new SimAgent({
          name,
          namespace,
          node,
          others,
          time: this.time,
          random: this.random.fork(`agent ${name}@${namespace}`),
          ledger: this.ledger,
          trace: (what) => this.trace(what),
          maySend: () => this.#left-- > 0,
        });
        this.agents.push(agent);
      }
    }
  }

  #node(name: string): SimNode {
    return new SimNode({
      name,
      time: this.time,
      random: this.random.fork(name),
      wire: this.wire,
      trace: (what) => this.trace(what),
      onProblem: (kind, what) => this.ledger.problem('internal', `${kind}: ${what}`),
    });
  }

  #lookForLeaks(peerId: string, bytes: Uint8Array): void {
    // Every content holds a canary, and content crosses sealed only.
    if (Buffer.from(bytes).includes('-canary'))
      this.ledger.problem('leaked', 'content in the clear on the wire');
    if (peerId !== this.nodes?.west.signer.peerId || !this.blueId) return;
    const frame = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    for (const secret of ['blue-', this.blueId]) {
      if (frame.includes(secret)) this.ledger.problem('leaked', `${secret} in a frame to west`);
    }
  }
}

/** A parcel's type comes last but for its envelope: keys are sorted by length (RFC 8949 section 4.2.3). */
function isParcel(bytes: Uint8Array): boolean {
  return Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 40)).includes('fparcel');
}
