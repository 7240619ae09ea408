import { BlockList } from 'node:net';
import { multiaddr } from '@multiformats/multiaddr';
import { PatchcordError } from '../../protocol/errors.ts';

/** How an address is reached once its host is: plain TCP, WebSocket on it, or WebSocket within TLS. */
export type Transport = 'tcp' | 'ws' | 'wss';

/**
 * A place to reach a machine: `/ip4/…/tcp/…`, `/ip6/…/tcp/…` or `/dns*\/…/tcp/…`, then nothing, `/ws`, `/wss` or
 * `/tls/ws`, with or without `/p2p/…`. Through a relay it is the relay's address with its peer id, `/p2p-circuit`,
 * and the machine's peer id.
 */
export interface PeerAddress {
  /** The multiaddr without the machine's peer id; through a relay it ends in `/p2p-circuit`. */
  text: string;
  host: string;
  kind: 'ip4' | 'ip6' | 'dns';
  port: number;
  transport: Transport;
  peerId?: string;
  /** The machine that passes the bytes on, where one does; host, port and transport are its. */
  relay?: { peerId: string; address: string };
}

/** How far away an address points. */
export type Reach = 'loopback' | 'private' | 'public';

/** The longest address that is looked at; one through a relay takes two peer ids of 52 characters. */
const ADDRESS_LENGTH_MAX = 512;

const KINDS: Record<string, PeerAddress['kind']> = {
  ip4: 'ip4',
  ip6: 'ip6',
  dns: 'dns',
  dns4: 'dns',
  dns6: 'dns',
};

const TRANSPORTS: Record<string, Transport> = { '': 'tcp', ws: 'ws', wss: 'wss', 'tls/ws': 'wss' };

/**
 * The address that a multiaddr names, or undefined for one that is damaged or of another transport. Addresses
 * come from peers, so a unix socket, a path through two relays or one that names no relay is not something to follow.
 */
export function parsePeerAddress(text: string): PeerAddress | undefined {
  if (text.length > ADDRESS_LENGTH_MAX) return undefined;
  const parts = components(text);
  const circuit = parts.findIndex(({ name }) => name === 'p2p-circuit');
  if (circuit === -1) return directAddress(parts);
  const relay = directAddress(parts.slice(0, circuit));
  const [peer, ...rest] = parts.slice(circuit + 1);
  if (relay?.peerId === undefined || rest.length > 0) return undefined;
  if (peer !== undefined && (peer.name !== 'p2p' || peer.value === undefined)) return undefined;
  const { peerId, text: address, ...way } = relay;
  if (peer?.value === peerId) return undefined;
  return {
    ...way,
    text: `${address}/p2p/${peerId}/p2p-circuit`,
    relay: { peerId, address },
    ...(peer?.value !== undefined && { peerId: peer.value }),
  };
}

interface Component {
  name: string;
  value?: string | undefined;
}

function directAddress([host, port, ...rest]: readonly Component[]): PeerAddress | undefined {
  const kind = KINDS[host?.name ?? ''];
  if (kind === undefined || host?.value === undefined || port?.name !== 'tcp') return undefined;
  const last = rest.at(-1);
  const peerId = last?.name === 'p2p' ? last.value : undefined;
  const way = peerId === undefined ? rest : rest.slice(0, -1);
  const names = way.map(({ name }) => name).join('/');
  const transport = Object.hasOwn(TRANSPORTS, names) ? TRANSPORTS[names] : undefined;
  if (transport === undefined) return undefined;
  return {
    text: `/${host.name}/${host.value}/tcp/${port.value}${names === '' ? '' : `/${names}`}`,
    host: host.value,
    kind,
    port: Number(port.value),
    transport,
    ...(peerId !== undefined && { peerId }),
  };
}

/** The relay that an address in use leads through, if one does. */
export function relayOf(address: string): string | undefined {
  return parsePeerAddress(address)?.relay?.peerId;
}

/** `listen` if every one can be listened on; throws `invalid_input` with the first that cannot. */
export function checkListenAddresses(listen: readonly string[]): string[] {
  for (const text of listen) {
    const address = parsePeerAddress(text);
    const plain = address?.peerId === undefined && address?.relay === undefined;
    if (address === undefined || address.kind === 'dns' || address.transport === 'wss' || !plain) {
      throw new PatchcordError(
        'invalid_input',
        `Not an address to listen on: ${JSON.stringify(text.slice(0, 100))}.`,
        'Write it like /ip4/0.0.0.0/tcp/4747, /ip6/::/tcp/4747 or /ip4/0.0.0.0/tcp/443/ws.',
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

export function reachOf(address: Pick<PeerAddress, 'kind' | 'host'>): Reach {
  if (address.kind === 'dns') return address.host === 'localhost' ? 'loopback' : 'public';
  const family = address.kind === 'ip4' ? 'ipv4' : 'ipv6';
  if (LOOPBACK.check(address.host, family)) return 'loopback';
  return PRIVATE.check(address.host, family) ? 'private' : 'public';
}

/** "This network", multicast, reserved and broadcast (RFC 6890). */
const NO_HOST = new BlockList();
NO_HOST.addSubnet('0.0.0.0', 8, 'ipv4');
NO_HOST.addSubnet('224.0.0.0', 4, 'ipv4');
NO_HOST.addSubnet('240.0.0.0', 4, 'ipv4');
/** The same of IPv6, and what hides an address of IPv4. By itself: Node finds every IPv4 address in `::ffff:0:0/96`. */
const NO_HOST_6 = new BlockList();
NO_HOST_6.addAddress('::', 'ipv6');
NO_HOST_6.addSubnet('::ffff:0:0', 96, 'ipv6');
NO_HOST_6.addSubnet('64:ff9b::', 96, 'ipv6');
NO_HOST_6.addSubnet('ff00::', 8, 'ipv6');

/** Whether an address of IP names one host. */
export function isUnicast({ kind, host }: Pick<PeerAddress, 'kind' | 'host'>): boolean {
  if (kind === 'ip4') return !NO_HOST.check(host, 'ipv4');
  return kind === 'ip6' && !NO_HOST_6.check(host, 'ipv6');
}

function components(text: string): Component[] {
  try {
    return multiaddr(text).getComponents();
  } catch {
    return [];
  }
}
