import type { Connection, Stream } from '@libp2p/interface';
import { asPatchcordError, PatchcordError } from '../../protocol/errors.ts';
import {
  MEMBERS_MAX,
  PUNCHES_BURST,
  PUNCHES_MAX,
  PUNCHES_PER_SECOND,
  PUNCH_TIMEOUT_MS,
} from '../../protocol/limits.ts';
import { Buckets } from '../../protocol/presence/bucket.ts';
import {
  decodePunchAnswer,
  decodePunchRequest,
  encodePunching,
  isTarget,
  nextTryMs,
  START_MS,
  startDelayMs,
  TRY_MS,
  type PunchAnswer,
  type PunchRefusal,
  type PunchRequest,
} from '../../protocol/punching.ts';
import type { Random } from '../clock.ts';
import type { Log } from '../log.ts';
import { isUnicast, reachOf, relayOf } from './addresses.ts';
import { deadline, pause } from './deadline.ts';
import { Door, type DoorParts, type Seen } from './hole-punch-door.ts';
import { Talk } from './talk.ts';

/** Wire. What two machines say to each other through a relay, to meet without it. */
export const PUNCH_PROTOCOL = '/patchcord/punch/1';
/** A connection that the other side has got through has this long to become the link. */
const LINK_WITHIN_MS = 10_000;

export interface HolePunchingOptions extends DoorParts {
  /** The connection of the link with a machine, if there is one. */
  linkWith: (peerId: string) => Connection | undefined;
  /** Where a relay is reached by TCP, best first, each ending in its peer id. */
  relayAddresses: (relay: string) => readonly string[];
  /** Addresses of this machine's own interfaces. */
  ownIps: () => ReadonlySet<string>;
  random: Random;
  log: Log;
  stopping: AbortSignal;
}

/** One side of an attempt. */
interface Side {
  peerId: string;
  door: Door;
  initiator: boolean;
  signal: AbortSignal;
}

/**
 * Meets machines that are linked through a relay in the middle, see protocol/punching.ts. One of the two starts and then
 * opens the link; the other answers.
 *
 * Invariant: `#running` holds each machine with which an attempt is under way, whoever started it.
 */
export class HolePunching {
  readonly #options: HolePunchingOptions;
  readonly #running = new Set<string>();
  readonly #asked = new Buckets(PUNCHES_BURST, PUNCHES_PER_SECOND, MEMBERS_MAX);
  readonly #punched = new WeakSet<Connection>();

  constructor(options: HolePunchingOptions) {
    this.#options = options;
  }

  /** Whether a connection leads through holes on both sides. */
  isPunched(connection: Connection): boolean {
    return this.#punched.has(connection);
  }

