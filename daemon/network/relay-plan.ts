import { RELAYS_CHOSEN_MAX } from '../../protocol/limits.ts';
import { parsePeerAddress, reachOf } from './addresses.ts';

/** What is decided about ways through relays, without their sockets. */

/** Of one relay, the addresses that this machine gives to others. */
const ADDRESSES_PER_RELAY_MAX = 2;

/**
 * The addresses at which this machine is reached through a relay: of those that the relay is known at the best of each
 * reach, public first, which others can use from anywhere. A loopback address is of use to nobody else, unless there
 * is no other.
 */
export function relayedAddresses(self: string, relay: string, known: readonly string[]): string[] {
  const direct = known.flatMap((text) => {
    const address = parsePeerAddress(text);
    const usable = address !== undefined && address.relay === undefined;
    return usable && (address.peerId ?? relay) === relay ? [address] : [];
  });
  const best = (['public', 'private', 'loopback'] as const).flatMap(
    (reach) => direct.find((address) => reachOf(address) === reach) ?? [],
  );
  return best
    .slice(0, ADDRESSES_PER_RELAY_MAX)
    .filter((address, index) => index === 0 || reachOf(address) !== 'loopback')
    .map(({ text }) => `${text}/p2p/${relay}/p2p-circuit/p2p/${self}`);
}

/**
 * Ways to a machine through the relays that this one is linked with, which may be linked with it too, whether it said
 * so or not. The relay's address in it is that of the link, which is used instead of dialling.
 */
export function waysThrough(
  peerId: string,
  relays: readonly { peerId: string; address: string }[],
): string[] {
  return relays
    .filter((relay) => relay.peerId !== peerId)
    .slice(0, RELAYS_CHOSEN_MAX)
    .flatMap((relay) => {
      const way = parsePeerAddress(relay.address);
      if (way === undefined || way.relay !== undefined) return [];
      return `${way.text}/p2p/${relay.peerId}/p2p-circuit/p2p/${peerId}`;
    });
}
