import type { PrekeyFile } from '../../daemon/prekeys/prekey-ring.ts';

/** A file of prekeys in memory, on a disk that can fail. */
export class MemoryPrekeyFile implements PrekeyFile {
  /** What a power cut would leave. */
  bytes: Uint8Array | undefined;
  /** While set, every write fails with it. */
  failure: Error | undefined;
  writes = 0;
  /** While set, a write takes until it resolves. */
  held: Promise<void> | undefined;

  async read(): Promise<Uint8Array | undefined> {
    return this.bytes;
  }

  async write(bytes: Uint8Array): Promise<void> {
    await this.held;
    if (this.failure) throw this.failure;
    this.bytes = bytes;
    this.writes += 1;
  }
}
