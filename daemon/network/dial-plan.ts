import { ADDRESSES_MAX } from '../../protocol/limits.ts';
import { parsePeerAddress, reachOf, type PeerAddress, type Reach } from './addresses.ts';

/** What the dialer decides, without its sockets and timers. */

const RETRY_BASE_MS = 250;
const RETRY_MAX_MS = 30_000;
/** A machine that was linked so recently is likely to come back, */
const RECENT_MS = 10 * 60_000;
/** so it is dialled at least this often: a partition that heals is over for the links in less than 5 s. */
const RETRY_RECENT_MAX_MS = 2_000;
/** A dial that the local network refuses costs next to nothing. */
const RETRY_CHEAP_MAX_MS = 5_000;
/** A link that lasted this long was a good one: what went wrong before it is forgiven. */
export const LINK_PROVEN_MS = 10_000;
/** How long the machine with the higher peer id lets the other one dial first. */
const YIELD_MS = 300;

/** What the next dial of a machine depends on. */
export interface Tries {
  /** Failures in a row. */
  failures: number;
  /** How long ago it was linked; undefined when it was not since this start. */
  unlinkedMs?: number | undefined;
  /** The last dial failed because this machine has no way to any of the addresses. */
  cheap: boolean;
}

/**
 * How long to wait before the next dial. Half of it is chance, so that machines which lost the same peer at the same
 * moment do not come back at the same moment.
 */
export function retryDelayMs(tries: Tries, fraction: number): number {
  const maxMs = retryMaxMs(tries);
  return Math.min(maxMs, RETRY_BASE_MS * 2 ** tries.failures) * (0.5 + 0.5 * fraction);
}

/** How many failures in a row count: the delay grows on from its bound when the bound rises. */
export function countedFailures(tries: Tries): number {
  const enough = Math.ceil(Math.log2(retryMaxMs(tries) / RETRY_BASE_MS));
  return Math.min(tries.failures + 1, enough);
}

function retryMaxMs({ unlinkedMs = Infinity, cheap }: Tries): number {
  if (unlinkedMs < RECENT_MS) return RETRY_RECENT_MAX_MS;
  return cheap ? RETRY_CHEAP_MAX_MS : RETRY_MAX_MS;
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
