import type { Clock, Random, Timer } from '../clock.ts';
import type { Log } from '../log.ts';
import { relayOf } from './addresses.ts';
import type { LinkStatus } from './network.ts';
import { isUnreachableHere, triedOf } from './dial.ts';
import { countedFailures, dialOrder, firstDelayMs, LINK_PROVEN_MS, retryDelayMs } from './dial-plan.ts';

/** Peers that are dialled at the same time; the others wait their turn. */
const ATTEMPTS_MAX = 64;
/** News of a machine makes it be dialled again at most this often. */
const NUDGE_INTERVAL_MS = 1_000;

export interface DialerOptions {
  self: string;
  clock: Clock;
  random: Random;
  log: Log;
  /** Our own addresses, which tell what is near. */
  own(): readonly string[];
  /** The address of a machine's link, if there is one. */
  linkAddress(peerId: string): string | undefined;
  /** Connects to a machine and resolves when a link with it is up; rejects with the reason why not. */
  connect(peerId: string, addresses: readonly string[], signal: AbortSignal): Promise<void>;
}

interface Target {
  addresses: readonly string[];
  /** Failures in a row, as the backoff counts them. */
  failures: number;
  /** Dials since the machine was last linked. */
  attempts: number;
  /** When it was linked last, and nudged last, by `Clock.elapsed`. */
  linkedMs?: number;
  nudgedMs?: number;
  lastError?: string;
  /** What the last attempt met. */
  tried?: LinkStatus['tried'];
  /** When it would not link. */
  refusedAtMs?: number;
  timer?: Timer;
  attempt?: AbortController;
}

interface Failure {
  reason: string;
  /** See {@link isUnreachableHere}. */
  cheap: boolean;
}

/**
 * Dials every machine it was told of until it is linked, and again when the link breaks, for ever.
 *
 * Invariant: each target is linked, or has exactly one of a timer, a place in `#queue` and an attempt.
 */
export class Dialer {
  readonly #options: DialerOptions;
  readonly #targets = new Map<string, Target>();
  readonly #queue = new Set<string>();
  #running = 0;

  constructor(options: DialerOptions) {
    this.#options = options;
  }

