import { FRAME_SIZE_BYTES_MAX, WINDOW_FRAMES, WINDOW_SIZE_BYTES } from '../../protocol/limits.ts';

/**
 * Counts what a peer has sent and we have not yet answered, against the window our hello promised.
 *
 * Invariant: `#frames` and `#sizeBytes` are the sums over `#parcels`. A number that is sent again before it is
 * answered counts each time, and one answer settles all of it.
 */
export class ReceiveWindow {
  #parcels = new Map<number, { frames: number; sizeBytes: number }>();
  #frames = 0;
  #sizeBytes = 0;

  /**
   * Takes note of a parcel; false when the peer has overrun the window. A sender that looks at its bytes
   * before it sends, not after, overshoots by one parcel, so one frame's length is forgiven.
   */
  received(n: number, sizeBytes: number): boolean {
    const parcel = this.#parcels.get(n) ?? { frames: 0, sizeBytes: 0 };
    parcel.frames += 1;
    parcel.sizeBytes += sizeBytes;
    this.#parcels.set(n, parcel);
    this.#frames += 1;
    this.#sizeBytes += sizeBytes;
    return this.#frames <= WINDOW_FRAMES && this.#sizeBytes <= WINDOW_SIZE_BYTES + FRAME_SIZE_BYTES_MAX;
  }

  /** An ack or a refusal of this number was sent. */
  answered(n: number): void {
    const parcel = this.#parcels.get(n);
    if (parcel === undefined) return;
    this.#parcels.delete(n);
    this.#frames -= parcel.frames;
    this.#sizeBytes -= parcel.sizeBytes;
  }
}
