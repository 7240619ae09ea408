import { BUSY_MS } from './limits.ts';

/** What an agent's home machine sees of it. */
export interface Activity {
  /** One of its sessions waits for messages. */
  isWaiting: boolean;
  /** Since one of its sessions asked for something, in milliseconds. */
  quietMs: number;
}

/** Whether an agent with an open session works. Whoever waits, or has asked for nothing for long, does not. */
export function doingOf({ isWaiting, quietMs }: Activity): 'idle' | 'busy' {
  return isWaiting || quietMs >= BUSY_MS ? 'idle' : 'busy';
}
