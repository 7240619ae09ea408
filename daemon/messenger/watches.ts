import pLimit from 'p-limit';
import { formatAddress } from '../../protocol/address.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import { newId, parseId } from '../../protocol/ids.ts';
import { WATCH_TTL_MS, WATCH_TTL_MS_MAX, WATCHES_PER_AGENT_MAX } from '../../protocol/limits.ts';
import { holds, type WatchedState } from '../../protocol/watch.ts';
import type { Clock, Random } from '../clock.ts';
import type { LocalAgent } from '../directory/directory-store.ts';
import type { Directory } from '../directory/directory.ts';
import { resolve } from '../directory/listings.ts';
import type { Log } from '../log.ts';
import type { Released } from '../store/mail-store.ts';
import type { Watch, WatchStore } from '../store/watch-store.ts';
import { WhenDue } from '../when-due.ts';
import { presenceText, watchedAgent } from './awaited-agent.ts';

/** After a failure of the store. */
const RETRY_MS = 5_000;

/**
 * "Tell me when that agent is online, or idle." Each is told once, by a notice in the inbox of the agent that asked;
 * one that is over is told as well. They are looked at when presence changes, at the start, and when one is over, so
 * that none is missed because this machine was not up.
 */
export class Watches {
  readonly #store: WatchStore;
  readonly #directory: Directory;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Log;
  readonly #onReleased: (released: readonly Released[]) => void;
  readonly #watches = new Map<string, Watch>();
  readonly #over: WhenDue;
  /** Looks run one after another, so that none is told twice. */
  readonly #looking = pLimit(1);

  constructor(parts: {
    store: WatchStore;
    directory: Directory;
    clock: Clock;
    random: Random;
    log: Log;
    /** Called with the notices that became visible. */
    onReleased: (released: readonly Released[]) => void;
  }) {
    this.#store = parts.store;
    this.#directory = parts.directory;
    this.#clock = parts.clock;
    this.#random = parts.random;
    this.#log = parts.log;
    this.#onReleased = parts.onReleased;
    this.#over = new WhenDue({ ...parts, what: 'a look at what agents watch', run: () => this.#endOld() });
  }

  async start(): Promise<void> {
    for (const watch of await this.#store.all()) this.#watches.set(watch.id, watch);
    await this.#over.now();
    for (const ns of new Set([...this.#watches.values()].map((watch) => watch.ns))) this.presenceChanged(ns);
  }

  stop(): void {
    this.#over.stop();
  }

  /** Throws `unknown_recipient`, `not_member`, `invalid_input` for a bad time, `too_many`. */
  async add(
    agent: LocalAgent,
    text: string,
    state: WatchedState,
    ttlMs: number = WATCH_TTL_MS,
  ): Promise<Watch> {
    const { name } = watchedAgent(this.#directory, agent, text);
    if (!(ttlMs >= 1_000 && ttlMs <= WATCH_TTL_MS_MAX))
      throw new PatchcordError(
        'invalid_input',
        'A watch lasts from a second to 7 days.',
        'Such as 2h or 3d.',
      );
    const own = this.of(agent);
    const same = own.find((one) => one.name === name && one.state === state);
    if (!same && own.length >= WATCHES_PER_AGENT_MAX) {
      throw new PatchcordError(
        'too_many',
        `${agent.name} watches ${own.length} agents already.`,
        'Cancel one: `patchcord watch --cancel ID --as ...`.',
      );
    }
    const nowMs = this.#clock.now();
    const id = same?.id ?? newId(nowMs, this.#random.bytes);
    const watch: Watch = { id, agent: agent.id, ns: agent.ns, name, state, expiresAtMs: nowMs + ttlMs };
    // Told of from when it is stored; two of one agent that come at once count as one too many at most.
    await this.#store.put(watch);
    this.#watches.set(id, watch);
    this.#over.at(watch.expiresAtMs);
    await this.#look(agent.ns);
    return watch;
  }

  of({ id }: Pick<LocalAgent, 'id'>): Watch[] {
    return [...this.#watches.values()].filter(({ agent }) => agent === id);
  }

  /** Throws `not_found`. */
  async cancel(agent: LocalAgent, text: string): Promise<Watch> {
    const watch = this.#watches.get(parseId(text));
    if (watch?.agent !== agent.id) {
      throw new PatchcordError('not_found', `${agent.name} has no such watch.`, 'They are listed by --list.');
    }
    await this.#store.drop(watch);
    this.#watches.delete(watch.id);
    return watch;
  }

  /** Somebody may have come, gone or changed there. */
  presenceChanged(ns: string): void {
    for (const watch of this.#watches.values()) {
      if (watch.ns !== ns || !this.#isSo(watch)) continue;
      void this.#look(ns);
      return;
    }
  }

  async #look(ns: string): Promise<void> {
    await this.#looking(async () => {
      try {
        for (const watch of this.#watches.values()) {
          if (watch.ns === ns && this.#isSo(watch)) {
            await this.#tell(
              watch,
              (address) => `${presenceText(address, watch.state)} You asked to be told.`,
            );
          }
        }
      } catch (error) {
        this.#log.error({ error, ns }, 'what an agent watches could not be told; trying again');
        this.#over.at(this.#clock.now() + RETRY_MS);
      }
    });
  }

  #isSo({ ns, name, state }: Watch): boolean {
    const log = this.#directory.logs.get(ns);
    if (!log || !this.#directory.isMember(log) || !log.claims.has(name)) return false;
    return holds(state, resolve(this.#directory, log, name));
  }

  /** Ends what is over, looks at what is not, and says when the next is. */
  async #endOld(): Promise<number | undefined> {
    const nowMs = this.#clock.now();
    for (const watch of this.#watches.values()) {
      if (watch.expiresAtMs > nowMs) continue;
      const was = watch.state === 'idle' ? 'idle' : 'online';
      await this.#looking(() =>
        this.#tell(
          watch,
          (address) => `${address} was not seen ${was} in the time that you gave; the watch is over.`,
        ),
      );
    }
    for (const ns of new Set([...this.#watches.values()].map((watch) => watch.ns))) await this.#look(ns);
    const ends = [...this.#watches.values()].map(({ expiresAtMs }) => expiresAtMs);
    return ends.length > 0 ? Math.min(...ends) : undefined;
  }

  async #tell(watch: Watch, say: (address: string) => string): Promise<void> {
    const agent = this.#directory.agents.get(watch.agent);
    const log = this.#directory.logs.get(watch.ns);
    if (!agent || !log) {
      await this.#store.drop(watch);
      this.#watches.delete(watch.id);
      return;
    }
    const about = formatAddress({ name: watch.name, namespace: log.name });
    const machine = this.#directory.self.peerId;
    const released = await this.#store.fire(watch, { to: agent.name, about, machine, text: say(about) });
    this.#watches.delete(watch.id);
    if (released) this.#onReleased([released]);
  }
}
