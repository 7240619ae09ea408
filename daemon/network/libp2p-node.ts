import { noise } from '@chainsafe/libp2p-noise';
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys';
import { identify, type Identify } from '@libp2p/identify';
import type { GossipSub, GossipSubComponents } from '@libp2p/gossipsub';
import type { ComponentLogger, ConnectionGater, Libp2p, Logger, Upgrader } from '@libp2p/interface';
import { ping, type Ping } from '@libp2p/ping';
import { yamux } from '@libp2p/yamux';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';
import { PatchcordError } from '../../protocol/errors.ts';
import { MEMBERS_MAX } from '../../protocol/limits.ts';
import type { Clock } from '../clock.ts';
import type { NodeComponents } from './dht.ts';
import type { DialFrom, DialOne } from './dial.ts';
import { dialerFrom } from './dial-from.ts';
import { noiseCrypto } from './noise-crypto.ts';
import { gatheringTcp } from './tcp.ts';
import { webSockets } from './web-socket.ts';

/** Connections that are opened per second from one address, which may be a whole office behind one router. */
const INBOUND_PER_SECOND_MAX = 100;
/** Connections that are not encrypted yet. */
const INBOUND_PENDING_MAX = 64;
const INBOUND_UPGRADE_TIMEOUT_MS = 10_000;

/** A libp2p that listens, and dials only when it is told to. */
export interface Node {
  libp2p: Libp2p;
  /** Straight to the transport: libp2p's dial queue tries one address of a machine after the other. */
  dialOne: DialOne;
  /** The same from a port of our choice; for holes in NATs. */
  dialFrom: DialFrom;
  /** Makes connections of other pipes than sockets. */
  upgrader: Upgrader;
  /** What the tables of members' whereabouts are made of. */
  components: NodeComponents;
}

export interface NodeOptions {
  seed: Uint8Array;
  /** Multiaddrs. */
  listen: string[];
  gater: ConnectionGater;
  /** See gossip.ts. */
  gossip: (components: GossipSubComponents) => GossipSub;
  clock: Clock;
}

/**
 * A node that does not listen yet. Everything that libp2p does on its own account is off: no discovery, no
 * routing, no reconnecting, and no monitor that cuts off a peer for five seconds without a pong, since a link
 * watches over itself.
 */
export async function createNode(options: NodeOptions): Promise<Node> {
  const libp2p = await createLibp2p<{
    identify: Identify;
    ping: Ping;
    gossip: GossipSub;
    dialOne: DialOne;
    dialFrom: DialFrom;
    inside: Pick<Node, 'upgrader' | 'components'>;
  }>({
    start: false,
    privateKey: await generateKeyPairFromSeed('Ed25519', options.seed),
    nodeInfo: { name: 'patchcord', version: '1', userAgent: 'patchcord/1' },
    addresses: { listen: options.listen },
    transports: [gatheringTcp(), webSockets(options.clock)],
    connectionEncrypters: [noise({ crypto: noiseCrypto })],
    streamMuxers: [yamux()],
    connectionGater: options.gater,
    connectionManager: {
      maxConnections: 2 * MEMBERS_MAX + 100,
      inboundConnectionThreshold: INBOUND_PER_SECOND_MAX,
      maxIncomingPendingConnections: INBOUND_PENDING_MAX,
      inboundUpgradeTimeout: INBOUND_UPGRADE_TIMEOUT_MS,
      reconnectRetries: 0,
    },
    connectionMonitor: { enabled: false },
    logger: SILENT,
    services: {
      identify: identify(),
      ping: ping(),
      gossip: options.gossip,
      dialOne:
        ({ transportManager }) =>
        (address, signal) =>
          transportManager.dial(multiaddr(address), { signal }),
      dialFrom: ({ upgrader, logger }) => dialerFrom({ upgrader, logger }),
      // A service takes its name's place among libp2p's own parts, so this one must not be called upgrader.
      inside: ({
        upgrader,
        peerId,
        privateKey,
        registrar,
        addressManager,
        peerStore,
        connectionManager,
        events,
        logger,
      }) => ({
        upgrader,
        components: {
          peerId,
          privateKey,
          registrar,
          addressManager,
          peerStore,
          connectionManager,
          events,
          logger,
        },
      }),
    },
  });
  const { dialOne, dialFrom, inside } = libp2p.services;
  return { libp2p, dialOne, dialFrom, ...inside };
}

/** Starts to listen. Throws `port_in_use`, or `invalid_input` for an address this machine does not have. */
export async function startNode({ libp2p }: Node, listen: readonly string[]): Promise<void> {
  try {
    await libp2p.start();
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    const where = listen.join(', ');
    if (text.includes('EADDRINUSE')) {
      throw new PatchcordError(
        'port_in_use',
        `Another program listens on ${where} already.`,
        'Stop it, or choose another port; /tcp/0 takes a free one.',
        { cause },
      );
    }
    throw new PatchcordError(
      'invalid_input',
      `This machine cannot listen on ${where}.`,
      'Choose an address of its own and a port above 1023.',
      {
        cause,
      },
    );
  }
}

/**
 * Stops it, and the timer by which libp2p would note a second later that it listens nowhere any more: it would keep the
 * process until then.
 */
export async function stopNode({ libp2p, components }: Node): Promise<void> {
  await libp2p.stop();
  const update: unknown = Reflect.get(components.addressManager, '_updatePeerStoreAddresses');
  if (!isDebounced(update)) throw new Error('the address manager is not as it was');
  update.stop();
}

function isDebounced(update: unknown): update is { stop(): void } {
  return typeof update === 'function' && 'stop' in update;
}

/** libp2p's own log is for its authors and costs time on every frame; what matters is logged by this folder. */
const silent: Logger = Object.assign(() => {}, {
  enabled: false,
  error: () => {},
  trace: () => {},
  newScope: () => silent,
});
const SILENT: ComponentLogger = { forComponent: () => silent };