  /** Replaces the machines to dial; returns those that are no longer among them. */
  setPeers(peers: ReadonlyMap<string, readonly string[]>): string[] {
    const gone = [...this.#targets.keys()].filter((peerId) => !peers.has(peerId));
    for (const peerId of gone) this.#forget(peerId);
    for (const [peerId, addresses] of peers) {
      if (peerId !== this.#options.self) this.#name(peerId, addresses);
    }
    return gone;
  }

  /** A link with this machine is up, whoever dialled. */
  up(peerId: string): void {
    const target = this.#targets.get(peerId);
    if (target === undefined) return;
    this.#halt(peerId, target);
    target.attempts = 0;
    target.linkedMs = this.#options.clock.elapsed();
    delete target.lastError;
    delete target.tried;
    delete target.refusedAtMs;
  }

  /** The link with this machine broke after so long. */
  down(peerId: string, reason: string, lastedMs: number): void {
    const target = this.#targets.get(peerId);
    if (target === undefined) return;
    if (lastedMs >= LINK_PROVEN_MS) target.failures = 0;
    target.linkedMs = this.#options.clock.elapsed();
    this.#retry(peerId, target, { reason, cheap: false });
  }

  /** Everything is different: dials at once whoever is not linked, also where a dial is under way. */
  wake(): void {
    for (const [peerId, target] of this.#targets) this.#restart(peerId, target);
  }

  /** There is news of a machine; one that waits for its next dial is dialled now. */
  nudge(peerId: string): void {
    const target = this.#targets.get(peerId);
    if (target?.timer === undefined) return;
    const nowMs = this.#options.clock.elapsed();
    if (nowMs - (target.nudgedMs ?? -Infinity) < NUDGE_INTERVAL_MS) return;
    target.nudgedMs = nowMs;
    this.#restart(peerId, target);
  }

  /** It was reached and would not link. */
  refused(peerId: string): void {
    const target = this.#targets.get(peerId);
    if (target !== undefined) target.refusedAtMs = this.#options.clock.now();
  }

  statuses(): LinkStatus[] {
    const statuses: LinkStatus[] = [];
    for (const [peerId, { attempts, addresses, lastError, tried, refusedAtMs }] of this.#targets) {
      const address = this.#options.linkAddress(peerId);
      if (address !== undefined) {
        const relay = relayOf(address);
        const way = { address, ...(relay !== undefined && { relay }) };
        statuses.push({ peerId, up: true, ...way, attempts, addresses });
      } else
        statuses.push({
          peerId,
          up: false,
          attempts,
          addresses,
          ...(lastError !== undefined && { lastError }),
          ...(tried && tried.length > 0 && { tried }),
          ...(refusedAtMs !== undefined && { refusedAtMs }),
        });
    }
    return statuses;
  }

  stop(): void {
    this.setPeers(new Map());
  }

  #name(peerId: string, addresses: readonly string[]): void {
    const known = this.#targets.get(peerId);
    if (known === undefined) {
      const target = { addresses, failures: 0, attempts: 0 };
      this.#targets.set(peerId, target);
      if (this.#options.linkAddress(peerId) === undefined) {
        this.#dialAfter(peerId, target, firstDelayMs(this.#options.self, peerId));
      }
      return;
    }
    const news = addresses.some((address) => !known.addresses.includes(address));
    known.addresses = addresses;
    if (news) this.#restart(peerId, known);
  }

  #restart(peerId: string, target: Target): void {
    if (this.#options.linkAddress(peerId) !== undefined) return;
    this.#halt(peerId, target);
    target.failures = 0;
    this.#enqueue(peerId);
  }

  #dialAfter(peerId: string, target: Target, delayMs: number): void {
    if (delayMs === 0) return this.#enqueue(peerId);
    target.timer = this.#options.clock.after(delayMs, () => {
      delete target.timer;
      this.#enqueue(peerId);
    });
  }

  #enqueue(peerId: string): void {
    this.#queue.add(peerId);
    this.#startNext();
  }

  #startNext(): void {
    while (this.#running < ATTEMPTS_MAX) {
      const [peerId] = this.#queue;
      if (peerId === undefined) return;
      this.#queue.delete(peerId);
      const target = this.#targets.get(peerId);
      if (target !== undefined) void this.#dial(peerId, target);
    }
  }

  async #dial(peerId: string, target: Target): Promise<void> {
    const attempt = new AbortController();
    target.attempt = attempt;
    target.attempts += 1;
    this.#running += 1;
    let failure: Failure | undefined;
    try {
      const addresses = dialOrder(peerId, target.addresses, this.#options.own());
      await this.#options.connect(peerId, addresses, attempt.signal);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      failure = { reason, cheap: isUnreachableHere(error) };
      const atMs = this.#options.clock.now();
      target.tried = triedOf(error).map((one) => ({ ...one, atMs }));
    }
    this.#running -= 1;
    // An attempt that was called off has been replaced by whatever called it off.
    if (target.attempt === attempt) {
      delete target.attempt;
      if (failure !== undefined) this.#failed(peerId, target, failure);
    }
    this.#startNext();
  }

  #failed(peerId: string, target: Target, failure: Failure): void {
    this.#retry(peerId, target, failure);
    const fields = { peer: peerId, attempts: target.attempts, reason: failure.reason };
    if (target.attempts === 1) this.#options.log.info(fields, 'peer cannot be reached; trying on');
    else this.#options.log.debug(fields, 'peer cannot be reached');
  }

  #retry(peerId: string, target: Target, { reason, cheap }: Failure): void {
    this.#halt(peerId, target);
    target.lastError = reason;
    const { clock, random } = this.#options;
    const unlinkedMs = target.linkedMs === undefined ? undefined : clock.elapsed() - target.linkedMs;
    const tries = { failures: target.failures, unlinkedMs, cheap };
    const delayMs = retryDelayMs(tries, random.fraction());
    target.failures = countedFailures(tries);
    this.#dialAfter(peerId, target, delayMs);
  }

  #halt(peerId: string, target: Target): void {
    this.#queue.delete(peerId);
    target.timer?.cancel();
    delete target.timer;
    const { attempt } = target;
    delete target.attempt;
    attempt?.abort(new Error('no longer needed'));
  }

  #forget(peerId: string): void {
    const target = this.#targets.get(peerId);
    if (target !== undefined) this.#halt(peerId, target);
    this.#targets.delete(peerId);
  }
}
