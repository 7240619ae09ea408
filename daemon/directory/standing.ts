import { asPatchcordError } from '../../protocol/errors.ts';
import { heads, type NamespaceLog } from '../../protocol/membership/log.ts';
import { departureOf, landmarks, missing } from '../../protocol/membership/sync.ts';
import { decodeJoinAnswer, encodeJoin, type JoinAnswer, type JoinRequest } from '../../protocol/ticket.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { Network } from '../network/network.ts';
import type { Directory } from './directory.ts';
import { firstPage } from './pages.ts';
import { takeStatements } from './take-statements.ts';

/** Questions that one refusal leads to, at most: each brings a page of the log, a log has no more. */
const ROUNDS_MAX = 100;

/**
 * Where a machine stands that may not hold a link: one that was removed is told so, and one that was let in again by
 * statements that the other side does not know yet shows them. A newcomer that the other side never heard of is a
 * stranger there, and is not heard.
 */
export class Standing {
  readonly #directory: Directory;
  readonly #network: Network;
  readonly #clock: Clock;
  readonly #log: Log;
  /** Machines that are being asked. */
  readonly #asking = new Set<string>();

  constructor(parts: { directory: Directory; network: Network; clock: Clock; log: Log }) {
    this.#directory = parts.directory;
    this.#network = parts.network;
    this.#clock = parts.clock;
    this.#log = parts.log;
  }

  /** Whether a machine has a standing to ask for: it was a member of a namespace that it does not share with this one now. */
  concerns(machine: string): boolean {
    return [...this.#directory.logs.values()].some((log) => {
      const isIn = log.members.has(machine);
      return isIn ? !this.#directory.isMember(log) : departureOf(log, machine) !== undefined;
    });
  }

  async answer(machine: string, request: JoinRequest & { k: 'standing' }): Promise<JoinAnswer> {
    let log = this.#directory.logs.get(request.ns);
    if (!log || !(log.members.has(machine) || departureOf(log, machine) !== undefined)) {
      return { k: 'refused', code: 'not_member' };
    }
    if (request.offer) log = await this.#take(log, machine, request.offer);
    // A machine that was removed learns of its removal, and of nothing that came after.
    const upTo = log.members.has(machine) ? undefined : departureOf(log, machine);
    const { page } = firstPage(missing(log, request.known, upTo).send);
    return { k: 'standing', statements: page, known: upTo === undefined ? landmarks(log) : [upTo] };
  }

  /** A peer would not link: asks it why, and tells it what it does not know. Never rejects. */
  async ask(machine: string): Promise<void> {
    if (this.#asking.has(machine)) return;
    this.#asking.add(machine);
    try {
      for (const log of this.#directory.common(machine)) await this.#askAbout(machine, log.id);
    } catch (error) {
      const { code, message } = asPatchcordError(error);
      this.#log.info({ machine, code, message }, 'a peer that would not link did not say why');
    } finally {
      this.#asking.delete(machine);
    }
  }

  /**
   * Asks for all statements that this machine lacks, until it has them. Returns the log then. Throws what the
   * network throws.
   */
  async catchUp(machine: string, ns: string, addresses: readonly string[]): Promise<NamespaceLog> {
    let offer: Uint8Array[] | undefined;
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const log = this.#directory.logs.get(ns)!;
      const request = encodeJoin({
        v: 1,
        k: 'standing',
        ns,
        known: landmarks(log),
        ...(offer && { offer }),
      });
      const answer = decodeJoinAnswer(await this.#network.requestJoin(machine, addresses, request));
      if (answer.k !== 'standing') return log;
      const after = await this.#take(log, machine, answer.statements);
      if (after.size > log.size) continue;
      // Nothing more to learn: what the other side lacks may make this machine a member there.
      const told = missing(after, answer.known).send;
      const both = this.#directory.shares(ns, machine);
      if (offer || told.length === 0 || !both) return after;
      offer = firstPage(told).page;
    }
    return this.#directory.logs.get(ns)!;
  }

  async #askAbout(machine: string, ns: string): Promise<void> {
    const before = this.#directory.logs.get(ns)!;
    const after = await this.catchUp(machine, ns, this.#directory.addresses.get(machine) ?? []);
    const removed = this.#directory.removalNotice(after);
    if (removed !== undefined && this.#directory.isMember(before)) {
      this.#log.warn({ machine, ns, heads: heads(after).length }, removed);
    }
  }

  /** The log with what a machine told of it. */
  async #take({ id: ns }: NamespaceLog, machine: string, list: readonly Uint8Array[]): Promise<NamespaceLog> {
    const parts = { directory: this.#directory, clock: this.#clock, log: this.#log };
    await takeStatements(parts, { ns, machine, list });
    return this.#directory.logs.get(ns)!;
  }
}
