import { PatchcordError } from '../../protocol/errors.ts';
import { joinCheckCode, joinCommitment, JOIN_NONCE_SIZE_BYTES } from '../../protocol/join-check.ts';
import { addStatements, openLog, type NamespaceLog } from '../../protocol/membership/log.ts';
import { foundNamespace, recoveryKeyFromSeed } from '../../protocol/membership/statement.ts';
import type { Signer } from '../../protocol/signing.ts';
import {
  decodeJoinAnswer,
  encodeJoin,
  joinProof,
  parseTicket,
  type JoinAnswer,
  type JoinRequest,
  type Ticket,
} from '../../protocol/ticket.ts';
import type { Clock, Random } from '../clock.ts';
import type { Log } from '../log.ts';
import type { Network } from '../network/network.ts';
import type { Directory } from './directory.ts';
import type { NamespaceKeys } from './namespace-keys.ts';
import { readStatements } from './pages.ts';
import { recoveryWords } from './recovery-words.ts';
import type { Standing } from './standing.ts';
import type { DirectorySync } from './sync.ts';

/** Joins that wait at the same time until other sides have compared their digits. */
const WAITING_MAX = 16;

/** A join whose digits are being compared. */
interface Waiting {
  code: string;
  answer: Promise<JoinAnswer>;
  reveal: () => Promise<JoinAnswer>;
}

export type Joined = { log: NamespaceLog; joined: boolean; inviter: string } | { check: string };

/** How this machine comes to be in a namespace: it founds one, or joins by ticket. */
export class Joining {
  readonly #directory: Directory;
  readonly #sync: DirectorySync;
  readonly #keys: NamespaceKeys;
  readonly #standing: Standing;
  readonly #network: Network;
  readonly #signer: Signer;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Log;
  /** By ticket. */
  readonly #waiting = new Map<string, Waiting>();

  constructor(parts: {
    directory: Directory;
    sync: DirectorySync;
    keys: NamespaceKeys;
    standing: Standing;
    network: Network;
    signer: Signer;
    clock: Clock;
    random: Random;
    log: Log;
  }) {
    this.#directory = parts.directory;
    this.#sync = parts.sync;
    this.#keys = parts.keys;
    this.#standing = parts.standing;
    this.#network = parts.network;
    this.#signer = parts.signer;
    this.#clock = parts.clock;
    this.#random = parts.random;
    this.#log = parts.log;
  }

  /** A new namespace, and the words that its genesis key can be made of again. Throws `namespace_exists`. */
  async found(name: string): Promise<{ log: NamespaceLog; recoveryPhrase: string }> {
    const seed = this.#random.bytes(32);
    const { peerId, label } = this.#directory.self;
    const founding = { name, founder: { machine: peerId, label }, nonce: this.#random.bytes(16) };
    const genesis = foundNamespace(founding, this.#clock.now(), recoveryKeyFromSeed(seed));
    const log = await this.#directory.changeLog(genesis.hash, () => {
      // Here, where changes run one after another, so that one name is not given twice.
      this.#assertFree(name);
      return this.#keys.rotated({ log: openLog(genesis), added: [genesis] });
    });
    return { log: log!, recoveryPhrase: recoveryWords(seed) };
  }

  /**
   * Joins by ticket. A ticket that asks for a check is answered with the digits until the other side has decided;
   * call it again. Throws the `ticket_*` codes, `join_rejected`, `peer_unreachable`, `timeout`, `namespace_exists`.
   */
  async join(text: string): Promise<Joined> {
    const ticket = parseTicket(text);
    const known = this.#directory.logs.get(ticket.ns);
    if (known && this.#directory.isMember(known)) {
      await this.#learnInviter(ticket);
      return { log: known, joined: false, inviter: ticket.peer };
    }
    const place = text.trim();
    const answer = await (ticket.confirm ? this.#checked(place, ticket) : this.#ask(ticket));
    if ('check' in answer) return answer;
    if (answer.k === 'refused') throw ticketError(answer.code);
    if (answer.k !== 'admitted') throw ticketError('ticket_refused');
    const log = await this.#accept(ticket, answer);
    return { log, joined: true, inviter: ticket.peer };
  }

  /** The decision of a join with a check, or the digits to compare while there is none. */
  async #checked(place: string, ticket: Ticket): Promise<JoinAnswer | { check: string }> {
    const waiting = this.#waiting.get(place);
    if (!waiting) return this.#begin(place, ticket);
    try {
      const answer = await waiting.answer;
      if (answer.k !== 'pending') {
        this.#waiting.delete(place);
        return answer;
      }
      waiting.answer = waiting.reveal();
      return { check: waiting.code };
    } catch (error) {
      this.#waiting.delete(place);
      throw error;
    }
  }

