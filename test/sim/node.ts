import { createMachine, type Machine } from '../../daemon/machine.ts';
import type { Log } from '../../daemon/log.ts';
import { asPatchcordError, type PatchcordError } from '../../protocol/errors.ts';
import { newId } from '../../protocol/ids.ts';
import type { PrekeyFile } from '../../daemon/prekeys/prekey-ring.ts';
import type { KvOperation } from '../../daemon/store/kv.ts';
import type { Prekey } from '../../protocol/prekey.ts';
import { signerFromSeed, type Signer } from '../../protocol/signing.ts';
import { NodeClock, type VirtualTime } from './clock.ts';
import { MemoryKv } from './memory-kv.ts';
import { SimNetwork } from './network.ts';
import { newestPrekey } from './prekeys.ts';
import type { SeededRandom } from './random.ts';
import { SimKv } from './sim-kv.ts';
import type { SimWire } from './wire.ts';

/** What became of a call: an answer, an error, or nothing because the machine was gone first. */
export type Outcome<T> =
  | { kind: 'answer'; value: T }
  | { kind: 'error'; error: PatchcordError }
  | { kind: 'lost' };

/** What machines tell of themselves; long enough that no sealed bytes look like it by chance. */
export const PLATFORM = 'simulated-platform';
export const labelOf = (name: string): string => `${name}-machine`;

/** One start of a machine, from power on to power off. */
interface Life {
  kv: SimKv;
  clock: NodeClock;
  network: SimNetwork;
  machine: Machine | undefined;
  stopping: boolean;
  /** Tells everybody who waits for an answer that there will be none. */
  lose: Set<() => void>;
}

export interface SimNodeParts {
  name: string;
  time: VirtualTime;
  random: SeededRandom;
  wire: SimWire;
  isLogged: boolean;
  trace: (what: string) => void;
  /** Something that must never happen did. */
  onProblem: (kind: string, what: string) => void;
}

/** A machine with its disk, that can be stopped, lose its power and be started again. */
export class SimNode {
  readonly name: string;
  readonly signer: Signer;
  readonly disk = new MemoryKv();
  readonly storeKey: Uint8Array;
  crashes = 0;
  /** From each power on to the power off that followed; the last may have none yet. */
  readonly spans: { fromMs: number; toMs: number }[] = [];
  /** It is off and stays off, whoever starts it. */
  isAway = false;
  /** When statements and messages came to its disk first, by their key. */
  readonly firstStoredMs = new Map<string, number>();
  /** Called when a write has begun; for faults that strike in the midst of it. */
  onWrite: (() => void) | undefined;
  /** Replaced as a whole and durable at once, as a synced rename is. */
  #prekeys: Uint8Array | undefined;
  readonly #prekeyFile: PrekeyFile = {
    read: async () => this.#prekeys,
    write: async (bytes) => void (this.#prekeys = bytes),
  };
  readonly #parts: SimNodeParts;
  readonly #address: string;
  #lives = 0;
  #skewMs = 0;
  #life: Life | undefined;
  #whenUp: (() => void)[] = [];

  constructor(parts: SimNodeParts) {
    this.name = parts.name;
    this.#parts = parts;
    this.signer = signerFromSeed(parts.random.fork('key').bytes(32));
    this.storeKey = parts.random.fork('store-key').bytes(32);
    this.#address = `/dns4/${parts.name}/tcp/4001/p2p/${this.signer.peerId}`;
  }

  /** What others seal to. */
  prekey(): Prekey | undefined {
    return this.#prekeys && newestPrekey(this.#prekeys, this.signer);
  }

  get isUp(): boolean {
    return this.#life?.machine !== undefined && !this.#life.stopping;
  }

  /** Powered on, be it that it is still starting or already stopping. */
  get isRunning(): boolean {
    return this.#life !== undefined;
  }

  /** Counts starts: what belongs to an earlier one is gone. */
  get startNumber(): number {
    return this.#lives;
  }

  get kv(): SimKv | undefined {
    return this.#life?.kv;
  }

