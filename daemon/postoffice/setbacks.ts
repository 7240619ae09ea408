import type { FrameOf } from '../../protocol/frame.ts';
import { BEAT_INTERVAL_MS, RESYNC_INTERVAL_MS } from '../../protocol/limits.ts';
import type { Clock, Timer } from '../clock.ts';
import type { Log } from '../log.ts';
import type { Network } from '../network/network.ts';
import type { PrekeyRing } from '../prekeys/prekey-ring.ts';
import type { MailStore } from '../store/mail-store.ts';
import type { Milestones } from '../store/milestones.ts';
import type { Epochs } from './epochs.ts';
import type { Postoffice } from './postoffice.ts';

/** After a failure of the store it tries again. */
const AGAIN_MS = 5_000;

/**
 * Learns from others that this machine was set back to an earlier state behind its back, by a folder that was copied
 * back or the snapshot of a virtual machine, and begins a new epoch then, as a restore does. It tells linked machines
 * how far its store has got, when the link comes up and then when that has changed, and keeps what they tell.
 */
export class Setbacks {
  readonly #milestones: Milestones;
  readonly #epochs: Epochs;
  readonly #mail: MailStore;
  readonly #prekeys: PrekeyRing;
  readonly #postoffice: Postoffice;
  readonly #network: Network;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #boot: string;
  readonly #onBegun: () => void;
  /** What each linked machine was told last. */
  readonly #told = new Map<string, Uint8Array | undefined>();
  /** A new epoch is beginning. */
  #begins = false;
  #lastMs = -Infinity;
  #beat: Timer | undefined;
  #again: Timer | undefined;
  #stopped = false;

  constructor(parts: {
    milestones: Milestones;
    epochs: Epochs;
    mail: MailStore;
    prekeys: PrekeyRing;
    postoffice: Postoffice;
    network: Network;
    clock: Clock;
    log: Log;
    /** This start of the daemon. */
    boot: string;
    /** A new epoch has begun: what agents wait for may be there. */
    onBegun: () => void;
  }) {
    this.#milestones = parts.milestones;
    this.#epochs = parts.epochs;
    this.#mail = parts.mail;
    this.#prekeys = parts.prekeys;
    this.#postoffice = parts.postoffice;
    this.#network = parts.network;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#boot = parts.boot;
    this.#onBegun = parts.onBegun;
  }

  /** Before any link. Nothing is told to others in a start that could not be noted. */
  async start(): Promise<void> {
    try {
      await this.#milestones.start();
    } catch (error) {
      this.#log.error({ error }, 'this start could not be noted; whether it is undone later is not noticed');
    }
    this.#scheduleBeat();
  }

  stop(): void {
    this.#stopped = true;
    this.#beat?.cancel();
    this.#again?.cancel();
  }

  /**
   * A link came up, and the hello gave this back. False when the link is not to be used: this machine was set back,
   * and nothing goes out before its new epoch has begun.
   */
  mayLink(machine: string, kept: Uint8Array | undefined): boolean {
    if (this.#begins) return false;
    const ahead = kept && this.#milestones.ahead(kept, this.#epochs.current);
    if (!ahead) return true;
    const nowMs = this.#clock.elapsed();
    // So often only where two copies of one home run.
    if (nowMs - this.#lastMs < RESYNC_INTERVAL_MS) return false;
    this.#lastMs = nowMs;
    this.#log.warn(
      { machine },
      'this home was set back to an earlier state, or another copy of it runs: a new epoch begins',
    );
    this.#begins = true;
    this.#postoffice.halt();
    void this.#begin(ahead.epoch);
    return false;
  }

  linkUp(machine: string): void {
    this.#tell(machine);
  }

  linkDown(machine: string): void {
    this.#told.delete(machine);
  }

  /** What a machine gave this one to keep. */
  kept(machine: string): Uint8Array | undefined {
    return this.#milestones.kept(machine);
  }

  keep(machine: string, { mark }: FrameOf<'milestone'>): void {
    this.#milestones.keep(machine, mark);
  }

  /** `begun` is the epoch, where the store is in it already and only the prekey is missing. */
  async #begin(above: number, begun?: number): Promise<void> {
    let epoch = begun;
    try {
      const begin = { inDoubt: true, above, boot: this.#boot, nowMs: this.#clock.now() };
      epoch ??= await this.#mail.newEpoch(begin);
      // Others know newer prekeys than this machine has the keys of.
      await this.#prekeys.renew(epoch);
    } catch (error) {
      if (this.#stopped) return;
      this.#log.error({ error }, 'a new epoch could not begin; trying again');
      this.#again = this.#clock.after(AGAIN_MS, () => void this.#begin(above, epoch));
      return;
    }
    if (this.#stopped) return;
    this.#epochs.began(epoch);
    this.#epochs.look();
    this.#begins = false;
    this.#postoffice.resume();
    this.#onBegun();
  }

  #tell(machine: string): void {
    const mark = this.#milestones.own(this.#epochs.current);
    if (!mark || this.#told.get(machine) === mark) return;
    this.#told.set(machine, mark);
    this.#network.send(machine, [{ t: 'milestone', mark }]);
  }

  #scheduleBeat(): void {
    this.#beat = this.#clock.after(BEAT_INTERVAL_MS, () => {
      for (const machine of this.#told.keys()) this.#tell(machine);
      this.#scheduleBeat();
    });
  }
}
