import type { TopView } from '../../protocol/top-view.ts';

/** The state of a machine at a glance. Implemented in process by daemon/top and over the socket by daemon/client. */
export interface Top {
  look(): Promise<TopView>;
  /** The same now, and again whenever it has changed, at most four times a second, until the signal aborts. */
  follow(signal: AbortSignal): AsyncIterable<TopView>;
}
