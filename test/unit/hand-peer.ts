import { systemRandom } from '../../daemon/clock.ts';
import { openEnvelope, type Opened } from '../../protocol/envelope.ts';
import type { Frame, FrameOf } from '../../protocol/frame.ts';
import type { Party } from '../../protocol/letter.ts';
import { PREKEY_VALID_MS } from '../../protocol/limits.ts';
import { author, type Draft } from '../../protocol/membership/author.ts';
import { addStatements, heads, openLog, type NamespaceLog } from '../../protocol/membership/log.ts';
import {
  readStatement,
  signStatement,
  type Chained,
  type SignedStatement,
} from '../../protocol/membership/statement.ts';
import { landmarks, missing } from '../../protocol/membership/sync.ts';
import { readPrekey, signPrekey, type Prekey } from '../../protocol/prekey.ts';
import { sealShared, type Shared, type SharedPlace } from '../../protocol/shared.ts';
import { signerFromSeed, type Signer } from '../../protocol/signing.ts';
import {
  decodeJoinAnswer,
  encodeJoin,
  joinProof,
  parseTicket,
  type JoinAnswer,
  type JoinRequest,
} from '../../protocol/ticket.ts';
import { xwingKey, type XWingKey } from '../../protocol/xwing.ts';
import type { Body } from './membership-fixture.ts';
import { START_MS, turn, type Wire, type WireNetwork } from './wire.ts';

/**
 * A machine without a daemon: it keeps the logs and keys that it is told, remembers every frame, tells what others
 * lack of a log, and for the rest says what the test wants.
 */
export class HandPeer {
  readonly signer: Signer;
  readonly network: WireNetwork;
  readonly frames: { from: string; frame: Frame }[] = [];
  /** By namespace. */
  readonly logs = new Map<string, NamespaceLog>();
  /** The key of each namespace that it was given last. */
  readonly keys = new Map<string, Uint8Array>();
  /** Machines that would not link with it. */
  readonly refusedBy: string[] = [];
  /** What it tells on every link that comes up, until the test makes it keep still. */
  prekey: Prekey | undefined;
  /** What it gives each machine back in its hello. */
  kept: Uint8Array | undefined;
  /** Whether it tells others what they lack. */
  answersHeads = true;
  /** What it answers to a request outside of links. */
  onJoin: (machine: string, request: Uint8Array) => Uint8Array = () => new Uint8Array(0);
  readonly #wire: Wire;
  readonly #prekeys = new Map<number, XWingKey>();
  #revision = 0;
  #waiting: (() => void)[] = [];

  constructor(wire: Wire, seed: number) {
    this.#wire = wire;
    this.signer = signerFromSeed(new Uint8Array(32).fill(seed));
    this.network = wire.network(this.signer);
    this.prekey = this.newPrekey(1);
  }

  /** Makes a prekey of that sequence, and keeps it for `open`. */
  newPrekey(seq: number, madeAtMs = START_MS): Prekey {
    const key = xwingKey(systemRandom.bytes(32));
    this.#prekeys.set(seq, key);
    const times = { made_at: madeAtMs, valid_until: madeAtMs + PREKEY_VALID_MS };
    return signPrekey({ seq, key: key.publicKey, ...times }, this.signer);
  }

  forget(seq: number): void {
    this.#prekeys.delete(seq);
  }

