import { asPatchcordError, PatchcordError } from '../../protocol/errors.ts';
import { newId } from '../../protocol/ids.ts';
import { ADDRESSES_MAX, INVITES_MAX, INVITE_TTL_MS, INVITE_TTL_MS_MAX } from '../../protocol/limits.ts';
import { statements, type NamespaceLog } from '../../protocol/membership/log.ts';
import type { Signer } from '../../protocol/signing.ts';
import {
  decodeJoinRequest,
  encodeJoin,
  formatTicket,
  isJoinProof,
  type JoinAnswer,
  type JoinRequest,
} from '../../protocol/ticket.ts';
import type { InviteOptions } from '../api/admin.ts';
import type { Clock, Random } from '../clock.ts';
import type { Log } from '../log.ts';
import type { Network } from '../network/network.ts';
import type { Invite } from './directory-store.ts';
import type { Directory } from './directory.ts';
import { JoinChecks, type JoinCheck } from './join-checks.ts';
import { assertAdmin, freeLabel } from './membership.ts';
import type { NamespaceKeys } from './namespace-keys.ts';
import { firstPage } from './pages.ts';
import { said } from './say.ts';
import type { Standing } from './standing.ts';

type Refusal = (JoinAnswer & { k: 'refused' })['code'];

/** The inviter's side of a join: tickets, and the answers to those who hold them. */
export class Invites {
  readonly #directory: Directory;
  readonly #keys: NamespaceKeys;
  readonly #standing: Standing;
  readonly #network: Network;
  readonly #signer: Signer;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Log;
  readonly #checks: JoinChecks;

  constructor(parts: {
    directory: Directory;
    keys: NamespaceKeys;
    standing: Standing;
    network: Network;
    signer: Signer;
    clock: Clock;
    random: Random;
    log: Log;
  }) {
    this.#directory = parts.directory;
    this.#keys = parts.keys;
    this.#standing = parts.standing;
    this.#network = parts.network;
    this.#signer = parts.signer;
    this.#clock = parts.clock;
    this.#random = parts.random;
    this.#log = parts.log;
    this.#checks = new JoinChecks(parts.signer.peerId, parts.clock, parts.random);
  }

  /** Tells the network of the invites that are stored. */
  start(): void {
    this.#expectGuests();
  }

