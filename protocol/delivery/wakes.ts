import { z } from 'zod';

/**
 * How much a message wants its recipient's attention, as its sender says. It decides whom it wakes, never what is shown
 * first: messages of one sender are shown in the order in which they were sent, and an inbox shows all of them.
 *
 *     info     wakes nobody and holds no send back; it is shown with the next look
 *     normal   ends a wait, unless its recipient does not want to be disturbed
 *     steer    ends a wait at once, also then
 */
export const zUrgency = z.enum(['info', 'normal', 'steer']);
export type Urgency = z.infer<typeof zUrgency>;

/** How many messages of each urgency no session of an agent has been shown. */
export type Unseen = Record<Urgency, number>;

/** Whether what waits for an agent ends its wait. `isDnd`: it does not want to be disturbed. */
export function endsWait({ normal, steer }: Unseen, isDnd: boolean): boolean {
  return steer > 0 || (normal > 0 && !isDnd);
}

/** Whether what waits for an agent keeps it from sending: it may change what one wants to say. */
export function holdsBack({ normal, steer }: Unseen): boolean {
  return normal + steer > 0;
}

/** Whether one message disturbs an agent, as far as its sender can know. */
export function disturbs(urgency: Urgency, isDnd: boolean): boolean {
  return endsWait({ info: 0, normal: 0, steer: 0, [urgency]: 1 }, isDnd);
}
