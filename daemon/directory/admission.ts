import { asPatchcordError, PatchcordError } from '../../protocol/errors.ts';
import { newId } from '../../protocol/ids.ts';
import { INVITES_MAX, INVITE_TTL_MS, INVITE_TTL_MS_MAX } from '../../protocol/limits.ts';
import {
  admit,
  openLog,
  orderedStatements,
  readStatement,
  signStatement,
  type NamespaceLog,
} from '../../protocol/membership.ts';
import type { Signer } from '../../protocol/signing.ts';
import {
  decodeJoinAnswer,
  decodeJoinRequest,
  encodeJoin,
  formatTicket,
  isJoinProof,
  joinProof,
  parseTicket,
  type JoinAnswer,
  type Ticket,
} from '../../protocol/ticket.ts';
import type { Clock, Random } from '../clock.ts';
import type { Log } from '../log.ts';
import type { Network } from '../network/network.ts';
import type { Invite } from './directory-store.ts';
import { extend, type Directory } from './directory.ts';
import { parts, type DirectorySync } from './sync.ts';

/** How a machine becomes a member: namespaces, invites, and the join that a ticket allows. */
export class Admission {
  readonly #directory: Directory;
  readonly #sync: DirectorySync;
  readonly #network: Network;
  readonly #signer: Signer;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Log;
  /** Joins are answered one after another, so that one ticket cannot be used twice at once. */
  #answering: Promise<unknown> = Promise.resolve();
  /** So are namespaces created, so that one name is not given twice. */
  #creating: Promise<unknown> = Promise.resolve();

  constructor(parts: {
    directory: Directory;
    sync: DirectorySync;
    network: Network;
    signer: Signer;
    clock: Clock;
    random: Random;
    log: Log;
  }) {
    this.#directory = parts.directory;
    this.#sync = parts.sync;
    this.#network = parts.network;
    this.#signer = parts.signer;
    this.#clock = parts.clock;
    this.#random = parts.random;
    this.#log = parts.log;
  }

  /** Throws `namespace_exists`. */
  createNamespace(name: string): Promise<NamespaceLog> {
    const created = this.#creating.then(() => this.#create(name));
    this.#creating = created.catch(() => undefined);
    return created;
  }

