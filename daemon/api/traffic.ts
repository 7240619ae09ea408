import type { ServerResponse } from 'node:http';

/**
 * The requests and calls in progress. Stopping lets them finish, all but the exempt: streams that last as long as their
 * client likes.
 */
export interface Traffic {
  enter(response: ServerResponse): void;
  /** A call of a session, until it is answered. */
  during(call: Promise<void>): void;
  exempt(response: ServerResponse): void;
  /** Resolves when none is in progress. */
  settled(): Promise<void>;
}

export function createTraffic(): Traffic {
  const active = new Set<ServerResponse | Promise<void>>();
  let waiting: (() => void)[] = [];

  function leave(one: ServerResponse | Promise<void>): void {
    active.delete(one);
    if (active.size > 0) return;
    for (const resolve of waiting) resolve();
    waiting = [];
  }

  return {
    enter(response) {
      active.add(response);
      response.once('close', () => leave(response));
    },
    during(call) {
      active.add(call);
      const leaves = () => leave(call);
      call.then(leaves, leaves);
    },
    exempt: leave,
    async settled() {
      if (active.size === 0) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      waiting.push(resolve);
      await promise;
    },
  };
}
