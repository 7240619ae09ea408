import {
  gossipsub,
  TopicValidatorResult,
  type GossipSub,
  type GossipSubComponents,
  type TopicValidatorFn,
} from '@libp2p/gossipsub';
import type { Connection, PeerId } from '@libp2p/interface';
import { sha256, sha256Hex } from '../../protocol/digest.ts';
import { FRAME_SIZE_BYTES_MAX, GOSSIP_MESH_MAX, PRESENCE_BOX_SIZE_BYTES_MAX } from '../../protocol/limits.ts';
import type { Clock, Timer } from '../clock.ts';
import type { Log } from '../log.ts';
import type { NetworkHandlers } from './network.ts';

/** Bytes that may wait for a peer which reads slowly; what is more is lost for it. */
const OUTBOUND_BUFFER_BYTES_MAX = 1024 * 1024;
/** Streams of one peer: one is in use, others are about to end. */
const STREAMS_PER_PEER_MAX = 4;
/** How often it is looked whether every link has its gossip streams. */
const MEND_INTERVAL_MS = 1_000;
/** A peer that passed so many forged messages on is not listened to any more while it stays. */
const FORGED_MAX = 16;
const SCORE_OF_FORGER = -1_000;

const RESULTS = {
  accept: TopicValidatorResult.Accept,
  ignore: TopicValidatorResult.Ignore,
  reject: TopicValidatorResult.Reject,
} as const;

/** Of gossipsub, what is not in its interface. */
interface Internals {
  readonly peers: ReadonlyMap<string, unknown>;
  readonly streamsOutbound: ReadonlyMap<string, unknown>;
  onPeerConnected(peerId: PeerId, connection: Connection): void;
  readonly status: { heartbeatTimeout?: NodeJS.Timeout };
}

export interface GossipOptions {
  handlers: Pick<NetworkHandlers, 'gossip'>;
  /** Whether a machine may hold a link: gossip goes to the same ones. */
  mayLink: (peerId: string) => boolean;
  /** The connections of the machines that are linked now. */
  connections: () => Iterable<Connection>;
  clock: Clock;
  log: Log;
}

/**
 * Gossip among linked machines: gossipsub, with streams only of machines that may link. Messages are not signed by it, for
 * they are inside; what comes is asked about before it goes on.
 */
export class Gossip {
  readonly #options: GossipOptions;
  /** Messages passed on that were forged, by peer. */
  readonly #forged = new Map<string, number>();
  #gossipsub: GossipSub | undefined;
  #mending: Timer | undefined;

  constructor(options: GossipOptions) {
    this.#options = options;
  }

  /** For libp2p's services. */
  readonly service = (components: GossipSubComponents): GossipSub => {
    const made = gossipsub({
      globalSignaturePolicy: 'StrictNoSign',
      allowPublishToZeroTopicPeers: true,
      ignoreDuplicatePublishError: true,
      fallbackToFloodsub: false,
      // To the mesh alone: with 64 links, flooding one's own would cost ten times as much and win a hop.
      floodPublish: false,
      Dhi: GOSSIP_MESH_MAX,
      emitSelf: false,
      tagMeshPeers: false,
      msgIdFn: ({ data }) => sha256(data).subarray(0, 20),
      msgIdToStrFn: (id) => sha256Hex(id),
      maxInboundStreams: STREAMS_PER_PEER_MAX,
      maxOutboundStreams: STREAMS_PER_PEER_MAX,
      maxInboundDataLength: 2 * FRAME_SIZE_BYTES_MAX,
      maxOutboundBufferSize: OUTBOUND_BUFFER_BYTES_MAX,
      scoreParams: {
        // A team sits behind one address; past ten peers there, this score would end the mesh.
        IPColocationFactorWeight: 0,
        appSpecificWeight: 1,
        appSpecificScore: (peer) => ((this.#forged.get(peer) ?? 0) > FORGED_MAX ? SCORE_OF_FORGER : 0),
      },
    })(this.#gated(components));
    this.#gossipsub = made;
    return made;
  };

  start(): void {
    this.#mending = this.#options.clock.after(MEND_INTERVAL_MS, () => {
      this.mend();
      this.start();
    });
  }

  /** Before libp2p stops: gossipsub itself would leave its next heartbeat behind, which keeps the process for a second. */
  stop(): void {
    this.#mending?.cancel();
    clearTimeout(this.#internals().status.heartbeatTimeout);
  }

  publish(topic: string, data: Uint8Array): void {
    this.#gossipsub!.publish(topic, data).catch((error: unknown) => {
      this.#options.log.debug({ error }, 'gossip was not sent');
    });
  }