  async #begin(place: string, ticket: Ticket): Promise<JoinAnswer | { check: string }> {
    if (this.#waiting.size >= WAITING_MAX) {
      throw new PatchcordError('too_many', 'Too many joins wait already.', 'Finish one of them first.');
    }
    const nonce = this.#random.bytes(JOIN_NONCE_SIZE_BYTES);
    const answer = await this.#ask(ticket, joinCommitment(nonce));
    if (answer.k !== 'check') return answer;
    const code = joinCheckCode({
      ns: ticket.ns,
      inviter: ticket.peer,
      joiner: this.#signer.peerId,
      inviterNonce: answer.nonce,
      joinerNonce: nonce,
    });
    const reveal = () => {
      const revealed = this.#request(ticket, { v: 1, k: 'reveal', ns: ticket.ns, nonce });
      // Whoever asks next hears of a failure.
      revealed.catch(() => undefined);
      return revealed;
    };
    this.#waiting.set(place, { code, reveal, answer: reveal() });
    return { check: code };
  }

  #ask(ticket: Ticket, commit?: Uint8Array): Promise<JoinAnswer> {
    const bound = { ns: ticket.ns, inviter: ticket.peer, joiner: this.#signer.peerId };
    return this.#request(ticket, {
      v: 1,
      k: 'join',
      ns: ticket.ns,
      label: this.#directory.self.label,
      proof: joinProof(ticket.secret, bound),
      ...(commit && { commit }),
    });
  }

  /** An inviter without open invites takes no calls from strangers, so an expired ticket may look like a dead line. */
  async #request(ticket: Ticket, request: JoinRequest): Promise<JoinAnswer> {
    try {
      const bytes = await this.#network.requestJoin(ticket.peer, ticket.addresses, encodeJoin(request));
      return decodeJoinAnswer(bytes);
    } catch (error) {
      if (ticket.expires_at < this.#clock.now()) throw ticketError('ticket_expired', error);
      throw error;
    }
  }

  async #accept(ticket: Ticket, answer: JoinAnswer & { k: 'admitted' }): Promise<NamespaceLog> {
    const { ns } = ticket;
    const read = await readStatements(answer.statements, this.#clock, ({ code }) => {
      this.#log.warn({ ns, code }, 'refused a statement');
    });
    const genesis = read.find(({ hash }) => hash === ns);
    if (!genesis) throw new PatchcordError('ticket_refused', 'The inviter answered for another namespace.');
    const fresh = !this.#directory.logs.has(ns);
    await this.#directory.changeLog(ns, (known) => {
      const opened = known ?? openLog(genesis);
      const { log, added } = addStatements(opened, read);
      this.#assertFree(log.name, ns);
      return { log, added: known ? added : [genesis, ...added] };
    });
    // A long log takes several answers.
    const log = await this.#caughtUp(ticket, fresh);
    if (answer.key) await this.#keys.take(ns, answer.key);
    await this.#learnInviter(ticket);
    return log;
  }

  /** The log with this machine in it. Of a namespace that it does not get into nothing is kept. */
  async #caughtUp({ peer, ns, addresses }: Ticket, fresh: boolean): Promise<NamespaceLog> {
    try {
      const log = await this.#standing.catchUp(peer, ns, addresses);
      if (this.#directory.isMember(log)) return log;
      throw new PatchcordError('ticket_refused', 'The inviter did not admit this machine.');
    } catch (error) {
      const held = this.#directory.logs.get(ns);
      if (fresh && held && !this.#directory.isMember(held)) await this.#directory.forgetNamespace(ns);
      throw error;
    }
  }

  async #learnInviter(ticket: Ticket): Promise<void> {
    await this.#directory.learnAddresses(ticket.peer, ticket.addresses);
    this.#sync.updatePeers();
  }

  #assertFree(name: string, id?: string): void {
    const taken = [...this.#directory.logs.values()].some((log) => {
      return log.name === name && log.id !== id && this.#directory.isMember(log);
    });
    if (!taken) return;
    throw new PatchcordError(
      'namespace_exists',
      `This machine is in a namespace called ${name} already.`,
      'Choose another name, or another --home for a second circle of the same name.',
    );
  }
}

const TICKET_ERRORS = {
  ticket_expired: 'The ticket has expired.',
  ticket_used: 'The ticket was used by another machine.',
  ticket_refused: 'The inviting machine does not know this ticket.',
  join_rejected: 'The other side turned the join away: the digits were not the same.',
  not_member: 'The inviting machine does not know this machine.',
} as const;

function ticketError(code: keyof typeof TICKET_ERRORS, cause?: unknown): PatchcordError {
  const again = 'Ask for a new one: `patchcord namespace invite NAME`.';
  return new PatchcordError(code, TICKET_ERRORS[code], again, { cause });
}
