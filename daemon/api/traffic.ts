import type { ServerResponse } from 'node:http';

/**
 * The requests in progress. Stopping lets them finish, all but the exempt: streams that last as long as their
 * client likes.
 */
export interface Traffic {
  enter(response: ServerResponse): void;
  exempt(response: ServerResponse): void;
  /** Resolves when none is in progress. */
  settled(): Promise<void>;
}

export function createTraffic(): Traffic {
  const active = new Set<ServerResponse>();
  let waiting: (() => void)[] = [];

  function leave(response: ServerResponse): void {
    active.delete(response);
    if (active.size > 0) return;
    for (const resolve of waiting) resolve();
    waiting = [];
  }

  return {
    enter(response) {
      active.add(response);
      response.once('close', () => leave(response));
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
