import type { Connection, Stream } from '@libp2p/interface';
import { asPatchcordError, PatchcordError } from '../../protocol/errors.ts';
import { INVITE_TTL_MS_MAX, RELAYED_BUFFERS_BYTES_MAX } from '../../protocol/limits.ts';
import {
  decidePassage,
  decodeRelayAnswer,
  decodeRelayRequest,
  encodeRelay,
  type Passage,
  type RelayRefusal,
} from '../../protocol/relaying.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import { relayOf } from './addresses.ts';
import { readBlock, writeBlock } from './block.ts';
import { deadline } from './deadline.ts';
import type { NetworkHandlers } from './network.ts';
import { RelayPipe } from './relay-pipe.ts';

/** Wire. What machines ask of a relay. */
export const RELAY_PROTOCOL = '/patchcord/relay/1';
/** Wire. What a relay asks of the machine behind it. */
export const RELAYED_PROTOCOL = '/patchcord/relayed/1';
/** A request, and what it takes to reach the other end. */
const REQUEST_TIMEOUT_MS = 10_000;

export interface RelayServerOptions {
  handlers: Pick<NetworkHandlers, 'relays' | 'mayRelay'>;
  /** Whether a machine is admitted as a member. */
  mayLink: (peerId: string) => boolean;
  /** The connection of the link with a machine, if there is one. */
  linkWith: (peerId: string) => Connection | undefined;
  clock: Clock;
  log: Log;
  stopping: AbortSignal;
}

/**
 * Passes bytes on between members that cannot reach each other. A machine is reachable here as long as it holds a
 * link; there is nothing to reserve. Both ends encrypt to each other, so it sees who talks to whom, how much and when.
 *
 * Invariant: `#passages` holds one entry for each connection that is open or being opened.
 */
export class RelayServer {
  readonly #options: RelayServerOptions;
  readonly #passages = new Map<Passage, RelayPipe | undefined>();
  /** Until when machines have said that they have open invites. */
  readonly #invites = new Map<string, number>();

  constructor(options: RelayServerOptions) {
    this.#options = options;
  }

  get relays(): boolean {
    return this.#options.handlers.relays?.() ?? false;
  }

  /** Whether some machine behind this one waits for strangers. */
  expectsGuests(): boolean {
    return this.relays && [...this.#invites.keys()].some((inviter) => this.#hasInvites(inviter));
  }

  /** Answers one request; never rejects. */
  async serve(stream: Stream, connection: Connection): Promise<void> {
    const { clock, log, stopping } = this.#options;
    const from = connection.remotePeer.toString();
    const limit = deadline(clock, REQUEST_TIMEOUT_MS, stopping);
    try {
      const request = decodeRelayRequest(await readBlock(stream, limit.signal));
      // Through another relay it could go in a circle.
      const direct = relayOf(connection.remoteAddr.toString()) === undefined;
      if (request.t === 'connect' && direct) await this.#connect(stream, from, request.to, limit.signal);
      else if (request.t === 'guests') await this.#expectGuests(stream, from, request.for_ms, limit.signal);
      else await this.#refuse(stream, 'malformed', limit.signal);
    } catch (error) {
      log.info({ peer: from, reason: asPatchcordError(error).message }, 'relaying failed');
      stream.abort(asPatchcordError(error));
    } finally {
      limit.cancel();
    }
  }

  /** Ends what membership no longer allows, after it changed. */
  sweep(): void {
    for (const [{ from, to, guest }, pipe] of this.#passages) {
      const allowed = guest ? this.#hasInvites(to) : this.relays && this.#shared(from, to);
      if (!allowed) pipe?.end('not a member');
    }
    for (const inviter of this.#invites.keys()) if (!this.#hasInvites(inviter)) this.#invites.delete(inviter);
  }

  async #connect(stream: Stream, from: string, to: string, signal: AbortSignal): Promise<void> {
    const target = this.#options.linkWith(to);
    const decision = decidePassage(from, to, {
      relays: this.relays,
      shared: this.#shared(from, to),
      linked: target !== undefined && relayOf(target.remoteAddr.toString()) === undefined,
      invites: this.#hasInvites(to),
      passages: [...this.#passages.keys()],
    });
    if ('refused' in decision || target === undefined) {
      return await this.#refuse(stream, 'refused' in decision ? decision.refused : 'not_linked', signal);
    }
    const { passage } = decision;
    this.#passages.set(passage, undefined);
    let other: Stream | undefined;
    try {
      other = await target.newStream(RELAYED_PROTOCOL, { signal, maxOutboundStreams: STREAMS_MAX });
      writeBlock(other, encodeRelay({ t: 'incoming', from }));
      const answer = decodeRelayAnswer(await readBlock(other, signal));
      if (answer.t === 'refused') {
        other.abort(new Error('refused'));
        this.#passages.delete(passage);
        return await this.#refuse(stream, answer.why, signal);
      }
      if (stream.status !== 'open') throw new PatchcordError('peer_unreachable', 'The asker has gone.');
      writeBlock(stream, encodeRelay({ t: 'ok' }));
      this.#join(passage, [stream, other]);
    } catch (error) {
      this.#passages.delete(passage);
      other?.abort(asPatchcordError(error));
      throw error;
    }
  }

  #join(passage: Passage, ends: readonly [Stream, Stream]): void {
    const { clock, log } = this.#options;
    log.info({ ...passage, open: this.#passages.size }, 'relaying');
    const pipe = new RelayPipe(ends, {
      clock,
      guest: passage.guest,
      hasRoom: () => this.#hasRoom(),
      onEnd: (reason) => {
        this.#passages.delete(passage);
        log.info({ ...passage, reason }, 'relaying ended');
      },
    });
    this.#passages.set(passage, pipe);
  }

  #hasRoom(): boolean {
    let waitingBytes = 0;
    for (const pipe of this.#passages.values()) waitingBytes += pipe?.waitingBytes ?? 0;
    return waitingBytes <= RELAYED_BUFFERS_BYTES_MAX;
  }

  async #expectGuests(stream: Stream, inviter: string, forMs: number, signal: AbortSignal): Promise<void> {
    const { clock, mayLink, linkWith } = this.#options;
    if (!this.relays) return await this.#refuse(stream, 'no_relay', signal);
    if (!mayLink(inviter) || linkWith(inviter) === undefined) {
      return await this.#refuse(stream, 'not_member', signal);
    }
    this.#invites.delete(inviter);
    if (forMs > 0) this.#invites.set(inviter, clock.elapsed() + Math.min(forMs, INVITE_TTL_MS_MAX));
    writeBlock(stream, encodeRelay({ t: 'ok' }));
    await stream.close({ signal });
  }

  async #refuse(stream: Stream, why: RelayRefusal, signal: AbortSignal): Promise<void> {
    writeBlock(stream, encodeRelay({ t: 'refused', why }));
    await stream.close({ signal });
  }

  #shared(from: string, to: string): boolean {
    const { handlers, mayLink } = this.#options;
    return mayLink(from) && mayLink(to) && (handlers.mayRelay?.(from, to) ?? false);
  }

  #hasInvites(inviter: string): boolean {
    const { clock, mayLink, linkWith } = this.#options;
    const untilMs = this.#invites.get(inviter) ?? 0;
    return untilMs > clock.elapsed() && mayLink(inviter) && linkWith(inviter) !== undefined;
  }
}

/** Of one machine, both ways; more than RELAYED_PER_MACHINE_MAX, which says so politely. */
export const STREAMS_MAX = 256;
