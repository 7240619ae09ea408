import { createHash } from 'node:crypto';
import type { Frame } from '../../protocol/frame.ts';
import { readStatement } from '../../protocol/membership/statement.ts';
import { CLIENT, SimAgent } from './agent.ts';
import { VirtualTime } from './clock.ts';
import { Ledger, type Shown } from './ledger.ts';
import { labelOf, PLATFORM, SimNode } from './node.ts';
import { SeededRandom } from './random.ts';
import { SimWire } from './wire.ts';

export interface SimOptions {
  seed: string;
  /** How many messages the agents try to send before the faults end. */
  messages: number;
  /** With the real modules the bytes of envelopes differ from run to run: ML-KEM draws randomness of its own. */
  isReal: boolean;
  /** Whether an event log is kept, to be compared with that of another run. */
  isLogged: boolean;
  /** Receives every line of the event log. */
  onTrace?: (line: string) => void;
}

const BYTES_SIZE = 1 << 16;

export const RED = 'red-team';
export const BLUE = 'blue-team';

/** In the name of every agent. */
const QUILL = '-quill';
/** What no frame may hold in the clear: contents, and what machines announce of their agents. */
const SEALED = ['-canary', '-slug', CLIENT, PLATFORM, 'last_seen'];
/** Nor these, unless it tells statements of a log. */
const SAID_NOWHERE = [...SEALED, QUILL, labelOf(''), RED, BLUE];

/** What was put on a link to `east`. */
export interface Sent {
  atMs: number;
  from: string;
  frame: Frame['t'];
  isRed: boolean;
  /** Hashes of the statements that it tells. */
  statements: string[];
}

/**
 * Five machines, two namespaces, nine agents and those that come later. `west` is no member of the blue
 * namespace: nothing blue may reach it, whatever it says. `east` is a member of the red one for a while.
 */
export class World {
  readonly time = new VirtualTime();
  readonly ledger = new Ledger(this.time);
  readonly random: SeededRandom;
  readonly wire: SimWire;
  readonly nodes: Record<'north' | 'south' | 'west' | 'east' | 'center', SimNode>;
  readonly agents: SimAgent[] = [];
  /** Machines whose administrators may let others in and put them out of the red namespace. */
  readonly redAdmins: SimNode[];
  /** Names that agents write to, by namespace. */
  readonly known = { [RED]: new Set<string>(), [BLUE]: new Set<string>() };
  readonly sentToEast: Sent[] = [];
  /** By the seed `east` is in the blue namespace from the start, so that its links outlive its removal. */
  readonly eastIsBlue: boolean;
  /** In no frame, answer or record of `east`: it came up after everybody knew that it is out. */
  readonly afterwards = 'red-late-quill';
  /** Ids of the namespaces and, by address, of the agents. */
  redId = '';
  blueId = '';
  readonly agentIds = new Map<string, string>();
  readonly #options: SimOptions;
  readonly #hash = createHash('sha256');
  /** Of what was on the wire. */
  readonly #bytesHash = createHash('sha256');
  /** Of the event log and the wire, still to be hashed: few long updates cost less than many short ones. */
  #lines = '';
  readonly #bytes = new Uint8Array(BYTES_SIZE);
  #bytesAt = 0;
  #left: number;

  constructor(options: SimOptions) {
    this.#options = options;
    this.#left = options.messages;
    this.random = new SeededRandom(options.seed);
    this.wire = new SimWire({
      time: this.time,
      random: this.random.fork('wire'),
      trace: (what, bytes) => this.trace(what, bytes),
      onSent: (from, to, frame) => this.#noteSent(from, to, frame),
      onDelivered: (peerId, bytes) => this.#lookForLeaks(peerId, bytes),
      onAsked: (peerId, bytes) => this.#lookAtAsked(peerId, bytes),
    });
    this.nodes = {
      north: this.#node('north'),
      south: this.#node('south'),
      west: this.#node('west'),
      east: this.#node('east'),
      center: this.#node('center'),
    };
    this.redAdmins = [this.nodes.north];
    this.eastIsBlue = this.random.fork('east').chance(0.4);
  }

