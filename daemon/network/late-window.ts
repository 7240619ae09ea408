import type { Stream } from '@libp2p/interface';

/** The part of a yamux stream that says how much may come. */
interface YamuxWindow {
  readonly state: number;
  readonly recvWindow: number;
  readonly recvWindowCapacity: number;
  sendWindowUpdate(): void;
}
const ESTABLISHED = 3;

/**
 * Tells the sender of a stream that there is room again when half of the window is used up, as other implementations
 * of yamux do. By itself @libp2p/yamux says so after each frame: a frame back for each frame that comes.
 */
export function tellWindowLate(stream: Stream): void {
  if (!hasWindow(stream)) return;
  const tell = stream.sendWindowUpdate.bind(stream);
  stream.sendWindowUpdate = () => {
    if (stream.state === ESTABLISHED && stream.recvWindowCapacity > stream.recvWindow / 2) return;
    tell();
  };
}

function hasWindow(stream: object): stream is YamuxWindow {
  return (
    'sendWindowUpdate' in stream &&
    'recvWindowCapacity' in stream &&
    'recvWindow' in stream &&
    'state' in stream
  );
}
