import { createHash } from 'node:crypto';
import pLimit from 'p-limit';
import { formatAddress, parseAddress } from '../../protocol/address.ts';
import { asPatchcordError, PatchcordError } from '../../protocol/errors.ts';
import { newId } from '../../protocol/ids.ts';
import { AGENTS_PER_MACHINE_MAX } from '../../protocol/limits.ts';
import type { NamespaceLog } from '../../protocol/membership/log.ts';
import type { Signer } from '../../protocol/signing.ts';
import type { Clock, Random } from '../clock.ts';
import type { Log } from '../log.ts';
import type { LocalAgent } from './directory-store.ts';
import type { Directory } from './directory.ts';
import { said } from './say.ts';
import type { DirectorySync } from './sync.ts';

const TOKEN_PREFIX = 'pct_';

/**
 * The agents that live on this machine: their names, which are claims in the namespace log, their bearer tokens, and
 * whether they are here.
 */
export class Agents {
  readonly #directory: Directory;
  readonly #sync: DirectorySync;
  readonly #signer: Signer;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Log;
  /** Adds run one after another, so that one name is not added twice. */
  readonly #adding = pLimit(1);

  constructor(parts: {
    directory: Directory;
    sync: DirectorySync;
    signer: Signer;
    clock: Clock;
    random: Random;
    log: Log;
  }) {
    this.#directory = parts.directory;
    this.#sync = parts.sync;
    this.#signer = parts.signer;
    this.#clock = parts.clock;
    this.#random = parts.random;
    this.#log = parts.log;
  }

  /**
   * The agent of that address, added when it is new. Throws `invalid_name`, `unknown_namespace`, `not_member`,
   * `name_taken`, `too_many`.
   */
  add(address: string): Promise<LocalAgent> {
    return this.#adding(() => this.#add(address));
  }

  /** Throws `invalid_name`, `unknown_namespace`, `unknown_agent`. */
  find(text: string): LocalAgent {
    const address = parseAddress(text);
    const log = this.#directory.namespaceByName(address.namespace);
    const agent = this.#directory.localAgent(log.id, address.name);
    if (agent) return agent;
    throw new PatchcordError(
      'unknown_agent',
      `No agent ${formatAddress(address)} lives on this machine.`,
      `Add it: patchcord agent add ${formatAddress(address)}`,
    );
  }