  get all(): SimNode[] {
    return Object.values(this.nodes);
  }

  /** Those that are in the red namespace from beginning to end. */
  get redMembers(): SimNode[] {
    const { north, south, west, center } = this.nodes;
    return [north, south, west, center];
  }

  get isSpent(): boolean {
    return this.#left <= 0;
  }

  /** How much of the messages was tried, from 0 to 1. */
  get spentShare(): number {
    return Math.min(1, 1 - this.#left / this.#options.messages);
  }

  /**
   * How many messages were shown though the machines of sender and recipient were at no moment between both
   * switched on: a mailbox had them.
   */
  countByMailbox(): number {
    const homeOf = (match: (agent: SimAgent) => boolean) => this.agents.find(match)?.node;
    const isAlone = ({ author, recipient, askedMs, shownMs }: Shown) => {
      const from = homeOf(({ pen }) => pen === author);
      const to = homeOf(({ address }) => address === recipient);
      return from && to && from !== to && !haveMet(from, to, askedMs, shownMs);
    };
    return this.ledger.shownOnce().filter(isAlone).length;
  }

  trace(what: string, bytes?: Uint8Array): void {
    const { isReal, isLogged } = this.#options;
    if (!isLogged) return;
    const line = `${this.time.nowMs} ${isReal ? what.replaceAll(ENVELOPE_KEYS, '$1') : what}\n`;
    this.#lines += bytes && isReal && isVarying(bytes) ? `${bytes.length} ${line}` : line;
    if (this.#lines.length > LINES_LENGTH) {
      this.#hash.update(this.#lines);
      this.#lines = '';
    }
    if (bytes && !(isReal && isVarying(bytes))) this.#noteBytes(bytes);
    this.#options.onTrace?.(bytes ? `${line.trimEnd()} ${bytes.length}` : line.trimEnd());
  }

  /** SHA-256 of the event log; empty when none is kept. */
  digest(): string {
    if (!this.#options.isLogged) return '';
    const bytes = this.#bytesHash.update(this.#bytes.subarray(0, this.#bytesAt)).digest();
    return this.#hash.update(this.#lines).update(bytes).digest('hex');
  }

  #noteBytes(bytes: Uint8Array): void {
    if (this.#bytesAt + bytes.length > BYTES_SIZE) {
      this.#bytesHash.update(this.#bytes.subarray(0, this.#bytesAt));
      this.#bytesAt = 0;
    }
    if (bytes.length > BYTES_SIZE) this.#bytesHash.update(bytes);
    else {
      this.#bytes.set(bytes, this.#bytesAt);
      this.#bytesAt += bytes.length;
    }
  }

  addAgents(): void {
    const { north, south, west, east, center } = this.nodes;
    this.addAgent(RED, `ana${QUILL}`, north);
    this.addAgent(RED, `red-ben${QUILL}`, north);
    this.addAgent(RED, `red-cleo${QUILL}`, south);
    this.addAgent(RED, `red-dan${QUILL}`, west);
    this.addAgent(RED, `red-ida${QUILL}`, center);
    // The name ana exists in both.
    this.addAgent(BLUE, `ana${QUILL}`, south);
    this.addAgent(BLUE, `blue-eva${QUILL}`, north);
    this.addAgent(BLUE, `blue-fay${QUILL}`, south);
    this.addAgent(BLUE, `blue-joy${QUILL}`, center);
    if (this.eastIsBlue) this.addAgent(BLUE, `blue-kim${QUILL}`, east);
  }

  /** An agent that others write to; it does nothing before it is run. */
  addAgent(namespace: typeof RED | typeof BLUE, name: string, node: SimNode, pen?: string): SimAgent {
    const known = this.known[namespace].add(name);
    const agent = new SimAgent({
      name,
      namespace,
      node,
      ...(pen === undefined ? {} : { pen }),
      others: () => [...known].filter((other) => other !== name),
      foreign: [namespace === RED ? 'blue-' : 'red-', ...(node === this.nodes.east ? [this.afterwards] : [])],
      time: this.time,
      random: this.random.fork(`agent ${pen ?? `${name}@${namespace}`}`),
      ledger: this.ledger,
      trace: (what) => this.trace(what),
      maySend: () => this.#left-- > 0,
    });
    this.agents.push(agent);
    return agent;
  }

  /** Starts what an agent does. */
  run(agent: SimAgent): void {
    const failed = (error: unknown) => this.ledger.problem('internal', `an agent failed: ${String(error)}`);
    agent.run().catch(failed);
  }

  #node(name: string): SimNode {
    return new SimNode({
      name,
      time: this.time,
      random: this.random.fork(name),
      wire: this.wire,
      isLogged: this.#options.isLogged,
      trace: (what) => this.trace(what),
      onProblem: (kind, what) => this.ledger.problem('internal', `${kind}: ${what}`),
    });
  }

