import { inline } from '../mcp/frame.ts';
import type { PeerView } from '../protocol/doctor-view.ts';
import { nearestNames } from '../protocol/address.ts';
import { PatchcordError } from '../protocol/errors.ts';

/** Other machines as the doctor sees them, for people. Labels, addresses and errors are peers' text, and escaped. */

/** Longest address or reason that is shown. */
const TEXT_LENGTH_MAX = 1_000;

/** A member that is not linked: worth a word unasked. One that was removed is not expected. */
export function isAway({ member, linked, online }: PeerView): boolean {
  return member && !linked && !online;
}

export function isWell({ findings }: PeerView): boolean {
  return findings.every(({ state }) => state !== 'fail');
}

/** Throws `not_found`, naming those that are known, and `invalid_input` for a label that several have. */
export function findPeer(peers: readonly PeerView[], text: string): PeerView {
  const wanted = text.trim();
  const named = peers.filter(
    ({ machine, peer_id, agents }) =>
      peer_id === wanted || machine === wanted || agents.includes(wanted.toLowerCase()),
  );
  if (named.length === 1) return named[0]!;
  if (named.length > 1) {
    const ids = named.map(({ peer_id }) => peer_id).join(', ');
    throw new PatchcordError(
      'invalid_input',
      `Several machines are called ${wanted}.`,
      `Name one by its peer id: ${ids}`,
    );
  }
  const names = peers.flatMap(({ machine, agents }) => [machine, ...agents]);
  const near = nearestNames(wanted, names);
  const known =
    near.length > 0
      ? `Did you mean ${near.join(', ')}?`
      : `Known: ${names.slice(0, 20).join(', ') || 'none'}.`;
  throw new PatchcordError('not_found', `No other machine or agent ${wanted} is known here.`, known);
}

export function peerText({ machine, peer_id: id, linked, attempts, agents, findings }: PeerView): string {
  const tries = linked || attempts === 0 ? '' : `, ${attempts} attempts since`;
  const who = agents.length === 0 ? '' : `, ${agents.map((agent) => inline(agent)).join(', ')}`;
  const head = `${linked ? 'ok  ' : 'warn'} machine "${inline(machine)}" (${inline(id)}${who}): ${linked ? 'linked' : `not linked${tries}`}`;
  const lines = findings.flatMap(({ state, text, remedy }) => [
    `     ${state.padEnd(4)} ${inline(text, TEXT_LENGTH_MAX)}`,
    ...(remedy === undefined ? [] : [`          ${inline(remedy, TEXT_LENGTH_MAX)}`]),
  ]);
  return [head, ...lines].join('\n');
}
