import { formatAddress, parseAddress } from '../../protocol/address.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import type { Admin } from './admin.ts';
import { zPeekAnswer, zPeekQuery } from './answers.ts';
import type { Caller } from './caller.ts';
import type { App } from './server.ts';

/** For hooks and status lines: what an agent has pending. It marks and leases nothing. */
export function peekRoute(app: App, admin: Admin): void {
  app.get(
    '/api/inbox',
    { schema: { querystring: zPeekQuery, response: { 200: zPeekAnswer } }, config: { access: 'any' } },
    async ({ query, caller }) => admin.peek(await agentFor(query.as, caller, admin), query.limit),
  );
}

async function agentFor(as: string | undefined, caller: Caller, admin: Admin): Promise<string> {
  const own = caller.agent?.address;
  if (as === undefined) return own ?? soleAgent(admin);
  const wanted = formatAddress(parseAddress(as));
  if (!caller.owner && wanted !== own) {
    throw new PatchcordError('forbidden', `This token belongs to ${own}.`, 'Leave `as` out.');
  }
  return wanted;
}

/** A hook on a machine with one agent need not know its name. */
async function soleAgent(admin: Admin): Promise<string> {
  const agents = await admin.agents();
  if (agents.length === 1) return agents[0]!.agent;
  throw new PatchcordError(
    'invalid_input',
    `as: this machine has ${agents.length} agents.`,
    agents.length === 0 ? 'Add one with `patchcord agent add NAME@NS`.' : 'Say which, as name@namespace.',
  );
}