  #noteSent(from: string, to: string, frame: Frame): void {
    if (to !== this.nodes.east.signer.peerId) return;
    const told = frame.t === 'log' ? frame.statements : [];
    const statements = told.map((bytes) => readStatement(bytes, { verified: true }).hash);
    this.sentToEast.push({
      atMs: this.time.nowMs,
      from,
      frame: frame.t,
      isRed: this.#isRed(frame),
      statements,
    });
  }

  /** Whether a frame is of the red namespace; acknowledgements do not say of which they are. */
  #isRed(frame: Frame): boolean {
    if (frame.t === 'parcel') return Buffer.from(frame.envelope).includes(this.redId);
    if (frame.t === 'digest') return frame.namespaces.some(({ ns }) => ns === this.redId);
    return 'ns' in frame && frame.ns === this.redId;
  }

  #lookForLeaks(peerId: string, bytes: Uint8Array): void {
    // All that is looked for is ASCII.
    const frame = latin1(bytes);
    const secrets = isOfType(bytes, 'log') ? SEALED : SAID_NOWHERE;
    this.#search(frame, secrets, 'in the clear on the wire');
    this.#search(frame, this.#secretsFrom(peerId), 'in a frame to a machine that must not have it');
  }

  /** Read by nobody but whom it is for, so it may hold what a member knows. */
  #lookAtAsked(peerId: string, bytes: Uint8Array): void {
    this.#search(latin1(bytes), this.#secretsFrom(peerId), 'in a question or an answer');
  }

  #secretsFrom(peerId: string): string[] {
    const { west, east } = this.nodes;
    if (!this.blueId) return [];
    if (peerId === west.signer.peerId) return ['blue-', this.blueId];
    if (peerId !== east.signer.peerId) return [];
    return this.eastIsBlue ? [this.afterwards] : [this.afterwards, 'blue-', this.blueId];
  }

  #search(bytes: string, secrets: readonly string[], where: string): void {
    for (const secret of secrets) {
      if (bytes.includes(secret)) this.ledger.problem('leaked', `${secret} ${where}`);
    }
  }
}

/** Whether two machines were on at once between two moments. */
function haveMet(a: SimNode, b: SimNode, fromMs: number, toMs: number): boolean {
  const within = ({ spans }: SimNode) => spans.filter((span) => span.fromMs <= toMs && span.toMs >= fromMs);
  return within(a).some((one) =>
    within(b).some(
      (other) => Math.max(one.fromMs, other.fromMs, fromMs) <= Math.min(one.toMs, other.toMs, toMs),
    ),
  );
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

const LINES_LENGTH = 16_384;

/** Keys of a mailbox that end in the hash of an envelope. */
const ENVELOPE_KEYS = /(mailbox-place\/\w+\/)\w+/g;

/** Two runs differ in what the bytes of an envelope are, and in its hash. */
function isVarying(bytes: Uint8Array): boolean {
  const isHeld = isOfType(bytes, 'ack') && Buffer.from(bytes).includes('held');
  return (
    isHeld || ['parcel' as const, 'offer' as const, 'take' as const].some((type) => isOfType(bytes, type))
  );
}

/** A frame's type is among the first fields but for an envelope's: keys are sorted by length (RFC 8949 section 4.2.3). */
function isOfType(bytes: Uint8Array, type: Frame['t']): boolean {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 40));
  return head.includes(`at${String.fromCharCode(0x60 + type.length)}${type}`);
}