  /** A ticket for one machine. Throws `not_member`, `not_admin`, `too_many`, `invalid_input`. */
  async invite(
    log: NamespaceLog,
    options: InviteOptions = {},
  ): Promise<{ ticket: string; expiresAtMs: number }> {
    const { ttlMs = INVITE_TTL_MS, role = 'member', confirm = false } = options;
    if (!(ttlMs >= 1_000 && ttlMs <= INVITE_TTL_MS_MAX)) {
      throw new PatchcordError(
        'invalid_input',
        'An invite holds from one second to seven days.',
        'Try --ttl 10m.',
      );
    }
    this.#directory.assertMember(log);
    assertAdmin(log, this.#signer.peerId, 'invite');
    const now = this.#clock.now();
    const open = this.#open(log.id);
    if (open.size >= INVITES_MAX) {
      throw new PatchcordError(
        'too_many',
        `${log.name} has ${open.size} open invites.`,
        'Wait until some expire.',
      );
    }
    const addresses = this.#network.addresses().slice(0, ADDRESSES_MAX);
    if (addresses.length === 0) {
      throw new PatchcordError('peer_unreachable', 'This daemon listens nowhere.', 'Start it with --listen.');
    }
    const invite: Invite = {
      id: newId(now, this.#random.bytes),
      ns: log.id,
      secret: this.#random.bytes(16),
      role,
      expiresAtMs: now + ttlMs,
      ...(confirm && { confirm }),
    };
    await this.#keep(invite);
    const ticket = formatTicket({
      ns: log.id,
      peer: this.#signer.peerId,
      addresses,
      secret: invite.secret,
      expires_at: invite.expiresAtMs,
      ...(confirm && { confirm }),
    });
    return { ticket, expiresAtMs: invite.expiresAtMs };
  }

  /** Whether a stranger has any business here: an invite is open, or was used and its answer may have been lost. */
  hasInvites(): boolean {
    const now = this.#clock.now();
    return [...this.#directory.invites.values()].some(({ expiresAtMs }) => expiresAtMs >= now);
  }

  /** Joins of a namespace that wait for somebody to compare their digits. */
  checks(log: NamespaceLog): (JoinCheck & { code: string })[] {
    return this.#checks.waiting(log.id, this.#open(log.id));
  }

  /** Lets the join with these digits in, or turns it away. Throws `not_member`, `not_admin`, `not_found`. */
  decide(log: NamespaceLog, code: string, accept: boolean): JoinCheck & { code: string } {
    this.#directory.assertMember(log);
    assertAdmin(log, this.#signer.peerId, 'let a machine in');
    return this.#checks.decide(log.id, this.#open(log.id), code, accept);
  }

  /** Answers a machine whose identity Noise has proved. Never rejects. */
  async answer(machine: string, bytes: Uint8Array): Promise<Uint8Array> {
    try {
      return encodeJoin(await this.#answer(machine, decodeJoinRequest(bytes)));
    } catch (error) {
      this.#log.warn({ machine, code: asPatchcordError(error).code }, 'a join failed');
      return encodeJoin(refused('ticket_refused'));
    }
  }

  async #answer(machine: string, request: JoinRequest): Promise<JoinAnswer> {
    if (request.k === 'standing') return this.#standing.answer(machine, request);
    if (request.k === 'reveal') return this.#reveal(machine, request);
    return this.#join(machine, request);
  }

  async #join(joiner: string, request: JoinRequest & { k: 'join' }): Promise<JoinAnswer> {
    const { ns, label, commit } = request;
    const bound = { ns, inviter: this.#signer.peerId, joiner };
    const invites = [...this.#directory.invites.values()].filter((invite) => invite.ns === ns);
    const invite = invites.find(({ secret }) => isJoinProof(request.proof, secret, bound));
    if (!invite) return refused('ticket_refused');
    if (!invite.confirm || invite.usedBy === joiner) return this.#admit(joiner, label, invite.id);
    const objection = this.#objection(invite, joiner);
    if (objection) return objection;
    const nonce = commit && this.#checks.begin({ invite: invite.id, ns, joiner, label, commit });
    return nonce ? { k: 'check', nonce } : refused('ticket_refused');
  }

  async #reveal(joiner: string, { ns, nonce }: JoinRequest & { k: 'reveal' }): Promise<JoinAnswer> {
    const check = await this.#checks.reveal(ns, joiner, nonce);
    if (!check) return refused('ticket_refused');
    if (check.verdict === 'pending') {
      const invite = this.#directory.invites.get(check.invite);
      return (invite ? this.#objection(invite, joiner) : refused('ticket_refused')) ?? { k: 'pending' };
    }
    if (!check.verdict) return refused('join_rejected');
    const answer = await this.#admit(joiner, check.label, check.invite);
    this.#checks.end(ns, joiner);
    return answer;
  }

  /** Admits a machine, unless the invite is used or over; the same machine may ask again, when its answer was lost. */
  async #admit(joiner: string, label: string, inviteId: string): Promise<JoinAnswer> {
    let answer: JoinAnswer = refused('ticket_refused');
    const { ns } = this.#directory.invites.get(inviteId) ?? { ns: '' };
    const after = await this.#directory.changeLog(ns, (log) => {
      // Looked up again: changes run one after another, and another one may have used it.
      const invite = this.#directory.invites.get(inviteId);
      const objection = invite && this.#objection(invite, joiner);
      if (objection) answer = objection;
      if (!log || !invite || objection) return undefined;
      // Used, and out since: it takes a new invite to come back.
      const spent = invite.usedBy !== undefined && !log.members.has(joiner);
      answer = spent ? refused('ticket_used') : { k: 'pending' };
      if (spent || log.members.has(joiner)) return undefined;
      const draft = {
        k: 'admit' as const,
        machine: joiner,
        label: freeLabel(log, label),
        role: invite.role,
      };
      const change = said({ log, added: [] }, draft, this.#clock.now(), this.#signer);
      return { ...change, invite: { ...invite, usedBy: joiner } };
    });
    if (answer.k === 'refused' || !after) return answer;
    this.#log.info({ joiner, namespace: after.name }, 'admitted a machine');
    return this.#admitted(after);
  }

  #objection(invite: Invite, joiner: string): JoinAnswer | undefined {
    if (invite.usedBy !== undefined && invite.usedBy !== joiner) return refused('ticket_used');
    if (invite.expiresAtMs < this.#clock.now()) return refused('ticket_expired');
    return undefined;
  }

  #admitted(log: NamespaceLog): JoinAnswer {
    const { page } = firstPage(statements(log));
    const key = this.#keys.current(log.id)?.key;
    const machines = [
      { peer: this.#signer.peerId, addresses: this.#network.addresses().slice(0, ADDRESSES_MAX) },
    ];
    return { k: 'admitted', statements: page, machines, ...(key && { key }) };
  }

  /** Stores an invite and removes those that are over. */
  async #keep(invite: Invite): Promise<void> {
    const { invites, store } = this.#directory;
    const now = this.#clock.now();
    const over = [...invites.values()].filter(({ expiresAtMs }) => expiresAtMs < now).map(({ id }) => id);
    await store.putInvite(invite, over);
    for (const id of over) invites.delete(id);
    invites.set(invite.id, invite);
    this.#checks.sweep(new Set(invites.keys()));
    this.#expectGuests();
  }

  #expectGuests(): void {
    const untilMs = [...this.#directory.invites.values()].map(({ expiresAtMs }) => expiresAtMs);
    this.#network.expectGuests?.(Math.max(0, ...untilMs));
  }

  /** Ids of the invites of a namespace that may still be used. */
  #open(ns: string): Set<string> {
    const now = this.#clock.now();
    const open = [...this.#directory.invites.values()].filter(
      (invite) => invite.ns === ns && invite.usedBy === undefined && invite.expiresAtMs >= now,
    );
    return new Set(open.map(({ id }) => id));
  }
}

function refused(code: Refusal): JoinAnswer {
  return { k: 'refused', code };
}