  /** A direct connection with a machine that is linked through a relay. Rejects when it does not come about. */
  async start(peerId: string, signal: AbortSignal): Promise<Connection> {
    const link = this.#options.linkWith(peerId);
    const relay = link && relayOf(link.remoteAddr.toString());
    if (link === undefined || relay === undefined) throw failed('there is no link through a relay');
    if (!this.#mayRun(peerId)) throw failed('too many attempts at once');
    return await this.#run({ peerId, relay, initiator: true, signal }, async (side) => {
      const { door, signal } = side;
      await door.meet(peerId, signal);
      const stream = await link.newStream(PUNCH_PROTOCOL, { signal });
      try {
        const talk = new Talk(stream);
        await ask(talk, { t: 'punch' }, 'ready', signal);
        const target = this.#target(door, await door.meet(peerId, signal));
        if (target === undefined) throw failed('the relay names no address that is one to try');
        const { clock } = this.#options;
        const askedMs = clock.elapsed();
        await ask(talk, { t: 'go' }, 'going', signal);
        await pause(clock, startDelayMs(clock.elapsed() - askedMs), signal);
        return await this.#try(target, side);
      } finally {
        stream.abort(new Error('done'));
      }
    });
  }

  /** A machine wants to meet this one; never rejects. */
  async serve(stream: Stream, connection: Connection): Promise<void> {
    const { log, stopping } = this.#options;
    const peerId = connection.remotePeer.toString();
    const talk = new Talk(stream);
    try {
      const relay = this.#objection(peerId, connection);
      if (typeof relay === 'object') {
        say(talk, { t: 'refused', why: relay.why });
        await stream.close();
        return;
      }
      const punched = await this.#run({ peerId, relay, initiator: false, signal: stopping }, (side) =>
        this.#answer(talk, side),
      );
      this.#expectLink(peerId, punched);
    } catch (error) {
      log.debug({ peer: peerId, reason: asPatchcordError(error).message }, 'no hole');
      stream.abort(asPatchcordError(error));
    }
  }

  async #answer(talk: Talk, side: Side): Promise<Connection> {
    const { door, peerId, signal } = side;
    if (decodePunchRequest(await talk.hear(signal)).t !== 'punch') throw failed('asked out of turn');
    const target = this.#target(door, await door.meet(peerId, signal));
    if (target === undefined) {
      say(talk, { t: 'refused', why: 'not_seen' });
      throw failed('the relay names no address that is one to try');
    }
    say(talk, { t: 'ready' });
    if (decodePunchRequest(await talk.hear(signal)).t !== 'go') throw failed('asked out of turn');
    say(talk, { t: 'going' });
    await pause(this.#options.clock, START_MS, signal);
    return await this.#try(target, side);
  }

  /** The relay through which the machine asks, or why it is not answered. */
  #objection(peerId: string, connection: Connection): string | { why: PunchRefusal } {
    const { linkWith, clock } = this.#options;
    const relay = relayOf(connection.remoteAddr.toString());
    if (relay === undefined || linkWith(peerId) !== connection) return { why: 'not_relayed' };
    if (!this.#mayRun(peerId)) return { why: 'busy' };
    return this.#asked.take(peerId, clock.elapsed()) ? relay : { why: 'too_soon' };
  }

  #mayRun(peerId: string): boolean {
    return this.#running.size < PUNCHES_MAX && !this.#running.has(peerId);
  }

  async #run(
    { relay, ...attempt }: Omit<Side, 'door'> & { relay: string },
    act: (side: Side) => Promise<Connection>,
  ): Promise<Connection> {
    const { relayAddresses, clock, log } = this.#options;
    const { peerId } = attempt;
    const limit = deadline(clock, PUNCH_TIMEOUT_MS, attempt.signal);
    this.#running.add(peerId);
    let door: Door | undefined;
    try {
      door = await Door.open(this.#options, relayAddresses(relay), limit.signal);
      const connection = await act({ ...attempt, door, signal: limit.signal });
      this.#punched.add(connection);
      log.info({ peer: peerId, address: connection.remoteAddr.toString() }, 'punched a hole');
      return connection;
    } finally {
      door?.close();
      limit.cancel();
      this.#running.delete(peerId);
    }
  }

  /** Where to connect to; undefined when the relay knows nothing yet, or names what is none of its business. */
  #target(door: Door, { you, other }: Seen): string | undefined {
    if (other === undefined) return undefined;
    const place = { kind: kindOf(other.ip), host: other.ip };
    const facts = {
      port: other.port,
      reach: reachOf(place),
      unicast: isUnicast(place),
      own: this.#options.ownIps().has(other.ip),
      sameFamily: place.kind === kindOf(you.ip),
      relayReach: door.relayReach,
    };
    return isTarget(facts) ? `/${place.kind}/${place.host}/tcp/${other.port}` : undefined;
  }

  async #try(target: string, { peerId, door, initiator, signal }: Side): Promise<Connection> {
    const { dialFrom, clock, random } = this.#options;
    const startMs = clock.elapsed();
    for (let tries = 1; ; tries++) {
      const limit = deadline(clock, TRY_MS, signal);
      try {
        const from = { localPort: door.localPort, initiator };
        return await dialFrom(`${target}/p2p/${peerId}`, from, limit.signal);
      } catch (cause) {
        signal.throwIfAborted();
        const waitMs = nextTryMs(tries, clock.elapsed() - startMs, random.fraction());
        if (waitMs === undefined) throw failed(`${tries} tries did not meet`, cause);
        // Where a port cannot be shared, it is free once the relay has done its part.
        if (/EADDRINUSE/.test(String(cause))) door.close();
        await pause(clock, waitMs, signal);
      } finally {
        limit.cancel();
      }
    }
  }

  /** The one that started opens the link; a connection of which it makes none is not kept. */
  #expectLink(peerId: string, connection: Connection): void {
    const timer = this.#options.clock.after(LINK_WITHIN_MS, () => {
      if (this.#options.linkWith(peerId) !== connection) connection.abort(new Error('no link'));
    });
    connection.addEventListener('close', () => timer.cancel());
  }
}

function kindOf(ip: string): 'ip4' | 'ip6' {
  return ip.includes(':') ? 'ip6' : 'ip4';
}

function say(talk: Talk, message: PunchRequest | PunchAnswer): void {
  talk.say(encodePunching(message));
}

async function ask(
  talk: Talk,
  request: PunchRequest,
  expected: 'ready' | 'going',
  signal: AbortSignal,
): Promise<void> {
  say(talk, request);
  const answer = decodePunchAnswer(await talk.hear(signal));
  if (answer.t === expected) return;
  throw failed(answer.t === 'refused' ? `the other machine refused: ${answer.why}` : 'answered out of turn');
}

function failed(why: string, cause?: unknown): PatchcordError {
  return new PatchcordError('peer_unreachable', `No hole was punched: ${why}.`, '', { cause });
}
