import { createHash, timingSafeEqual } from 'node:crypto';
import { PatchcordError } from '../../protocol/errors.ts';
import type { Admin } from './admin.ts';
import type { Door } from './door.ts';

/** Who a request comes from. */
export interface Caller {
  /** The machine's user: may do everything. */
  owner: boolean;
  /** The agent whose token came along, name@namespace, and a hash that tells one token from another. */
  agent?: { address: string; tokenHash: string };
}

/** Who a route is for. `any` is whoever is known at all. */
export type Access = 'open' | 'owner' | 'agent' | 'any';

/**
 * The caller of a request that came in by `door` with this Authorization header. Whoever reaches the POSIX
 * socket is the user, because the file's permissions let nobody else; a Windows pipe and loopback TCP are open
 * to every account of the machine, so there only a token tells.
 */
export async function callerOf(
  door: Door,
  authorization: string | undefined,
  keys: { apiToken: string; admin: Pick<Admin, 'agentOfToken'> },
): Promise<Caller> {
  const token = bearerToken(authorization);
  if (token === undefined) return { owner: door === 'socket' };
  if (sameSecret(token, keys.apiToken)) return { owner: true };
  const address = await keys.admin.agentOfToken(token);
  const owner = door === 'socket';
  return address === undefined ? { owner } : { owner, agent: { address, tokenHash: hashOf(token) } };
}

/** Throws `unauthorized` for a stranger, `forbidden` for a caller that is known and may not. */
export function admit(caller: Caller, access: Access): void {
  if (access === 'open') return;
  if (access === 'agent') {
    if (caller.agent === undefined) throw unauthorized("an agent's bearer token");
    return;
  }
  if (caller.owner) return;
  if (caller.agent === undefined) throw unauthorized('a bearer token');
  if (access === 'owner') {
    throw new PatchcordError(
      'forbidden',
      'The token of an agent does not open this.',
      "Use the command line, which has the machine's own token.",
    );
  }
}

function unauthorized(what: string): PatchcordError {
  return new PatchcordError(
    'unauthorized',
    `This needs ${what}.`,
    'Make one with `patchcord agent token NAME@NS` and send it as "Authorization: Bearer TOKEN".',
  );
}

/** The credentials of RFC 6750 section 2.1. */
function bearerToken(authorization: string | undefined): string | undefined {
  return /^bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
}

/** Hashes make both sides equally long, so that the comparison's time tells nothing. */
function sameSecret(one: string, other: string): boolean {
  return timingSafeEqual(Buffer.from(hashOf(one)), Buffer.from(hashOf(other)));
}

function hashOf(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}
