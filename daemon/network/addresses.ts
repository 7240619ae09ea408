import { BlockList } from 'node:net';
import { multiaddr } from '@multiformats/multiaddr';
import { PatchcordError } from '../../protocol/errors.ts';

/** A place to reach a machine by TCP: `/ip4/…/tcp/…`, `/ip6/…/tcp/…` or `/dns*\/…/tcp/…`, with or without `/p2p/…`. */
export interface TcpAddress {
  /** The multiaddr without its peer id. */
  text: string;
  host: string;
  kind: 'ip4' | 'ip6' | 'dns';
  peerId?: string;
}

/** How far away an address points. */
export type Reach = 'loopback' | 'private' | 'public';

const KINDS: Record<string, TcpAddress['kind']> = {
  ip4: 'ip4',
  ip6: 'ip6',
  dns: 'dns',
  dns4: 'dns',
  dns6: 'dns',
};

/**
 * The address that a multiaddr names, or undefined for one that is damaged or of another transport. Addresses
 * come from peers, so a unix socket or a relay path is not something to follow.
 */
export function parseTcpAddress(text: string): TcpAddress | undefined {
  const [host, port, peer, ...rest] = components(text);
  const kind = KINDS[host?.name ?? ''];
  if (kind === undefined || host?.value === undefined || port?.name !== 'tcp') return undefined;
  if (rest.length > 0 || (peer !== undefined && peer.name !== 'p2p')) return undefined;
  return {
    text: `/${host.name}/${host.value}/tcp/${port.value}`,
    host: host.value,
    kind,
    ...(peer?.value !== undefined && { peerId: peer.value }),
  };
}

/** `listen` if every one can be listened on; throws `invalid_input` with the first that cannot. */
export function checkListenAddresses(listen: readonly string[]): string[] {
  for (const text of listen) {
    const address = parseTcpAddress(text);
    if (address === undefined || address.kind === 'dns' || address.peerId !== undefined) {
      throw new PatchcordError(
        'invalid_input',
        `Not an address to listen on: ${JSON.stringify(text.slice(0, 100))}.`,
        'Write it like /ip4/0.0.0.0/tcp/4747 or /ip6/::/tcp/4747.',
      );
    }
  }
  return [...listen];
}

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** RFC 1918, RFC 3927, RFC 6598 (also what overlay VPNs hand out), RFC 4193 and RFC 4291 section 2.5.6. */
const PRIVATE = new BlockList();
PRIVATE.addSubnet('10.0.0.0', 8, 'ipv4');
PRIVATE.addSubnet('172.16.0.0', 12, 'ipv4');
PRIVATE.addSubnet('192.168.0.0', 16, 'ipv4');
PRIVATE.addSubnet('169.254.0.0', 16, 'ipv4');
PRIVATE.addSubnet('100.64.0.0', 10, 'ipv4');
PRIVATE.addSubnet('fc00::', 7, 'ipv6');
PRIVATE.addSubnet('fe80::', 10, 'ipv6');

export function reachOf(address: TcpAddress): Reach {
  if (address.kind === 'dns') return address.host === 'localhost' ? 'loopback' : 'public';
  const family = address.kind === 'ip4' ? 'ipv4' : 'ipv6';
  if (LOOPBACK.check(address.host, family)) return 'loopback';
  return PRIVATE.check(address.host, family) ? 'private' : 'public';
}

function components(text: string): { name: string; value?: string | undefined }[] {
  try {
    return multiaddr(text).getComponents();
  } catch {
    return [];
  }
}
