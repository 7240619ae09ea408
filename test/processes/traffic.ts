import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Session } from '../../mcp/messenger.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import type { DaemonProcess } from './daemon-process.ts';
import { eventually } from './eventually.ts';
import { Ledger } from './ledger.ts';

/** Messages of one sender that may be acknowledged and not yet shown before it pauses. */
const AHEAD_MAX = 80;
/** All that was acknowledged is shown within this time of the last fault. */
const DRAIN_MS_MAX = 60_000;
/** A daemon that is to end itself does so within this time. */
const END_MS_MAX = 30_000;
/** How a session says that its daemon has died. */
const LOST = ['daemon_unreachable', 'unknown_session'];

/** Lets somebody wait for the next time that something happened. */
class Bell {
  #next = Promise.withResolvers<void>();

  ring(): void {
    this.#next.resolve();
    this.#next = Promise.withResolvers<void>();
  }

  rung(): Promise<void> {
    return this.#next.promise;
  }
}

/** An agent whose client opens a session again whenever its daemon is back. */
class Survivor {
  readonly address: string;
  readonly #machine: DaemonProcess;
  readonly #up: () => Promise<unknown>;
  readonly #endings: ReadonlySet<string>;
  #session: Session | undefined;

  constructor(
    machine: DaemonProcess,
    address: string,
    up: () => Promise<unknown>,
    endings: ReadonlySet<string>,
  ) {
    this.#machine = machine;
    this.address = address;
    this.#up = up;
    this.#endings = endings;
  }

  /** Runs a call once; undefined when the daemon died under it, and it is unknown whether it ran. */
  async try<T>(call: (session: Session) => Promise<T>): Promise<T | undefined> {
    try {
      this.#session ??= await this.#machine
        .client()
        .messenger.open({ agent: this.address, client: 'ledger' });
      return await call(this.#session);
    } catch (error) {
      if (!(error instanceof PatchcordError) || !this.#endings.has(error.code)) throw error;
      this.#session = undefined;
      await this.#up();
      return undefined;
    }
  }

  async close(): Promise<void> {
    await this.#session?.close();
  }
}

/** Lanes of messages from one machine to another that go on while daemons die; what the clients see is in the ledger. */
export class Traffic {
  readonly ledger = new Ledger();
  readonly #acknowledged = new Bell();
  readonly #shown = new Bell();
  /** Machines that are down, each with what resolves when it is up again. */
  readonly #down = new Map<DaemonProcess, PromiseWithResolvers<void>>();
  readonly #lanes: { sender: Survivor; reader: Survivor }[];
  readonly #read = new AbortController();
  readonly #everyMs: number;
  #sending = true;
  #senders: Promise<void>[] = [];
  #readers: Promise<void>[] = [];
  #failed: Promise<void> = Promise.resolve();

  /**
   * `endings`: codes besides those of a daemon that has gone by which a call may fail amid a fault. `everyMs`: how long
   * each sender rests after a message; without it, the next one goes when the last one was acknowledged.
   */
  constructor(
    ways: readonly (readonly [from: DaemonProcess, to: DaemonProcess])[],
    endings: string[] = [],
    everyMs = 0,
  ) {
    this.#everyMs = everyMs;
    const allowed = new Set([...LOST, ...endings]);
    const survivor = (role: string, machine: DaemonProcess) =>
      new Survivor(machine, `${role}@team`, async () => this.#down.get(machine)?.promise, allowed);
    this.#lanes = ways.map(([from, to]) => ({
      sender: survivor(`${from.label}-to-${to.label}`, from),
      reader: survivor(`${to.label}-from-${from.label}`, to),
    }));
  }