  async remove(agent: LocalAgent): Promise<void> {
    await this.#directory.store.removeAgent(agent.id);
    this.#directory.agents.delete(agent.id);
    this.#directory.online.delete(agent.id);
    for (const [hash, owner] of this.#directory.tokens)
      if (owner === agent.id) this.#directory.tokens.delete(hash);
    await this.#release(agent);
    this.#sync.announceRoster(agent.ns);
  }

  /** Claims the names of agents that hold none, where that is possible: this machine was out for a while, or a name became free. */
  async claimNames(ns: string): Promise<void> {
    for (const agent of this.#directory.agents.values()) {
      if (agent.ns !== ns || !this.#isNameless(agent)) continue;
      try {
        await this.#claim(agent);
      } catch (error) {
        this.#log.warn({ agent: agent.name, code: asPatchcordError(error).code }, 'a name was not claimed');
      }
    }
  }

  /** A session of the agent opened. */
  async arrive(agentId: string, client: string): Promise<void> {
    this.#directory.online.add(agentId);
    await this.#touch(agentId, client);
  }

  /** What its user has an agent tell, and whether it wants to be disturbed. */
  async set(agentId: string, change: (agent: LocalAgent) => LocalAgent): Promise<void> {
    const before = this.#directory.agents.get(agentId);
    if (!before) return;
    const after = change(before);
    // Seen at once, so that a session that comes or goes meanwhile does not store what was set before.
    this.#directory.agents.set(agentId, after);
    try {
      await this.#directory.store.putAgent(after);
    } catch (error) {
      if (this.#directory.agents.get(agentId) === after) this.#directory.agents.set(agentId, before);
      throw error;
    }
    this.#sync.announceRoster(after.ns);
  }

  /** Its last session closed. */
  leave(agentId: string): void {
    this.#directory.online.delete(agentId);
    const client = this.#directory.agents.get(agentId)?.client ?? '';
    void this.#touch(agentId, client).catch((error: unknown) => {
      this.#log.warn({ error }, 'the last time an agent was seen could not be stored');
    });
  }

  /** A new bearer token; only its hash is kept. */
  async newToken(agent: LocalAgent): Promise<string> {
    const token = TOKEN_PREFIX + Buffer.from(this.#random.bytes(32)).toString('base64url');
    const hash = hashOf(token);
    await this.#directory.store.putToken(hash, agent.id);
    this.#directory.tokens.set(hash, agent.id);
    return token;
  }

  /** The agent of a bearer token. Looked up by its hash, so the time taken tells nothing about other tokens. */
  ofToken(token: string): LocalAgent | undefined {
    const id = this.#directory.tokens.get(hashOf(token));
    return id === undefined ? undefined : this.#directory.agents.get(id);
  }

  async #add(text: string): Promise<LocalAgent> {
    const address = parseAddress(text);
    const log = this.#directory.namespaceByName(address.namespace);
    const known = this.#directory.localAgent(log.id, address.name);
    if (known) return known;
    this.#directory.assertMember(log);
    if (log.members.get(this.#signer.peerId)?.role === 'keeper') {
      throw new PatchcordError(
        'not_member',
        `This machine is a keeper in ${log.name}: it holds mail for others and hosts no agents.`,
        'Add the agent on another machine.',
      );
    }
    const holder = log.claims.get(address.name);
    if (holder) {
      throw new PatchcordError(
        'name_taken',
        `${formatAddress(address)} lives on ${this.#directory.labelOf(log.id, holder.machine)} already.`,
        'Choose another name, or remove it there first.',
      );
    }
    const count = [...this.#directory.agents.values()].filter(({ ns }) => ns === log.id).length;
    if (count >= AGENTS_PER_MACHINE_MAX) {
      throw new PatchcordError(
        'too_many',
        `This machine has ${count} agents in ${log.name}.`,
        'Remove one first.',
      );
    }
    const id = newId(this.#clock.now(), this.#random.bytes);
    const agent: LocalAgent = { id, ns: log.id, name: address.name, lastSeenMs: 0, client: '' };
    await this.#claim(agent);
    this.#sync.announceRoster(log.id);
    return agent;
  }

  /** The claim and the agent in one batch. */
  async #claim(agent: LocalAgent): Promise<void> {
    await this.#directory.changeLog(agent.ns, (log) => {
      const draft = { k: 'claim' as const, agent: agent.id, name: agent.name };
      const change = said({ log: log!, added: [] }, draft, this.#clock.now(), this.#signer);
      return { ...change, agent };
    });
  }

  async #release(agent: LocalAgent): Promise<void> {
    const { peerId } = this.#signer;
    await this.#directory.changeLog(agent.ns, (log) => {
      if (!log || !log.members.has(peerId) || !claims(log, agent.id)) return undefined;
      return said({ log, added: [] }, { k: 'release', agent: agent.id }, this.#clock.now(), this.#signer);
    });
  }

  #isNameless(agent: LocalAgent): boolean {
    const log = this.#directory.logs.get(agent.ns);
    const role = log?.members.get(this.#signer.peerId)?.role;
    return role !== undefined && role !== 'keeper' && !log!.claims.has(agent.name);
  }

  async #touch(agentId: string, client: string): Promise<void> {
    const agent = this.#directory.agents.get(agentId);
    if (!agent) return;
    const seen: LocalAgent = { ...agent, client, lastSeenMs: this.#clock.now() };
    this.#directory.agents.set(agentId, seen);
    this.#sync.announceRoster(agent.ns);
    await this.#directory.store.putAgent(seen);
  }
}

/** Whether an agent holds a name, or wants one that another holds. */
function claims(log: NamespaceLog, agentId: string): boolean {
  return [...log.claims.values(), ...log.lost].some(({ agent }) => agent === agentId);
}

function hashOf(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}
