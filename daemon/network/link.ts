import type { Connection, Stream } from '@libp2p/interface';
import { PROTOCOL_VERSION, type Frame, type FrameOf } from '../../protocol/frame.ts';
import { WINDOW_FRAMES, WINDOW_SIZE_BYTES } from '../../protocol/limits.ts';
import type { Clock, Timer } from '../clock.ts';
import { FrameStream, type Ending } from './frame-stream.ts';
import { careFor, excused, type LinkSigns } from './liveness.ts';
import { ReceiveWindow } from './receive-window.ts';

/** Wire. Carries the frames of protocol/frame.ts. */
export const LINK_PROTOCOL = '/patchcord/link/1';
/** A peer that opened a stream has this long to say hello. */
const HELLO_TIMEOUT_MS = 10_000;
/** A peer from which we part has this long to read what it was told before. */
const PARTING_MS = 2_000;

/** What our hello says of this machine, and to whom. */
export interface Greeting {
  epoch?: number;
  relays?: boolean;
  /** What the peer has given us to keep. */
  kept?: Uint8Array | undefined;
}

export interface LinkOwner {
  /** The peer's hello was read, and it speaks our version. */
  greeted(link: Link): void;
  /** A frame other than hello, ping and pong, after both hellos. */
  frame(link: Link, frame: Frame): void;
  /** Called once; nothing is called for this link after it. */
  ended(link: Link, ending: Ending): void;
}

/**
 * One stream with one machine, from its opening to its end. It owns its connection: a link that ends takes the
 * connection along, so that a peer which broke the rules keeps nothing open here.
 *
 *     opened -> peer's hello read -> both hellos -> ended
 *            -> our hello sent    ->
 *
 * {@link Link.part} ends it too, but its connection stays for a moment, so that the peer can read what it was sent.
 * Frames pass only in "both hellos"; the owner decides when ours is said ({@link Link.greet}).
 */
export class Link {
  readonly peerId: string;
  readonly address: string;
  readonly connection: Connection;
  readonly #frames: FrameStream;
  readonly #owner: LinkOwner;
  readonly #clock: Clock;
  readonly #window = new ReceiveWindow();
  #hello: FrameOf<'hello'> | undefined;
  #greeted = false;
  #ended = false;
  #parting = false;
  #limit: Timer;
  #signs: LinkSigns;

  constructor(stream: Stream, connection: Connection, clock: Clock, owner: LinkOwner) {
    this.peerId = connection.remotePeer.toString();
    this.address = connection.remoteAddr.toString();
    this.connection = connection;
    this.#clock = clock;
    this.#owner = owner;
    this.#limit = clock.after(HELLO_TIMEOUT_MS, () => this.end('no hello'));
    const nowMs = clock.elapsed();
    this.#signs = { heardMs: nowMs, saidMs: nowMs };
    this.#frames = new FrameStream(stream, {
      heard: () => this.#heard(),
      frames: (frames) => this.#receive(frames),
      closed: (ending) => this.#close(ending),
    });
  }

  /** The peer's hello, once read. */
  get hello(): FrameOf<'hello'> | undefined {
    return this.#hello;
  }

  /** Says our hello. */
  greet(bootId: string, { epoch = 0, relays = false, kept }: Greeting = {}): void {
    this.#greeted = true;
    this.#settle();
    this.#frames.send([
      {
        t: 'hello',
        v: PROTOCOL_VERSION,
        boot: bootId,
        window_frames: WINDOW_FRAMES,
        window_bytes: WINDOW_SIZE_BYTES,
        ...(epoch > 0 && { epoch }),
        ...(relays && { relay: true as const }),
        at: this.#clock.now(),
        ...(kept && { kept }),
      },
    ]);
  }

  /** False when the link has ended, or these frames ended it because the reader is too slow. */
  send(frames: readonly Frame[]): boolean {
    for (const frame of frames) {
      if (frame.t === 'ack' || frame.t === 'refuse') this.#window.answered(frame.n);
    }
    this.#signs.saidMs = this.#clock.elapsed();
    return this.#frames.send(frames);
  }

  /** Does what its silence asks for, see liveness.ts. For a link that is up. */
  look(): void {
    const care = careFor(this.#signs, this.#clock.elapsed());
    if (care === 'give up') this.end('silence');
    else if (care === 'ask') this.ask(false);
    else if (care === 'say') this.send([{ t: 'pong' }]);
  }

  /** Asks whether the other side is there; in a hurry it has less time to answer. */
  ask(hurry: boolean): void {
    const { asked } = this.#signs;
    if (asked === undefined || (hurry && !asked.hurry)) {
      this.#signs.asked = { atMs: this.#clock.elapsed(), hurry };
    }
    this.send([{ t: 'ping' }]);
  }

  /** Its silence so far was this process's fault. */
  excuse(): void {
    this.#signs = excused(this.#signs, this.#clock.elapsed());
  }

  /** Ends the link at once, with whatever is still on its way. */
  end(reason: string): void {
    this.#frames.end(reason);
  }

  /**
   * Ends the link at once for us: nothing is taken from the peer any more. What the peer was sent before it may
   * still read; then it closes the connection, or we do after PARTING_MS.
   */
  part(reason: string): void {
    if (this.#ended) return;
    const patience = this.#clock.after(PARTING_MS, () => this.connection.abort(new Error(reason)));
    this.connection.addEventListener('close', () => patience.cancel());
    this.#parting = true;
    this.#frames.part(reason);
  }

  /** Once both hellos are said, silence is {@link Link.look}'s matter. */
  #settle(): void {
    if (this.#greeted && this.#hello !== undefined) this.#limit.cancel();
  }

  #heard(): void {
    this.#signs.heardMs = this.#clock.elapsed();
    delete this.#signs.asked;
  }

  #receive(frames: readonly Frame[]): void {
    for (const frame of frames) {
      if (this.#ended) return;
      this.#take(frame);
    }
  }

  #take(frame: Frame): void {
    if (frame.t === 'hello') {
      if (this.#hello !== undefined) return this.end('second hello');
      if (frame.v !== PROTOCOL_VERSION) return this.end('protocol_version');
      this.#hello = frame;
      this.#settle();
      return this.#owner.greeted(this);
    }
    if (this.#hello === undefined || !this.#greeted) return this.end('no hello');
    if (frame.t === 'parcel' && !this.#window.received(frame.n, frame.envelope.length)) {
      return this.end('window overrun');
    }
    if (frame.t === 'ping') this.send([{ t: 'pong' }]);
    else if (frame.t !== 'pong') this.#owner.frame(this, frame);
  }

  #close(ending: Ending): void {
    this.#ended = true;
    this.#limit.cancel();
    this.#owner.ended(this, ending);
    if (!this.#parting) this.connection.abort(new Error(ending.reason));
  }
}
