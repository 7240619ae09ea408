import { ADDRESSES_MAX } from '../../protocol/limits.ts';
import { parsePeerAddress, reachOf, type PeerAddress, type Reach } from './addresses.ts';

/** What the dialer decides, without its sockets and timers. */

/** Chance may say zero; a dial that fails at once must not spin. */
const RETRY_MIN_MS = 20;
const RETRY_BASE_MS = 250;
const RETRY_MAX_MS = 30_000;
/** A link that lasted this long was a good one: what went wrong before it is forgiven. */
export const LINK_PROVEN_MS = 10_000;
/** How long the machine with the higher peer id lets the other one dial first. */
const YIELD_MS = 300;

/**
 * How long to wait before the next dial, after this many failures in a row. Full jitter, so that machines which
 * lost the same peer at the same moment do not come back at the same moment.
 */
export function retryDelayMs(failures: number, fraction: number): number {
  return Math.max(RETRY_MIN_MS, fraction * Math.min(RETRY_MAX_MS, RETRY_BASE_MS * 2 ** failures));
}

/**
 * How long to wait before the first dial. Two machines that learn of each other together would both dial; one
 * of them yields. It dials in the end, for it may be the only one that can reach the other.
 */
export function firstDelayMs(self: string, peerId: string): number {
  return self < peerId ? 0 : YIELD_MS;
}

/** Of the addresses that are dialled, those that lead through a relay, however many direct ones there are. */
const RELAYED_MAX = 3;

/**
 * The multiaddrs to dial for a peer, best first, each ending in its peer id. TCP comes before WebSocket, which costs
 * more and passes more firewalls, and that before a way through a relay. Within each the near ones come first if this
 * machine is near too: a loopback address is worth a try only where we listen on one. What is damaged, names
 * another machine or is our own address is left out; at most ADDRESSES_MAX remain.
 */
export function dialOrder(peerId: string, addresses: readonly string[], own: readonly string[]): string[] {
  const ours = own.flatMap((text) => parsePeerAddress(text) ?? []);
  const here = new Set(ours.filter(({ relay }) => relay === undefined).map(reachOf));
  const oursTexts = new Set(ours.filter(({ relay }) => relay === undefined).map((address) => address.text));
  const selves = new Set(own.flatMap((text) => parsePeerAddress(text)?.peerId ?? []));
  const direct = new Map<string, number>();
  const relayed = new Map<string, number>();
  for (const text of addresses) {
    const address = parsePeerAddress(text);
    if (address === undefined || oursTexts.has(address.relay?.address ?? address.text)) continue;
    if (address.peerId !== undefined && address.peerId !== peerId) continue;
    if (address.relay !== undefined && (selves.has(address.relay.peerId) || address.relay.peerId === peerId))
      continue;
    const ranked = address.relay === undefined ? direct : relayed;
    ranked.set(`${address.text}/p2p/${peerId}`, rank(address, here));
  }
  const ways = sorted(relayed).slice(0, RELAYED_MAX);
  return [...sorted(direct).slice(0, ADDRESSES_MAX - ways.length), ...ways];
}

function sorted(ranked: ReadonlyMap<string, number>): string[] {
  return [...ranked].sort(([, a], [, b]) => a - b).map(([text]) => text);
}

/** The rank of an address where we have one of its kind ourselves, and where we have not. */
const RANKS: Record<Reach, { near: number; far: number }> = {
  loopback: { near: 0, far: 4 },
  private: { near: 1, far: 3 },
  public: { near: 2, far: 2 },
};
/** More than any rank. */
const WEB_SOCKET_RANK = 10;

function rank(address: PeerAddress, here: ReadonlySet<Reach>): number {
  const reach = reachOf(address);
  const nearness = here.has(reach) ? RANKS[reach].near : RANKS[reach].far;
  return address.transport === 'tcp' ? nearness : WEB_SOCKET_RANK + nearness;
}