  async #create(name: string): Promise<NamespaceLog> {
    this.#assertFree(name);
    const genesis = signStatement(
      {
        v: 1,
        k: 'genesis',
        name,
        by: this.#signer.peerId,
        label: this.#directory.self.label,
        at: this.#clock.now(),
        nonce: this.#random.bytes(16),
      },
      this.#signer,
    );
    return this.#directory.extendLog(genesis.hash, [genesis]);
  }

  /** A ticket for one machine. Throws `not_admin`, `too_many`, `invalid_input`. */
  async invite(
    log: NamespaceLog,
    ttlMs: number = INVITE_TTL_MS,
  ): Promise<{ ticket: string; expiresAtMs: number }> {
    if (!(ttlMs >= 1_000 && ttlMs <= INVITE_TTL_MS_MAX)) {
      throw new PatchcordError(
        'invalid_input',
        'An invite holds from one second to seven days.',
        'Try --ttl 10m.',
      );
    }
    if (log.members.get(this.#signer.peerId)?.role !== 'admin') {
      const admins = [...log.members.values()]
        .filter(({ role }) => role === 'admin')
        .map(({ label }) => label);
      throw new PatchcordError(
        'not_admin',
        `Only an admin of ${log.name} may invite.`,
        `Ask on: ${admins.join(', ')}.`,
      );
    }
    const now = this.#clock.now();
    const over = [...this.#directory.invites.values()].filter(({ expiresAtMs }) => expiresAtMs < now);
    const open = [...this.#directory.invites.values()].filter(
      (invite) => invite.ns === log.id && isOpen(invite, now),
    );
    if (open.length >= INVITES_MAX) {
      throw new PatchcordError(
        'too_many',
        `${log.name} has ${open.length} open invites.`,
        'Wait until some expire.',
      );
    }
    const invite: Invite = {
      id: newId(now, this.#random.bytes),
      ns: log.id,
      secret: this.#random.bytes(16),
      role: 'member',
      expiresAtMs: now + ttlMs,
    };
    const addresses = this.#network.addresses().slice(0, 16);
    if (addresses.length === 0) {
      throw new PatchcordError('peer_unreachable', 'This daemon listens nowhere.', 'Start it with --listen.');
    }
    await this.#directory.store.putInvite(
      invite,
      over.map(({ id }) => id),
    );
    for (const { id } of over) this.#directory.invites.delete(id);
    this.#directory.invites.set(invite.id, invite);
    const ticket = formatTicket({
      ns: log.id,
      peer: this.#signer.peerId,
      addresses,
      secret: invite.secret,
      expires_at: invite.expiresAtMs,
    });
    return { ticket, expiresAtMs: invite.expiresAtMs };
  }

  /** Whether a stranger has any business here: an invite is open, or was used and its answer may have been lost. */
  hasInvites(): boolean {
    const now = this.#clock.now();
    return [...this.#directory.invites.values()].some(({ expiresAtMs }) => expiresAtMs >= now);
  }

  /** Answers a join request of a machine whose identity Noise has proved. Never rejects. */
  answerJoin(joiner: string, request: Uint8Array): Promise<Uint8Array> {
    const answer = this.#answering.then(() => this.#answer(joiner, request));
    this.#answering = answer.catch(() => undefined);
    return answer.then(encodeJoin, (error: unknown) => {
      this.#log.warn({ joiner, code: asPatchcordError(error).code }, 'a join failed');
      return encodeJoin({ k: 'refused', code: 'ticket_refused' });
    });
  }

  /** Joins by ticket. Throws the `ticket_*` codes, `peer_unreachable`, `timeout`, `namespace_exists`. */
  async join(text: string): Promise<{ log: NamespaceLog; joined: boolean; admittedBy: string }> {
    const ticket = parseTicket(text);
    const { peerId } = this.#signer;
    const known = this.#directory.logs.get(ticket.ns);
    if (known?.members.has(peerId)) {
      await this.#learnInviter(ticket);
      return { log: known, joined: false, admittedBy: known.members.get(peerId)!.by };
    }
    const proof = joinProof(ticket.secret, { ns: ticket.ns, inviter: ticket.peer, joiner: peerId });
    const request = encodeJoin({ v: 1, ns: ticket.ns, label: this.#directory.self.label, proof });
    const answer = decodeJoinAnswer(await this.#ask(ticket, request));
    if (answer.k === 'refused') throw ticketError(answer.code);
    const log = await this.#accept(ticket, answer);
    return { log, joined: true, admittedBy: log.members.get(peerId)!.by };
  }

  /** An inviter without open invites takes no calls from strangers, so an expired ticket may look like a dead line. */
  async #ask(ticket: Ticket, request: Uint8Array): Promise<Uint8Array> {
    try {
      return await this.#network.requestJoin(ticket.peer, ticket.addresses, request);
    } catch (error) {
      if (ticket.expires_at < this.#clock.now()) throw ticketError('ticket_expired', error);
      throw error;
    }
  }

  async #answer(joiner: string, bytes: Uint8Array): Promise<JoinAnswer> {
    const request = decodeJoinRequest(bytes);
    const log = this.#directory.logs.get(request.ns);
    const bound = { ns: request.ns, inviter: this.#signer.peerId, joiner };
    const invites = [...this.#directory.invites.values()].filter(({ ns }) => ns === request.ns);
    const invite = invites.find(({ secret }) => isJoinProof(request.proof, secret, bound));
    if (!log || !invite) return { k: 'refused', code: 'ticket_refused' };
    if (invite.usedBy !== undefined && invite.usedBy !== joiner) return { k: 'refused', code: 'ticket_used' };
    if (invite.expiresAtMs < this.#clock.now()) return { k: 'refused', code: 'ticket_expired' };
    // The same machine again: its answer was lost on the way.
    if (log.members.has(joiner)) return this.#admitted(log, joiner);
    const statement = admit(
      log,
      { peerId: joiner, label: freeLabel(log, request.label), role: invite.role },
      this.#clock.now(),
      this.#signer,
    );
    const extended = await this.#directory.extendLog(log.id, [statement], { ...invite, usedBy: joiner });
    this.#log.info({ joiner, namespace: log.name }, 'admitted a machine');
    this.#sync.announceLog(extended);
    return this.#admitted(extended, joiner);
  }

  /** As much of the log as one answer holds, the joiner's own admit first among the admits; the rest is synced later. */
  #admitted(log: NamespaceLog, joiner: string): JoinAnswer {
    const ordered = orderedStatements(log);
    const needed = ordered.filter(({ statement }) => {
      return statement.k === 'genesis' || statement.machine === joiner || statement.role === 'admin';
    });
    const rest = ordered.filter((signed) => !needed.includes(signed));
    const [first = []] = parts([...needed, ...rest], ({ bytes }) => bytes.length + 8);
    const machines = [{ peer: this.#signer.peerId, addresses: this.#network.addresses().slice(0, 16) }];
    return { k: 'admitted', statements: first.map(({ bytes }) => bytes), machines };
  }

  async #accept(ticket: Ticket, answer: JoinAnswer & { k: 'admitted' }): Promise<NamespaceLog> {
    const statements = answer.statements.map(readStatement);
    const genesis = statements.find(({ hash }) => hash === ticket.ns);
    if (!genesis) throw new PatchcordError('ticket_refused', 'The inviter answered for another namespace.');
    const { log, added } = extend(openLog(genesis), statements);
    if (!log.members.has(this.#signer.peerId)) {
      throw new PatchcordError('ticket_refused', 'The inviter did not admit this machine.');
    }
    this.#assertFree(log.name, log.id);
    const joined = await this.#directory.extendLog(log.id, [genesis, ...added]);
    await this.#learnInviter(ticket);
    this.#sync.announceLog(joined);
    return joined;
  }

  async #learnInviter(ticket: Ticket): Promise<void> {
    await this.#directory.learnAddresses([{ machine: ticket.peer, addresses: ticket.addresses, own: true }]);
    this.#sync.updatePeers();
  }

  #assertFree(name: string, id?: string): void {
    const known = this.#directory.findNamespace(name);
    if (known && known.id !== id) {
      throw new PatchcordError(
        'namespace_exists',
        `This machine is in a namespace called ${name} already.`,
        'Choose another name, or another --home for a second circle of the same name.',
      );
    }
  }
}

function isOpen(invite: Invite, nowMs: number): boolean {
  return invite.usedBy === undefined && invite.expiresAtMs >= nowMs;
}

/** The label, with a number behind it when another member has it: labels are what people type. */
function freeLabel(log: NamespaceLog, wanted: string): string {
  const taken = new Set([...log.members.values()].map(({ label }) => label));
  if (!taken.has(wanted)) return wanted;
  for (let number = 2; ; number++) {
    const label = `${wanted.slice(0, 110)}-${number}`;
    if (!taken.has(label)) return label;
  }
}

function ticketError(
  code: 'ticket_expired' | 'ticket_used' | 'ticket_refused',
  cause?: unknown,
): PatchcordError {
  const again = 'Ask for a new one: `patchcord namespace invite NAME`.';
  if (code === 'ticket_expired') return new PatchcordError(code, 'The ticket has expired.', again, { cause });
  if (code === 'ticket_used')
    return new PatchcordError(code, 'The ticket was used by another machine.', again, { cause });
  return new PatchcordError(code, 'The inviting machine does not know this ticket.', again, { cause });
}