  /** Resolves when messages flow. */
  async start(): Promise<void> {
    const look = async (survivor: Survivor) =>
      (await survivor.try((session) => session.inbox({ all_agents: true })))?.agents ?? [];
    for (const { reader } of this.#lanes) await look(reader);
    for (const { sender, reader } of this.#lanes) {
      await eventually(
        `${sender.address} sees ${reader.address}`,
        () => look(sender),
        (agents) => agents.some(({ agent }) => agent === reader.address),
      );
    }
    this.#senders = this.#lanes.map((lane) => this.#send(lane.sender, lane.reader.address));
    this.#readers = this.#lanes.map((lane) => this.#show(lane.reader));
    this.#failed = Promise.all([...this.#senders, ...this.#readers]).then(() => undefined);
    this.#failed.catch(() => undefined);
  }

  /** Waits until so many more messages were acknowledged. Rejects when a client was told what it may not be told. */
  async more(count: number): Promise<void> {
    const until = this.ledger.acknowledgedCount + count;
    while (this.ledger.acknowledgedCount < until) await this.until(this.#acknowledged.rung());
  }

  /** Waits until all that is acknowledged by now is shown. */
  async arrived(): Promise<void> {
    let missing = this.ledger.lost();
    while (missing.length > 0) {
      await this.until(this.#shown.rung());
      missing = missing.filter((content) => !this.ledger.wasShown(content));
    }
  }

  /** Waits until hardly anything that was acknowledged is not shown yet, so that no sender is about to pause. */
  async level(): Promise<void> {
    const { ledger } = this;
    const behind = () => this.#lanes.some(({ sender }) => ledger.ahead(sender.address) > AHEAD_MAX / 4);
    while (behind()) await this.until(this.#shown.rung());
  }

  /** Waits for something. Rejects as `more` does. */
  async until<T>(event: Promise<T>): Promise<T> {
    const gone = await Promise.race([event.then((value) => ({ value })), this.#failed]);
    if (!gone) throw new Error('the traffic ended');
    return gone.value;
  }

  /** From now on the machine's clients wait until it is up. */
  expectDown(machine: DaemonProcess): void {
    if (!this.#down.has(machine)) this.#down.set(machine, Promise.withResolvers<void>());
  }

  /** Kills a daemon; its clients wait until it is up. */
  async down(machine: DaemonProcess): Promise<void> {
    this.expectDown(machine);
    await machine.kill('SIGKILL');
  }

  async up(machine: DaemonProcess): Promise<void> {
    await machine.start();
    this.#down.get(machine)?.resolve();
    this.#down.delete(machine);
  }

  /** Kills a daemon and starts it again. */
  async kill(machine: DaemonProcess): Promise<void> {
    await this.down(machine);
    await this.up(machine);
  }

  /** Waits for a daemon that ends itself. */
  async ended(machine: DaemonProcess): Promise<void> {
    const child = machine.process!;
    if (child.exitCode !== null || child.signalCode !== null) return;
    await this.until(once(child, 'exit', { signal: AbortSignal.timeout(END_MS_MAX) }));
  }

  /** Stops sending, and reading when all that was acknowledged is shown or nothing more comes. */
  async drain(): Promise<void> {
    this.#sending = false;
    this.#shown.ring();
    await Promise.all(this.#senders);
    await eventually(
      'all that was acknowledged is shown',
      async () => this.ledger.lost(),
      (lost) => lost.length === 0,
      DRAIN_MS_MAX,
    ).catch(() => undefined);
    this.#read.abort();
    await Promise.all(this.#readers);
    await Promise.all(this.#lanes.flatMap(({ sender, reader }) => [sender.close(), reader.close()]));
  }

  async #send(survivor: Survivor, to: string): Promise<void> {
    for (let counter = 1; this.#sending; counter++) {
      while (this.#sending && this.ledger.ahead(survivor.address) > AHEAD_MAX) await this.#shown.rung();
      const content = `${survivor.address} ${counter}`;
      const sent = await survivor.try((session) => session.send({ to_agent: to, content, thread: '' }));
      if (sent?.status === 'sent') this.ledger.acknowledged(survivor.address, counter);
      else if (sent === undefined) this.ledger.unanswered();
      else throw new Error(`${content}: ${JSON.stringify(sent)}`);
      this.#acknowledged.ring();
      if (this.#everyMs > 0) await delay(this.#everyMs);
    }
  }

  async #show(survivor: Survivor): Promise<void> {
    const { signal } = this.#read;
    while (!signal.aborted) {
      const waited = await survivor
        .try((session) => session.wait({ timeout_seconds: 60 }, signal))
        .catch((error: unknown) => {
          if (!signal.aborted) throw error;
          return undefined;
        });
      if (waited?.message) this.ledger.shown(waited.message);
      this.#shown.ring();
    }
  }
}