  setTopics(topics: ReadonlySet<string>): void {
    const gossipsub = this.#gossipsub!;
    for (const topic of gossipsub.getTopics()) {
      if (topics.has(topic)) continue;
      gossipsub.unsubscribe(topic);
      gossipsub.topicValidators.delete(topic);
    }
    for (const topic of topics) {
      if (gossipsub.topicValidators.has(topic)) continue;
      gossipsub.topicValidators.set(topic, this.#validator(topic));
      gossipsub.subscribe(topic);
    }
  }

  /**
   * Opens gossip streams where a link has none. gossipsub does so only for a new connection: after a reset of a stream
   * both sides would stay silent for as long as the connection lasts.
   */
  mend(): void {
    const internals = this.#internals();
    const linked = new Set<string>();
    for (const connection of this.#options.connections()) {
      const peer = connection.remotePeer.toString();
      linked.add(peer);
      if (internals.peers.has(peer) && internals.streamsOutbound.has(peer)) continue;
      internals.onPeerConnected(connection.remotePeer, connection);
    }
    for (const peer of this.#forged.keys()) if (!linked.has(peer)) this.#forged.delete(peer);
  }

  #internals(): Internals {
    const gossipsub: object = this.#gossipsub!;
    if (!hasInternals(gossipsub)) throw new Error('gossipsub is not as it was');
    return gossipsub;
  }

  #validator(topic: string): TopicValidatorFn {
    return (peer, { data }) => {
      const from = peer.toString();
      if (!this.#options.mayLink(from)) return TopicValidatorResult.Ignore;
      const isTooLong = data.length > PRESENCE_BOX_SIZE_BYTES_MAX;
      const verdict = isTooLong ? 'reject' : (this.#options.handlers.gossip?.(topic, data, from) ?? 'ignore');
      if (verdict === 'reject') this.#forged.set(from, (this.#forged.get(from) ?? 0) + 1);
      return RESULTS[verdict];
    };
  }

  /** libp2p as gossipsub is to see it: only with the peers that may link. */
  #gated(components: GossipSubComponents): GossipSubComponents {
    const { registrar, privateKey, peerId, peerStore, connectionManager, logger } = components;
    const mayLink = (connection: Connection): boolean =>
      this.#options.mayLink(connection.remotePeer.toString());
    const gated: Pick<typeof registrar, 'handle' | 'register'> = {
      handle: (protocol, handler, options) =>
        registrar.handle(
          protocol,
          (stream, connection) => {
            if (mayLink(connection)) return handler(stream, connection);
            stream.abort(new Error('not a member'));
          },
          options,
        ),
      register: (protocol, topology) =>
        registrar.register(protocol, {
          ...topology,
          onConnect: (peer, connection) => {
            if (mayLink(connection)) void topology.onConnect?.(peer, connection);
          },
        }),
    };
    const guarded: typeof registrar = new Proxy(registrar, {
      get(target, name: keyof typeof registrar) {
        if (name === 'handle' || name === 'register') return gated[name];
        const value = target[name];
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    return { registrar: guarded, privateKey, peerId, peerStore, connectionManager, logger };
  }
}

function hasInternals(gossipsub: object): gossipsub is Internals {
  return ['peers', 'streamsOutbound', 'onPeerConnected', 'status'].every((name) => name in gossipsub);
}
