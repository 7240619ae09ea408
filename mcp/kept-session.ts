import { PatchcordError } from '../protocol/errors.ts';
import type { SessionCall, SessionSource } from './call-tool.ts';
import type { Session } from './messenger.ts';

function codeOf(error: unknown): string | undefined {
  return error instanceof PatchcordError ? error.code : undefined;
}

/**
 * The messenger session of one connection. It is opened when first needed, replaced when the daemon that knew it
 * is gone, and closed with the connection.
 *
 *     none -> opening -> open -> (lost: none) ... -> ended
 */
export class KeptSession implements SessionSource {
  readonly #open: () => Promise<Session>;
  #current: Promise<Session> | undefined;
  #ended = false;
  /** Calls whose answer nobody reads, while they give back what was leased to them: the next call would confirm it. */
  readonly #givingBack = new Set<Promise<unknown>>();

  constructor(open: () => Promise<Session>) {
    this.#open = open;
  }

  /** The open session, or the one being opened. After a failure the next call tries again. */
  ready(): Promise<Session> {
    if (this.#ended) {
      return Promise.reject(new PatchcordError('stopping', 'The connection is closing.'));
    }
    if (this.#current) return this.#current;
    const opening = this.#open();
    this.#current = opening;
    opening.catch(() => this.#forget(opening));
    return opening;
  }

  /**
   * `unknown_session` says that the call did not run, so it is repeated on a new session whatever it does.
   * `daemon_unreachable` leaves open whether it ran: only a repeatable call is repeated. Once, in either case.
   */
  async use<T>(call: SessionCall, run: (session: Session) => Promise<T>): Promise<T> {
    await Promise.allSettled(this.#givingBack);
    // Cancelled before it began: it must not lease, nor give back later what another call leases.
    if (call.leases) call.signal.throwIfAborted();
    const running = this.#use(call.repeatable, run);
    if (call.leases)
      call.signal.addEventListener('abort', () => this.#awaitGivingBack(running), { once: true });
    return await running;
  }

  async #use<T>(repeatable: boolean, run: (session: Session) => Promise<T>): Promise<T> {
    const opened = this.ready();
    const session = await opened;
    try {
      return await run(session);
    } catch (error) {
      const code = codeOf(error);
      if (code !== 'unknown_session' && code !== 'daemon_unreachable') throw error;
      this.#forget(opened);
      session.close().catch(() => {});
      if (code === 'unknown_session' || repeatable) return await run(await this.ready());
      throw new PatchcordError(
        'daemon_unreachable',
        'The daemon went away while it had the message, so it may have been accepted or not.',
        'Look with recall() before you repeat it.',
        { cause: error },
      );
    }
  }

  /** Gives back what the open session was shown and did not confirm. */
  release(): void {
    this.#awaitGivingBack(this.#current?.then((session) => session.release()));
  }

  #awaitGivingBack(work: Promise<unknown> | undefined): void {
    if (!work) return;
    const settled = () => void this.#givingBack.delete(done);
    const done: Promise<void> = work.then(settled, settled);
    this.#givingBack.add(done);
  }

  /** Ends the session for good. A daemon that cannot be told any more gives the leases back by itself. */
  async close(): Promise<void> {
    this.#ended = true;
    const current = this.#current;
    this.#current = undefined;
    const session = await current?.catch(() => undefined);
    await session?.close().catch(() => {});
  }

  #forget(opened: Promise<Session>): void {
    if (this.#current === opened) this.#current = undefined;
  }
}
