import type { Urgency } from '../../protocol/delivery/wakes.ts';
import type { Messenger, Session, SessionRequest } from '../../mcp/messenger.ts';
import { BRANCH_LENGTH_MAX, LABEL_LENGTH_MAX, PROJECT_LENGTH_MAX } from '../../protocol/limits.ts';
import type { NamespaceLog } from '../../protocol/membership/log.ts';
import { plainLine } from '../../protocol/plain-line.ts';
import type { Agents } from '../directory/agents.ts';
import type { Place } from '../directory/card.ts';
import type { LocalAgent } from '../directory/directory-store.ts';
import type { Released } from '../store/mail-store.ts';
import { Desk } from './desk.ts';
import type { SendingParts } from './sending.ts';
import { MachineSession } from './session.ts';

/** The messenger of this machine: opens sessions and wakes them. */
export class MachineMessenger implements Messenger {
  readonly #agents: Agents;
  readonly #parts: SendingParts;
  readonly #desks = new Map<string, Desk>();
  readonly #sessions = new Map<string, Set<MachineSession>>();
  readonly #stopping = new AbortController();

  constructor(agents: Agents, parts: SendingParts) {
    this.#agents = agents;
    this.#parts = parts;
  }

  async open(request: SessionRequest): Promise<Session> {
    const agent = await this.#agents.add(request.agent);
    const client = request.client.trim().slice(0, LABEL_LENGTH_MAX) || 'unknown';
    const sessions = this.#sessions.get(agent.id) ?? new Set<MachineSession>();
    this.#sessions.set(agent.id, sessions);
    const session: MachineSession = new MachineSession({
      agent,
      client,
      byPerson: request.byPerson === true,
      desk: this.#desk(agent),
      parts: this.#parts,
      stopping: this.#stopping.signal,
      onClose: () => {
        sessions.delete(session);
        if (sessions.size > 0) return;
        this.#parts.activity.left(agent.id);
        this.#parts.directory.places.delete(agent.id);
        this.#agents.leave(agent.id);
      },
    });
    sessions.add(session);
    const { activity, directory } = this.#parts;
    activity.opened(agent.id, agent.ns);
    const place = placeOf(request);
    if (place) directory.places.set(agent.id, place);
    await this.#agents.arrive(agent.id, client);
    return session;
  }

  /** Messages became visible: whoever waits for them is woken, and given what it was handed. */
  released(released: readonly Released[]): void {
    for (const { agent, handed } of released) if (handed) this.#desks.get(agent)?.handOver(handed);
    const others = released.filter(({ handed }) => !handed);
    for (const agent of new Set(others.map((one) => one.agent))) this.#desks.get(agent)?.wake();
  }

  /** See HandOff. */
  claim(agent: string, number: number, urgency: Urgency): boolean {
    return this.#desks.get(agent)?.claim(number, urgency) ?? false;
  }

  disclaim(agent: string, number: number): void {
    this.#desks.get(agent)?.disclaim(number);
  }

  /** The members of a namespace changed: if this machine is out, nothing will come there that is worth waiting for. */
  membersChanged(log: NamespaceLog): void {
    const { directory } = this.#parts;
    if (directory.isMember(log)) return;
    for (const [agent, desk] of this.#desks) if (directory.agents.get(agent)?.ns === log.id) desk.wake();
  }

  /** The agent wants to be disturbed again, or no longer: whoever waits looks again. */
  wake(agentId: string): void {
    this.#desks.get(agentId)?.wake();
  }

  /** Anything may be visible now: whoever waits looks again. */
  wakeAll(): void {
    for (const desk of this.#desks.values()) desk.wake();
  }

  /** Ends the sessions of an agent that was removed. */
  async endSessions(agentId: string): Promise<void> {
    for (const session of this.#sessions.get(agentId) ?? []) await session.close();
    this.#desks.delete(agentId);
  }

  /** Waits answer `stopping`, further calls are refused. */
  stop(): void {
    this.#stopping.abort();
  }

  #desk(agent: LocalAgent): Desk {
    const { mail, clock, postoffice } = this.#parts;
    const known = this.#desks.get(agent.id);
    if (known) return known;
    const desk = new Desk({
      agent: agent.id,
      mail,
      clock,
      onOwed: () => postoffice.tellRead(),
    });
    this.#desks.set(agent.id, desk);
    return desk;
  }
}

/** Where a client says that it works; undefined for one that says nothing of it, which changes nothing. */
function placeOf({ project = '', branch = '' }: SessionRequest): Place | undefined {
  const place = {
    project: plainLine(project, PROJECT_LENGTH_MAX),
    branch: plainLine(branch, BRANCH_LENGTH_MAX),
  };
  if (place.project === '' && place.branch === '') return undefined;
  return {
    ...(place.project !== '' && { project: place.project }),
    ...(place.branch !== '' && { branch: place.branch }),
  };
}
