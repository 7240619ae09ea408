import type { NamespaceLog } from '../../protocol/membership/log.ts';
import type { Role, SignedStatement } from '../../protocol/membership/statement.ts';
import type { Roster } from '../../protocol/roster.ts';
import { below } from '../store/mail-records.ts';
import type { Journal } from '../store/journal.ts';

/** An agent that lives on this machine. */
export interface LocalAgent {
  id: string;
  ns: string;
  name: string;
  lastSeenMs: number;
  client: string;
  /** What its user has it say of itself. */
  status?: string;
  /** It does not want to be disturbed. */
  dnd?: true;
  /** Told instead of the folder that its session works in; "" tells none. */
  project?: string;
  /** Whether the git branch may be told. Not decided when absent: then it depends on how its client was started. */
  branch?: boolean;
}

/** An invite of this machine. The secret is kept, sealed, until the invite expires, to recognise its second use. */
export interface Invite {
  id: string;
  ns: string;
  secret: Uint8Array;
  role: Role;
  expiresAtMs: number;
  /** People compare six digits before the machine is let in. */
  confirm?: boolean;
  /** The machine that joined by it. */
  usedBy?: string;
}

/** One step of a namespace log, and what is stored with it. */
export interface LogChange {
  /** The log as it is afterwards. */
  log: NamespaceLog;
  added: readonly SignedStatement[];
  /** The invite that the statements used up. */
  invite?: Invite | undefined;
  /** The namespace key that they made. */
  key?: Uint8Array | undefined;
  /** The agent whose name they claimed. */
  agent?: LocalAgent | undefined;
  /** The machine that told the statements, unless they were made here. */
  from?: string | undefined;
}

/**
 * What the directory keeps across restarts. One line a kind of record:
 *
 *     statement/NS/HASH   bytes of a signed statement
 *     missing/NS/HASH     true: that statement was damaged; until it is there again nobody knows who is in
 *     namespace-key/NS    the newest namespace key, 32 bytes
 *     invite/ID           Invite
 *     prekey/MACHINE      bytes of a signed prekey, the newest known
 *     roster/NS/MACHINE   Roster, as that machine announced it last
 *     whereabouts/MACHINE bytes of a signed word on where it is, the newest known
 *     address/MACHINE     string[]: multiaddrs that others named, best first
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
      missing: (await all<true>('missing/')).map(({ names }) => ({ ns: names[0]!, hash: names[1]! })),
      keys: (await all<Uint8Array>('namespace-key/')).map(({ names, value }) => ({
        ns: names[0]!,
        key: value,
      })),
      invites: (await all<Invite>('invite/')).map(({ value }) => value),
      rosters: (await all<Roster>('roster/')).map(({ names, value }) => ({
        ns: names[0]!,
        machine: names[1]!,
        roster: value,
      })),
      prekeys: (await all<Uint8Array>('prekey/')).map(({ value }) => value),
      whereabouts: (await all<Uint8Array>('whereabouts/')).map(({ value }) => value),
      addresses: (await all<string[]>('address/')).map(({ names, value }) => ({
        machine: names[0]!,
        addresses: value,
      })),
      agents: (await all<LocalAgent>('agent/')).map(({ value }) => value),
      tokens: (await all<string>('token/')).map(({ names, value }) => ({ hash: names[0]!, agent: value })),
    };
  }

  /** What changes with a namespace log, in one batch: an invite is used exactly when its admit exists. */
  async putChange(ns: string, { added, invite, key, agent }: Omit<LogChange, 'log'>): Promise<void> {
    await this.#journal.transact(async (tx) => {
      for (const { hash, bytes } of added) tx.put(`statement/${ns}/${hash}`, bytes);
      if (invite) tx.put(`invite/${invite.id}`, invite);
      if (key) tx.put(`namespace-key/${ns}`, key);
      if (agent) tx.put(`agent/${agent.id}`, agent);
    });
  }

  async putKey(ns: string, key: Uint8Array): Promise<void> {
    await this.#journal.transact(async (tx) => tx.put(`namespace-key/${ns}`, key));
  }

  async dropKey(ns: string): Promise<void> {
    await this.#journal.transact(async (tx) => tx.delete(`namespace-key/${ns}`));
  }

  /** Removes every trace of a namespace that nobody is left to tell of. */
  async forgetNamespace(ns: string): Promise<void> {
    await this.#journal.transact(async (tx) => {
      tx.delete(`namespace-key/${ns}`);
      for (const kind of ['roster', 'statement', 'missing']) {
        for (const [key] of await tx.range(below(`${kind}/${ns}/`))) tx.delete(key);
      }
    });
  }

  async dropRoster(ns: string, machine: string): Promise<void> {
    await this.#journal.transact(async (tx) => tx.delete(`roster/${ns}/${machine}`));
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

  async putAddresses(machine: string, addresses: readonly string[]): Promise<void> {
    await this.#journal.transact(async (tx) => tx.put(`address/${machine}`, addresses));
  }

  /** The machine's own word; what others named is over. */
  async putWhereabouts(machine: string, bytes: Uint8Array): Promise<void> {
    await this.#journal.transact(async (tx) => {
      tx.put(`whereabouts/${machine}`, bytes);
      tx.delete(`address/${machine}`);
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
