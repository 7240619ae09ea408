import { PatchcordError } from '../../protocol/errors.ts';
import type { Draft } from '../../protocol/membership/author.ts';
import type { NamespaceLog } from '../../protocol/membership/log.ts';
import type { Member } from '../../protocol/membership/view.ts';
import type { Signer } from '../../protocol/signing.ts';
import type { Clock } from '../clock.ts';
import type { LogChange } from './directory-store.ts';
import type { Directory } from './directory.ts';
import type { NamespaceKeys } from './namespace-keys.ts';
import { keyOfRecoveryWords } from './recovery-words.ts';
import { said } from './say.ts';

/** What admins decide about the machines of a namespace, and what a machine decides about itself. */
export class Membership {
  readonly #directory: Directory;
  readonly #keys: NamespaceKeys;
  readonly #signer: Signer;
  readonly #clock: Clock;

  constructor(parts: { directory: Directory; keys: NamespaceKeys; signer: Signer; clock: Clock }) {
    this.#directory = parts.directory;
    this.#keys = parts.keys;
    this.#signer = parts.signer;
    this.#clock = parts.clock;
  }

  /** Removes a machine and re-keys. Throws `not_member`, `not_admin`, `not_found`, and `invalid_input` for this machine. */
  async remove(log: NamespaceLog, name: string): Promise<Member> {
    this.#assertAdmin(log, 'remove a machine');
    const member = memberNamed(log, name);
    const { peerId } = member;
    if (peerId === this.#signer.peerId) {
      throw new PatchcordError(
        'invalid_input',
        'That is this machine.',
        `Use: patchcord namespace leave ${log.name}`,
      );
    }
    await this.#change(log.id, (change) =>
      this.#keys.rotated(this.#said(change, { k: 'remove', machine: peerId })),
    );
    return member;
  }

  /** Throws `not_member`, `not_admin`, `not_found`, and `invalid_input` for one that is an admin. */
  async promote(ns: string, name: string): Promise<{ log: NamespaceLog; member: Member }> {
    const log = this.#directory.logs.get(ns)!;
    this.#assertAdmin(log, 'make a machine an admin');
    const { peerId } = memberNamed(log, name);
    const after = await this.#change(log.id, (change) =>
      this.#said(change, { k: 'promote', machine: peerId }),
    );
    return { log: after, member: after.members.get(peerId)! };
  }

  /**
   * This machine leaves, or forgets a namespace that it is out of already. Throws `invalid_input` for the last admin
   * of other machines.
   */
  async leave(log: NamespaceLog): Promise<void> {
    if (!this.#directory.isMember(log) || log.members.size === 1) {
      await this.#directory.forgetNamespace(log.id);
      return;
    }
    const { peerId } = this.#signer;
    await this.#change(log.id, (change) =>
      this.#said(change, { k: 'remove', machine: peerId, reason: 'left' }),
    );
  }

  /**
   * Makes this machine an admin by the recovery words, and removes another with the same authority. Throws
   * `invalid_input` for words that are none, `forbidden` for those of another namespace, `not_found`.
   */
  async recover(log: NamespaceLog, phrase: string, removed?: string): Promise<NamespaceLog> {
    const genesisKey = keyOfRecoveryWords(phrase);
    if (genesisKey.peerId !== log.genesisKey) {
      throw new PatchcordError(
        'forbidden',
        `These words are not those of ${log.name}.`,
        'Each namespace has words of its own; find the paper for this one.',
      );
    }
    const { peerId, label } = this.#directory.self;
    const target = removed === undefined ? undefined : memberNamed(log, removed).peerId;
    if (target === peerId) throw new PatchcordError('invalid_input', 'That is this machine.');
    return this.#change(log.id, (before) => {
      let change = before;
      const role = change.log.members.get(peerId)?.role;
      if (role === undefined) {
        const admit: Draft = {
          k: 'admit',
          machine: peerId,
          label: freeLabel(change.log, label),
          role: 'admin',
        };
        change = this.#said(change, admit, genesisKey);
      } else if (role !== 'admin') {
        change = this.#said(change, { k: 'promote', machine: peerId }, genesisKey);
      }
      if (target === undefined) return change;
      return this.#keys.rotated(this.#said(change, { k: 'remove', machine: target }, genesisKey));
    });
  }

  #assertAdmin(log: NamespaceLog, what: string): void {
    this.#directory.assertMember(log);
    assertAdmin(log, this.#signer.peerId, what);
  }

  async #change(ns: string, decide: (change: LogChange) => LogChange): Promise<NamespaceLog> {
    const after = await this.#directory.changeLog(ns, (log) => decide({ log: log!, added: [] }));
    return after!;
  }

  /** One more statement, on top of what was said already. */
  #said(change: LogChange, draft: Draft, signer = this.#signer): LogChange {
    return said(change, draft, this.#clock.now(), signer);
  }
}

/** Throws `not_admin`, naming who is one. */
export function assertAdmin(log: NamespaceLog, peerId: string, what: string): void {
  if (log.members.get(peerId)?.role === 'admin') return;
  const labels = [...log.members.values()].filter(({ role }) => role === 'admin').map(({ label }) => label);
  throw new PatchcordError(
    'not_admin',
    `Only an admin of ${log.name} may ${what}.`,
    `Ask on: ${labels.join(', ')}.`,
  );
}

/** The label, with a number behind it when another member has it: labels are what people type. */
export function freeLabel(log: NamespaceLog, wanted: string): string {
  const taken = new Set([...log.members.values()].map(({ label }) => label));
  if (!taken.has(wanted)) return wanted;
  for (let number = 2; ; number++) {
    const label = `${wanted.slice(0, 110)}-${number}`;
    if (!taken.has(label)) return label;
  }
}

/** The member of that peer id or label. Throws `not_found`, and `invalid_input` for a label that several have. */
function memberNamed(log: NamespaceLog, name: string): Member {
  const wanted = name.trim();
  const members = [...log.members.values()];
  const named = members.filter(({ peerId, label }) => peerId === wanted || label === wanted);
  if (named.length === 1) return named[0]!;
  if (named.length === 0) {
    throw new PatchcordError(
      'not_found',
      `No machine ${JSON.stringify(wanted.slice(0, 120))} in ${log.name}.`,
      `Its machines: ${members
        .slice(0, 20)
        .map(({ label }) => label)
        .join(', ')}. See \`patchcord namespace members\`.`,
    );
  }
  throw new PatchcordError(
    'invalid_input',
    `${named.length} machines are called ${wanted}.`,
    `Name one by its peer id: ${named.map(({ peerId }) => peerId).join(', ')}.`,
  );
}
