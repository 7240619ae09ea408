import { formatAddress, parseRecipients } from '../../protocol/address.ts';
import type { WaitCall } from '../../protocol/calls.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import type { WaitResult } from '../../protocol/views.ts';
import { holds, type WatchedState } from '../../protocol/watch.ts';
import type { LocalAgent } from '../directory/directory-store.ts';
import type { Directory } from '../directory/directory.ts';
import { resolve, type Listing } from '../directory/listings.ts';

/**
 * What a wait for another agent looks at: undefined when it waits for none, else what says whether that one is as it is
 * wanted. Throws `unknown_recipient`, `not_member`, `invalid_input`.
 */
export function awaitedAgent(
  directory: Directory,
  agent: LocalAgent,
  { until_agent: text = '', until_state: state = 'idle' }: WaitCall,
): (() => WaitResult['notice']) | undefined {
  if (text.trim() === '') return undefined;
  const { name } = watchedAgent(directory, agent, text);
  return () => {
    const log = directory.logs.get(agent.ns);
    if (!log?.claims.has(name)) return undefined;
    const found = resolve(directory, log, name);
    if (!holds(state, found)) return undefined;
    const address = formatAddress({ name, namespace: log.name });
    return { agent: address, state, text: presenceText(address, state) };
  };
}

/** The agent that a text names, in the namespace of the one who asks. Throws like awaitedAgent. */
export function watchedAgent(directory: Directory, agent: LocalAgent, text: string): Listing {
  const log = directory.logs.get(agent.ns)!;
  const [address, ...others] = parseRecipients(text, log.name);
  if (!address || others.length > 0)
    throw new PatchcordError('invalid_input', 'Name one agent to watch.', 'One call a name.');
  if (address.namespace !== log.name) {
    throw new PatchcordError(
      'unknown_recipient',
      `No agent ${formatAddress(address)}: only agents of ${log.name} can be watched from there.`,
      'inbox(all_agents=true) lists everyone.',
    );
  }
  return resolve(directory, log, address.name);
}

/** What is said when an agent is as somebody wanted to be told. Made of its verified name alone. */
export function presenceText(address: string, state: WatchedState): string {
  return state === 'idle'
    ? `${address} is idle now: it waits for messages, or has done nothing for a while.`
    : `${address} is online now.`;
}
