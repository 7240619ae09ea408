import type { Connection, Stream, Upgrader } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import { asPatchcordError, PatchcordError } from '../../protocol/errors.ts';
import {
  decodeRelayAnswer,
  decodeRelayRequest,
  encodeRelay,
  type RelayAnswer,
  type RelayRequest,
} from '../../protocol/relaying.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import { parsePeerAddress, relayOf } from './addresses.ts';
import type { Admission } from './admission.ts';
import { readBlock, writeBlock } from './block.ts';
import { deadline } from './deadline.ts';
import { ADDRESS_TIMEOUT_MS, type DialOne } from './dial.ts';
import { RELAY_PROTOCOL, STREAMS_MAX } from './relay-server.ts';
import { StreamConnection } from './stream-connection.ts';

/** Connections through relays that are not encrypted yet; a quarter of what libp2p lets wait in all. */
const INCOMING_PENDING_MAX = 16;

export interface RelayClientOptions {
  self: string;
  upgrader: Upgrader;
  admission: Admission;
  dialOne: DialOne;
  /** The connection of the link with a machine, if there is one. */
  linkWith: (peerId: string) => Connection | undefined;
  clock: Clock;
  log: Log;
  stopping: AbortSignal;
}

/** Reaches machines through relays, and is reached through them. */
export class RelayClient {
  readonly #options: RelayClientOptions;
  #pending = 0;

  constructor(options: RelayClientOptions) {
    this.#options = options;
  }

  /**
   * Connects to the machine at the end of an address through a relay, by the link with the relay or, without one, by a
   * connection that lasts as long as this one. Throws `peer_unreachable` when the relay refuses.
   */
  async dial(address: string, signal: AbortSignal): Promise<Connection> {
    const { upgrader, admission, dialOne } = this.#options;
    const { relay, peerId } = parsePeerAddress(address) ?? {};
    if (relay === undefined || peerId === undefined) {
      throw new PatchcordError('invalid_input', 'Not an address through a relay.');
    }
    const own = this.#direct(relay.peerId);
    // A relay that is linked is a member; another one may be none of ours yet.
    const leave = own === undefined ? admission.visit(relay.peerId) : () => {};
    let toRelay: Connection | undefined;
    const done = (): void => {
      leave();
      if (toRelay !== own) toRelay?.abort(new Error('done'));
    };
    try {
      toRelay = own ?? (await dialOne(`${relay.address}/p2p/${relay.peerId}`, signal));
      const stream = await toRelay.newStream(RELAY_PROTOCOL, { signal, maxOutboundStreams: STREAMS_MAX });
      const connection = await this.#through(stream, address, peerId, signal, upgrader);
      connection.addEventListener('close', done);
      if (connection.status !== 'open') done();
      return connection;
    } catch (error) {
      done();
      throw error;
    }
  }

  /** Tells a relay for how long this machine has open invites. Does nothing when the relay does not answer. */
  async tellGuests(relay: string, forMs: number): Promise<void> {
    const { clock, log, stopping } = this.#options;
    const limit = deadline(clock, ADDRESS_TIMEOUT_MS, stopping);
    let stream: Stream | undefined;
    try {
      stream = await this.#direct(relay)?.newStream(RELAY_PROTOCOL, { signal: limit.signal });
      if (stream !== undefined) await ask(stream, { t: 'guests', for_ms: forMs }, limit.signal);
    } catch (error) {
      log.info({ relay, reason: asPatchcordError(error).message }, 'the relay does not know of the invites');
    } finally {
      limit.cancel();
      stream?.abort(new Error('done'));
    }
  }

  /** A relay says that a machine wants to reach this one; never rejects. */
  async accept(stream: Stream, connection: Connection): Promise<void> {
    const { clock, log, stopping, upgrader, linkWith } = this.#options;
    const relay = connection.remotePeer.toString();
    const limit = deadline(clock, ADDRESS_TIMEOUT_MS, stopping);
    this.#pending += 1;
    try {
      const request = decodeRelayRequest(await readBlock(stream, limit.signal));
      const refused = this.#objection(request, linkWith(relay) === connection);
      writeBlock(stream, encodeRelay(refused ?? { t: 'ok' }));
      if (refused !== undefined || request.t !== 'incoming') {
        await stream.close({ signal: limit.signal });
        return;
      }
      const way = parsePeerAddress(connection.remoteAddr.toString())?.text ?? '';
      const remote = multiaddr(`${way}/p2p/${relay}/p2p-circuit/p2p/${request.from}`);
      const incoming = new StreamConnection(stream, remote);
      await upgrader.upgradeInbound(incoming, { signal: limit.signal });
    } catch (error) {
      log.info({ relay, reason: asPatchcordError(error).message }, 'a relayed connection failed');
      stream.abort(asPatchcordError(error));
    } finally {
      this.#pending -= 1;
      limit.cancel();
    }
  }

  /** Only a machine that is linked here may bring others; the gate looks at who they really are once more. */
  #objection(request: RelayRequest, linked: boolean): (RelayAnswer & { t: 'refused' }) | undefined {
    const { admission, self } = this.#options;
    if (request.t !== 'incoming' || request.from === self) return { t: 'refused', why: 'malformed' };
    if (!linked) return { t: 'refused', why: 'not_linked' };
    if (this.#pending > INCOMING_PENDING_MAX) return { t: 'refused', why: 'busy' };
    return admission.mayJoin(request.from) ? undefined : { t: 'refused', why: 'not_member' };
  }

  async #through(
    stream: Stream,
    address: string,
    peerId: string,
    signal: AbortSignal,
    upgrader: Upgrader,
  ): Promise<Connection> {
    try {
      await ask(stream, { t: 'connect', to: peerId }, signal);
      return await upgrader.upgradeOutbound(new StreamConnection(stream, multiaddr(address)), { signal });
    } catch (error) {
      stream.abort(asPatchcordError(error));
      throw error;
    }
  }

  /** The connection of a link with a relay; one that leads through another relay is of no use. */
  #direct(relay: string): Connection | undefined {
    const connection = this.#options.linkWith(relay);
    const direct = connection !== undefined && relayOf(connection.remoteAddr.toString()) === undefined;
    return direct ? connection : undefined;
  }
}

const REASONS = {
  no_relay: 'it does not relay',
  not_member: 'the two machines share no namespace with it, and no invite is open',
  not_linked: 'the machine is not linked with it now',
  busy: 'it relays as much as it may',
  malformed: 'it did not understand the request',
} as const;

async function ask(stream: Stream, request: RelayRequest, signal: AbortSignal): Promise<void> {
  writeBlock(stream, encodeRelay(request));
  const answer = decodeRelayAnswer(await readBlock(stream, signal));
  if (answer.t === 'ok') return;
  throw new PatchcordError('peer_unreachable', `The relay refused: ${REASONS[answer.why]}.`);
}
