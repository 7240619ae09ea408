import type { Session } from '../../mcp/messenger.ts';
import { asPatchcordError } from '../../protocol/errors.ts';
import { SESSION_IDLE_MS } from '../../protocol/limits.ts';
import type { Clock, Timer } from '../clock.ts';
import type { Log } from '../log.ts';
import type { Caller } from './caller.ts';
import type { Sessions } from './sessions.ts';

/**
 * HTTP agents have no connection of their own that lasts, so that one session stands for a token: opened at its
 * first request, closed when none has run for SESSION_IDLE_MS, and opened again when it was closed meanwhile.
 */
export interface AgentSessions {
  /** Runs one request on the agent's session, which stays open at least as long. */
  use(agent: NonNullable<Caller['agent']>, client: string, run: Run): Promise<void>;
}

type Run = (session: Session) => Promise<void>;

interface Entry {
  session: Promise<Session>;
  running: number;
  idle?: Timer;
}

export function createAgentSessions(sessions: Sessions, clock: Clock, log: Log): AgentSessions {
  const entries = new Map<string, Entry>();

  function drop(entry: Entry): void {
    entry.session
      .then((session) => session.close())
      .catch((error: unknown) => {
        log.warn({ code: asPatchcordError(error).code }, 'a session of an HTTP agent could not be closed');
      });
  }

  function entryOf(agent: NonNullable<Caller['agent']>, client: string): Entry {
    const found = entries.get(agent.tokenHash);
    if (found !== undefined) return found;
    const forget = (): void => {
      if (entries.get(agent.tokenHash) === entry) entries.delete(agent.tokenHash);
    };
    const session = sessions.open({ agent: agent.address, client }, forget);
    const entry: Entry = { session, running: 0 };
    entries.set(agent.tokenHash, entry);
    // One that cannot be opened is not kept: the next request tries again.
    session.catch(forget);
    return entry;
  }

  return {
    async use(agent, client, run) {
      const entry = entryOf(agent, client);
      entry.running += 1;
      entry.idle?.cancel();
      try {
        await run(await entry.session);
      } finally {
        entry.running -= 1;
        if (entry.running === 0 && entries.get(agent.tokenHash) === entry) {
          entry.idle = clock.after(SESSION_IDLE_MS, () => drop(entry));
        }
      }
    },
  };
}
