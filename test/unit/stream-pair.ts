import type { Connection, Stream } from '@libp2p/interface';
import type { Clock } from '../../daemon/clock.ts';

/** Streams and connections in memory, as much of them as talks use; what is sent arrives a while later, in order. */
class PairedStream extends EventTarget {
  status = 'open';
  readableEnded = false;
  other!: PairedStream;
  readonly #later: (task: () => void) => void;

  constructor(later: (task: () => void) => void) {
    super();
    this.#later = later;
  }

  send(data: Uint8Array): boolean {
    if (this.status !== 'open') throw new Error('closed');
    const bytes = new Uint8Array(data);
    this.#later(() => this.other.dispatchEvent(Object.assign(new Event('message'), { data: bytes })));
    return true;
  }

  async close(): Promise<void> {
    this.#later(() => {
      this.other.readableEnded = true;
      this.other.dispatchEvent(new Event('end'));
    });
  }

  abort(): void {
    if (this.status !== 'open') return;
    this.status = 'aborted';
    this.dispatchEvent(new Event('close'));
    this.#later(() => {
      if (this.other.status !== 'open') return;
      this.other.status = 'reset';
      this.other.dispatchEvent(new Event('close'));
    });
  }
}

/** One side of a connection between two machines. */
export class PairedConnection extends EventTarget {
  status = 'open';
  readonly remotePeer: string;
  readonly remoteAddr: string;
  other!: PairedConnection;
  /** Who answers a protocol on this side. */
  readonly handlers = new Map<string, (stream: Stream, connection: Connection) => unknown>();
  readonly #later: (task: () => void) => void;

  constructor(remotePeer: string, remoteAddr: string, later: (task: () => void) => void) {
    super();
    this.remotePeer = remotePeer;
    this.remoteAddr = remoteAddr;
    this.#later = later;
  }

  async newStream(protocol: string): Promise<Stream> {
    const handle = this.other.handlers.get(protocol);
    if (this.status !== 'open' || handle === undefined) throw new Error(`no ${protocol}`);
    const [near, far] = [new PairedStream(this.#later), new PairedStream(this.#later)];
    [near.other, far.other] = [far, near];
    handle(asStream(far), this.other.real);
    return asStream(near);
  }

  abort(): void {
    for (const side of [this, this.other]) {
      if (side.status !== 'open') continue;
      side.status = 'closed';
      side.dispatchEvent(new Event('close'));
    }
  }

  get real(): Connection {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as much of it as is used
    return this as unknown as Connection;
  }
}

function asStream(stream: PairedStream): Stream {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as much of it as is used
  return stream as unknown as Stream;
}

/** How one end of a connection sees the other. */
interface End {
  peer: string;
  /** Multiaddr. */
  address: string;
}

/** A connection: the side of the first, who sees the second, and the other way round. */
export function connectionPair(
  first: End,
  second: End,
  clock: Clock,
  delayMs = 0,
): [PairedConnection, PairedConnection] {
  const later = (task: () => void): void => void clock.after(delayMs, task);
  const near = new PairedConnection(second.peer, second.address, later);
  const far = new PairedConnection(first.peer, first.address, later);
  [near.other, far.other] = [far, near];
  return [near, far];
}