  /** Sets the machine's clock wrong by so much, while it runs or not. */
  setClock(skewMs: number): void {
    this.#parts.trace(`${this.name} is off by ${skewMs} ms`);
    this.#skewMs = skewMs;
    if (this.#life) this.#life.clock.skewMs = skewMs;
  }

  get network(): SimNetwork | undefined {
    return this.#life?.network;
  }

  /** Does nothing when it runs already. */
  start(): void {
    if (this.#life || this.isAway) return;
    const { time, wire, isLogged, trace, onProblem } = this.#parts;
    const number = (this.#lives += 1);
    const random = this.#parts.random.fork(`life ${number}`);
    const clock = new NodeClock(time, this.#skewMs);
    const kv = new SimKv({
      disk: this.disk,
      time,
      random: random.fork('disk'),
      ...(isLogged && { trace: (what: string) => trace(`${this.name} ${what}`) }),
      onWrite: () => this.onWrite?.(),
      onStored: (operations) => this.#noteStored(operations),
    });
    const boot = newId(clock.now(), random.bytes);
    const network = new SimNetwork({ wire, peerId: this.signer.peerId, boot, address: this.#address });
    this.spans.push({ fromMs: time.nowMs, toMs: Infinity });
    const life: Life = { kv, clock, network, machine: undefined, stopping: false, lose: new Set() };
    this.#life = life;
    trace(`${this.name} starts, off by ${this.#skewMs} ms`);
    const started = async () => {
      const machine = await createMachine({
        signer: this.signer,
        kv,
        storeKey: this.storeKey,
        prekeyFile: this.#prekeyFile,
        network,
        clock,
        random,
        log: this.#log(life),
        boot,
        label: labelOf(this.name),
        platform: PLATFORM,
        peers: [],
      });
      await machine.start();
      life.machine = machine;
      trace(`${this.name} is up`);
      for (const resolve of this.#whenUp.splice(0)) resolve();
    };
    started().catch((error: unknown) => onProblem('start', `${this.name} did not start: ${String(error)}`));
  }

  /** The power is cut: what was not synced is gone, nobody hears anything. */
  crash(): void {
    const life = this.#life;
    if (!life) return;
    this.crashes += 1;
    this.#parts.trace(`${this.name} crashes`);
    life.kv.crash();
    life.clock.end();
    life.network.crash();
    this.#end(life);
  }

  /** Stops the machine as a signal would. */
  async stop(): Promise<void> {
    const life = this.#life;
    if (!life?.machine || life.stopping) return;
    life.stopping = true;
    this.#parts.trace(`${this.name} stops`);
    await life.machine.stop();
    if (this.#life !== life) return;
    life.kv.end();
    life.clock.end();
    this.#end(life);
  }

  async up(): Promise<void> {
    if (this.isUp) return;
    await new Promise<void>((resolve) => this.#whenUp.push(resolve));
  }

  /** Calls the machine; never rejects, and always resolves, if only because the machine is gone. */
  async call<T>(run: (machine: Machine) => Promise<T>): Promise<Outcome<T>> {
    const life = this.#life;
    if (!life?.machine) return { kind: 'lost' };
    const { promise, resolve } = Promise.withResolvers<Outcome<T>>();
    const lose = () => resolve({ kind: 'lost' });
    life.lose.add(lose);
    Promise.try(run, life.machine).then(
      (value) => resolve({ kind: 'answer', value }),
      (error: unknown) => {
        const fault = asPatchcordError(error);
        if (fault.code === 'internal' && !life.stopping) {
          this.#parts.onProblem(
            'internal',
            `${this.name}: ${fault.cause instanceof Error ? fault.cause.stack : String(fault)}`,
          );
        }
        resolve({ kind: 'error', error: fault });
      },
    );
    const outcome = await promise;
    life.lose.delete(lose);
    return outcome;
  }

  #noteStored(operations: readonly KvOperation[]): void {
    for (const { key, value } of operations) {
      const isNoted = key.startsWith('statement/') || key.startsWith('known/');
      if (isNoted && value && !this.firstStoredMs.has(key)) {
        this.firstStoredMs.set(key, this.#parts.time.nowMs);
      }
    }
  }

  #end(life: Life): void {
    this.#life = undefined;
    this.spans.at(-1)!.toMs = this.#parts.time.nowMs;
    for (const lose of life.lose) lose();
  }

  #log(life: Life): Log {
    const say = (level: string, fields: object, text: string) => {
      const code = 'code' in fields ? ` ${String(fields.code)}` : '';
      this.#parts.trace(`${this.name} ${level} ${text}${code}`);
    };
    return {
      debug: () => undefined,
      info: (fields, text) => say('info', fields, text),
      warn: (fields, text) => {
        say('warn', fields, text);
        // A crash takes nothing back that another machine was told of.
        if (text.includes('set back')) this.#parts.onProblem('set back', `${this.name}: ${text}`);
      },
      error: (fields, text) => {
        say('error', fields, text);
        const cause = 'error' in fields && fields.error instanceof Error ? fields.error : undefined;
        const isDisk =
          cause !== undefined && ['disk_full', 'store_failed'].includes(asPatchcordError(cause).code);
        if (!life.stopping && !isDisk)
          this.#parts.onProblem('logged', `${this.name}: ${text} ${cause?.stack ?? ''}`);
      },
    };
  }
}
