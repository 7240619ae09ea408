import type { Role } from '../../protocol/membership.ts';
import type { Roster } from '../../protocol/roster.ts';
import { below } from '../store/mail-records.ts';
import type { Journal } from '../store/journal.ts';

/** An agent that lives on this machine. */
export interface LocalAgent {
  id: string;
  ns: string;
  name: string;
  claimedAtMs: number;
  lastSeenMs: number;
  client: string;
}

/** An invite of this machine. The secret is kept, sealed, until the invite expires, to recognise its second use. */
export interface Invite {
  id: string;
  ns: string;
  secret: Uint8Array;
  role: Role;
  expiresAtMs: number;
  /** The machine that joined by it. */
  usedBy?: string;
}

/**
 * What the directory keeps across restarts. One line a kind of record:
 *
 *     statement/NS/HASH   bytes of a signed statement
 *     invite/ID           Invite
 *     prekey/MACHINE      bytes of a signed prekey, the newest known
 *     roster/NS/MACHINE   Roster, as that machine announced it last
 *     address/MACHINE     string[]: multiaddrs, best first
 *     agent/ID            LocalAgent
 *     token/HASH          agent id; the hash is SHA-256 of a bearer token, in hex
 */
export class DirectoryStore {
  readonly #journal: Journal;

  constructor(journal: Journal) {
    this.#journal = journal;
  }

  async load() {
    const all = async <T>(prefix: string) =>
      (await this.#journal.range<T>(below(prefix))).map(([key, value]) => ({
        names: key.split('/').slice(1),
        value,
      }));
    return {
      statements: (await all<Uint8Array>('statement/')).map(({ names, value }) => ({
        ns: names[0]!,
        bytes: value,
      })),
      invites: (await all<Invite>('invite/')).map(({ value }) => value),
      rosters: (await all<Roster>('roster/')).map(({ names, value }) => ({
        ns: names[0]!,
        machine: names[1]!,
        roster: value,
      })),
      prekeys: (await all<Uint8Array>('prekey/')).map(({ value }) => value),
      addresses: (await all<string[]>('address/')).map(({ names, value }) => ({
        machine: names[0]!,
        addresses: value,
      })),
      agents: (await all<LocalAgent>('agent/')).map(({ value }) => value),
      tokens: (await all<string>('token/')).map(({ names, value }) => ({ hash: names[0]!, agent: value })),
    };
  }

  /** Statements, and the invite that they used up, in one batch: an invite is used exactly when its admit exists. */
  async putStatements(
    ns: string,
    statements: readonly { hash: string; bytes: Uint8Array }[],
    used?: Invite,
  ): Promise<void> {
    await this.#journal.transact(async (tx) => {
      for (const { hash, bytes } of statements) tx.put(`statement/${ns}/${hash}`, bytes);
      if (used) tx.put(`invite/${used.id}`, used);
    });
  }

  /** Adds an invite and removes those that are over. */
  async putInvite(invite: Invite, overIds: readonly string[]): Promise<void> {
    await this.#journal.transact(async (tx) => {
      tx.put(`invite/${invite.id}`, invite);
      for (const id of overIds) tx.delete(`invite/${id}`);
    });
  }

  async putRoster(ns: string, machine: string, roster: Roster): Promise<void> {
    await this.#journal.transact(async (tx) => tx.put(`roster/${ns}/${machine}`, roster));
  }

  async putPrekey(machine: string, bytes: Uint8Array): Promise<void> {
    await this.#journal.transact(async (tx) => tx.put(`prekey/${machine}`, bytes));
  }

  async putAddresses(entries: readonly { machine: string; addresses: readonly string[] }[]): Promise<void> {
    await this.#journal.transact(async (tx) => {
      for (const { machine, addresses } of entries) tx.put(`address/${machine}`, addresses);
    });
  }

  async putAgent(agent: LocalAgent): Promise<void> {
    await this.#journal.transact(async (tx) => tx.put(`agent/${agent.id}`, agent));
  }

  async putToken(hash: string, agentId: string): Promise<void> {
    await this.#journal.transact(async (tx) => tx.put(`token/${hash}`, agentId));
  }

  /** Removes an agent and its tokens. */
  async removeAgent(agentId: string): Promise<void> {
    await this.#journal.transact(async (tx) => {
      tx.delete(`agent/${agentId}`);
      for (const [key, owner] of await tx.range<string>(below('token/')))
        if (owner === agentId) tx.delete(key);
    });
  }
}
