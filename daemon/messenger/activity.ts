import { doingOf } from '../../protocol/activity.ts';
import { ACTIVITY_ANNOUNCE_MS, BUSY_MS } from '../../protocol/limits.ts';
import type { Clock, Timer } from '../clock.ts';
import type { Directory } from '../directory/directory.ts';

interface Entry {
  ns: string;
  waits: number;
  /** On the clock that only rises. */
  calledAtMs: number;
  /** Looks again when the agent may have become idle by doing nothing. */
  quiet?: Timer;
}

/**
 * Follows what the agents of this machine do, and has it announced. A change is announced ACTIVITY_ANNOUNCE_MS after it
 * began, together with the others of the namespace and only if it is still so: reading a message and going on to wait
 * says nothing to anybody.
 */
export class AgentActivity {
  readonly #directory: Directory;
  readonly #clock: Clock;
  readonly #announce: (ns: string) => void;
  readonly #entries = new Map<string, Entry>();
  readonly #due = new Map<string, Timer>();

  constructor(parts: {
    directory: Directory;
    clock: Clock;
    /** Tells the members of a namespace what changed here. */
    announce: (ns: string) => void;
  }) {
    this.#directory = parts.directory;
    this.#clock = parts.clock;
    this.#announce = parts.announce;
  }

  /** A session of the agent opened. */
  opened(agent: string, ns: string): void {
    if (this.#entries.has(agent)) return;
    this.#entries.set(agent, { ns, waits: 0, calledAtMs: this.#clock.elapsed() - BUSY_MS });
  }

  /** A session of the agent asked for something. */
  called(agent: string): void {
    const entry = this.#entries.get(agent);
    if (!entry) return;
    entry.calledAtMs = this.#clock.elapsed();
    this.#look(agent, entry);
  }

  /** A session of the agent waits for a message, until what this returns is called. */
  waiting(agent: string): () => void {
    const entry = this.#entries.get(agent);
    if (!entry) return () => {};
    entry.waits += 1;
    this.#look(agent, entry);
    return () => {
      entry.waits -= 1;
      if (this.#entries.get(agent) === entry) this.called(agent);
    };
  }

  /** The last session of the agent ended. */
  left(agent: string): void {
    this.#entries.get(agent)?.quiet?.cancel();
    this.#entries.delete(agent);
    this.#directory.doing.delete(agent);
  }

  stop(): void {
    for (const timer of this.#due.values()) timer.cancel();
    for (const { quiet } of this.#entries.values()) quiet?.cancel();
  }

  #doing({ waits, calledAtMs }: Entry): 'idle' | 'busy' {
    return doingOf({ isWaiting: waits > 0, quietMs: this.#clock.elapsed() - calledAtMs });
  }

  #look(agent: string, entry: Entry): void {
    const doing = this.#doing(entry);
    if (doing === 'busy' && !entry.quiet) this.#watchQuiet(agent, entry);
    if (doing !== (this.#directory.doing.get(agent) ?? 'idle')) this.#announceSoon(entry.ns);
  }

  /** One timer, however many calls there are: it looks how long the last is ago. */
  #watchQuiet(agent: string, entry: Entry): void {
    const leftMs = Math.max(1, entry.calledAtMs + BUSY_MS - this.#clock.elapsed());
    entry.quiet = this.#clock.after(leftMs, () => {
      delete entry.quiet;
      this.#look(agent, entry);
    });
  }

  #announceSoon(ns: string): void {
    if (this.#due.has(ns)) return;
    const timer = this.#clock.after(ACTIVITY_ANNOUNCE_MS, () => {
      this.#due.delete(ns);
      if (this.#settle(ns)) this.#announce(ns);
    });
    this.#due.set(ns, timer);
  }

  /** Notes what the agents of a namespace do now; false when all that was known. */
  #settle(ns: string): boolean {
    let isNews = false;
    for (const [agent, entry] of this.#entries) {
      if (entry.ns !== ns) continue;
      const doing = this.#doing(entry);
      if (doing === (this.#directory.doing.get(agent) ?? 'idle')) continue;
      this.#directory.doing.set(agent, doing);
      isNews = true;
    }
    return isNews;
  }
}