  open(envelope: Uint8Array): Opened {
    return openEnvelope(envelope, this.peerId, (seq) => this.#prekeys.get(seq));
  }

  /** The prekey of its own that a machine told last. */
  prekeyOf(machine: string): Prekey {
    const told = this.frames.flatMap(({ from, frame }) =>
      from === machine && frame.t === 'prekey' ? [readPrekey(frame.prekey)] : [],
    );
    const own = told.findLast((prekey) => prekey.machine === machine);
    if (!own) throw new Error('no prekey was told');
    return own;
  }

  tell(to: string, prekey: Prekey): void {
    this.say(to, { t: 'prekey', prekey: prekey.bytes });
  }

  get peerId(): string {
    return this.signer.peerId;
  }

  async start(): Promise<void> {
    await this.network.start({
      kept: () => this.kept,
      admits: () => true,
      admitsJoin: () => true,
      linkUp: (machine) => this.prekey && this.tell(machine, this.prekey),
      linkDown: () => undefined,
      refused: (machine) => void this.refusedBy.push(machine),
      frame: (from, frame) => {
        this.frames.push({ from, frame });
        this.#take(from, frame);
        for (const wake of this.#waiting.splice(0)) wake();
      },
      join: async (machine, request) => this.onJoin(machine, request),
    });
  }

  /** Asks to join, with a proof for the ticket's secret unless another is given, and keeps what it is admitted to. */
  async join(
    ticketText: string,
    more: { proof?: Uint8Array; commit?: Uint8Array; label?: string } = {},
  ): Promise<JoinAnswer> {
    const ticket = parseTicket(ticketText);
    const bound = { ns: ticket.ns, inviter: ticket.peer, joiner: this.peerId };
    const proof = joinProof(ticket.secret, bound);
    return this.ask(ticket.peer, { v: 1, k: 'join', ns: ticket.ns, label: 'stranger', proof, ...more });
  }

  /** One request outside of links, and its answer. */
  async ask(machine: string, request: JoinRequest): Promise<JoinAnswer> {
    const answer = decodeJoinAnswer(await this.network.requestJoin(machine, [], encodeJoin(request)));
    if (answer.k === 'admitted') {
      this.learn(request.ns, answer.statements);
      if (answer.key) this.keys.set(request.ns, answer.key);
    }
    await turn();
    return answer;
  }

  say(to: string, ...frames: Frame[]): void {
    this.network.send(to, frames);
  }

  sayAll(...frames: Frame[]): void {
    for (const machine of this.network.linked.keys()) this.say(machine, ...frames);
  }

  /** Gives a machine a frame past its door, as if a link to it still stood. */
  slip(to: string, frame: Frame): void {
    this.#wire.networks.get(to)!.deliver(this.peerId, frame);
  }

  /** The log as it knows it. */
  logOf(ns: string): NamespaceLog {
    const log = this.logs.get(ns);
    if (!log) throw new Error('no log was told');
    return log;
  }

  learn(ns: string, list: readonly Uint8Array[]): void {
    const read = list.map((bytes) => readStatement(bytes));
    const genesis = read.find(({ hash }) => hash === ns);
    const log = this.logs.get(ns) ?? (genesis && openLog(genesis));
    if (log) this.logs.set(ns, addStatements(log, read).log);
  }

  /** A statement that fits the log as it knows it; it knows it from now on. */
  state(ns: string, draft: Draft, atMs = START_MS): SignedStatement {
    const signed = author(this.logOf(ns), draft, atMs, this.signer);
    this.learn(ns, [signed.bytes]);
    return signed;
  }

  /** A statement that no author's check has seen; after all that it knows unless told otherwise. */
  forge(
    ns: string,
    body: Body,
    more: { prev?: readonly string[]; at?: number } = {},
  ): SignedStatement<Chained> {
    const { prev = heads(this.logOf(ns)), at = START_MS } = more;
    const common = { v: 1, ns, prev: [...prev].sort(), by: this.peerId, at } as const;
    return signStatement({ ...common, ...body }, this.signer);
  }

  /** What tells those statements. */
  logFrame(ns: string, ...list: readonly SignedStatement[]): FrameOf<'log'> {
    return { t: 'log', ns, statements: list.map(({ bytes }) => bytes), more: false };
  }

  /** What this machine shares, sealed as members do unless told otherwise. */
  box(ns: string, shared: Shared, more: Partial<SharedPlace> & { key?: Uint8Array } = {}): FrameOf<'shared'> {
    const { key = this.keys.get(ns)!, ...place } = more;
    const at = { ns, from: this.peerId, epoch: place.epoch ?? this.logOf(ns).key!.epoch, ...place };
    return { t: 'shared', ns, epoch: at.epoch, box: sealShared(shared, at, key, systemRandom.bytes) };
  }

  /** A roster of agents that are all here, of the next revision unless told otherwise. */
  roster(parties: readonly { id: string }[], revision = ++this.#revision): Shared {
    const agents = parties.map(({ id }) => ({ id, online: true, last_seen: 1, client: 'x' }));
    return { k: 'roster', revision, roster: { platform: 'x', agents } };
  }

  /** Tells everybody linked that these agents live here, and no others. */
  host(ns: string, parties: readonly Party[]): void {
    const own = [...this.logOf(ns).claims].filter(([, { machine }]) => machine === this.peerId);
    const gone = own.filter(([, { agent }]) => !parties.some(({ id }) => id === agent));
    const statements = gone.map(([, { agent }]) => this.state(ns, { k: 'release', agent }));
    for (const { id: agent, name } of parties) {
      const known = own.some(([held, claim]) => held === name && claim.agent === agent);
      if (!known) statements.push(this.state(ns, { k: 'claim', agent, name }));
    }
    if (statements.length > 0) this.sayAll(this.logFrame(ns, ...statements));
    this.sayAll(this.box(ns, this.roster(parties)));
  }

  all<T extends Frame['t']>(type: T): FrameOf<T>[] {
    return this.frames.map(({ frame }) => frame).filter((frame): frame is FrameOf<T> => frame.t === type);
  }

  /** The first frame of that type that `wanted` accepts, as soon as it is there. */
  async heard<T extends Frame['t']>(
    type: T,
    wanted: (frame: FrameOf<T>) => boolean = () => true,
  ): Promise<FrameOf<T>> {
    for (;;) {
      const found = this.all(type).find(wanted);
      if (found) return found;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** The answer to parcel `n`. */
  async answer(n: number): Promise<FrameOf<'ack'> | FrameOf<'refuse'>> {
    for (;;) {
      const found = this.frames
        .map(({ frame }) => frame)
        .find((frame) => (frame.t === 'ack' || frame.t === 'refuse') && frame.n === n);
      if (found?.t === 'ack' || found?.t === 'refuse') return found;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #take(from: string, frame: Frame): void {
    if (frame.t === 'log') {
      this.learn(frame.ns, frame.statements);
      const log = this.logs.get(frame.ns);
      if (log && frame.more) this.say(from, { t: 'heads', ns: frame.ns, hashes: landmarks(log), ask: false });
    } else if (frame.t === 'key') this.keys.set(frame.ns, frame.key);
    else if (frame.t === 'heads' && this.answersHeads) this.#answerHeads(from, frame);
  }

  #answerHeads(from: string, { ns, hashes, ask }: FrameOf<'heads'>): void {
    const log = this.logs.get(ns);
    if (!log) return;
    const { send, ask: unknown } = missing(log, hashes);
    if (send.length > 0) this.say(from, this.logFrame(ns, ...send));
    if (ask && unknown.length > 0) this.say(from, { t: 'heads', ns, hashes: landmarks(log), ask: false });
  }
}
