import { equalBytes } from '../../protocol/codec.ts';
import { asPatchcordError } from '../../protocol/errors.ts';
import type { NamespaceLog } from '../../protocol/membership/log.ts';
import { NAMESPACE_KEY_SIZE_BYTES, namespaceKeyHash } from '../../protocol/shared.ts';
import type { Signer } from '../../protocol/signing.ts';
import type { Clock, Random, Timer } from '../clock.ts';
import type { Log } from '../log.ts';
import type { LogChange } from './directory-store.ts';
import type { Directory } from './directory.ts';
import { said } from './say.ts';

/** Admins that all see a re-keying due wait up to this long, so that mostly one of them does it. */
const REKEY_WAIT_MS_MAX = 3_000;
/** Beats that an admin waits for the current key before it makes another: whoever made it may be gone for good. */
const BEATS_WITHOUT_KEY_MAX = 4;

/**
 * The namespace keys: which is current the log says, by its hash; the key itself passes from member to member. It
 * changes at the founding and whenever a machine was removed.
 */
export class NamespaceKeys {
  readonly #directory: Directory;
  readonly #signer: Signer;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Log;
  readonly #timers = new Map<string, Timer>();
  /** Beats that passed without the current key, by namespace. */
  readonly #missed = new Map<string, number>();

  constructor(parts: { directory: Directory; signer: Signer; clock: Clock; random: Random; log: Log }) {
    this.#directory = parts.directory;
    this.#signer = parts.signer;
    this.#clock = parts.clock;
    this.#random = parts.random;
    this.#log = parts.log;
  }

  stop(): void {
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
  }

  /** The key that the log names, if it is held here. */
  current(ns: string): { epoch: number; key: Uint8Array } | undefined {
    const named = this.#directory.logs.get(ns)?.key;
    const key = this.#directory.keys.get(ns);
    if (!named || !key || !equalBytes(namespaceKeyHash(key), named.keyHash)) return undefined;
    return { epoch: named.epoch, key };
  }

  /** SHA-256 of the key that is held, whether or not it is current. */
  heldHash(ns: string): Uint8Array | undefined {
    const key = this.#directory.keys.get(ns);
    return key && namespaceKeyHash(key);
  }

  /** Takes a key that another machine gave, if it is the one that the log names. True when it is new here. */
  async take(ns: string, key: Uint8Array): Promise<boolean> {
    const log = this.#directory.logs.get(ns);
    if (!log?.key || !this.#directory.isMember(log) || this.current(ns)) return false;
    if (!equalBytes(namespaceKeyHash(key), log.key.keyHash)) return false;
    await this.#directory.setKey(ns, key);
    return true;
  }

  /** The log with a new key, on top of what `change` made of it already. Throws what `author` throws. */
  rotated(change: LogChange): LogChange {
    const key = this.#random.bytes(NAMESPACE_KEY_SIZE_BYTES);
    const draft = { k: 'rotate' as const, key_hash: namespaceKeyHash(key) };
    return { ...said(change, draft, this.#clock.now(), this.#signer), key };
  }

  /** After a change of the log: makes a new key when one is due and this machine may. */
  check(ns: string): void {
    if (this.#timers.has(ns) || !this.#isDue(this.#directory.logs.get(ns))) return;
    const waitMs = Math.floor(this.#random.fraction() * REKEY_WAIT_MS_MAX);
    const timer = this.#clock.after(waitMs, () => {
      this.#timers.delete(ns);
      void this.#rekey(ns, (log) => this.#isDue(log));
    });
    this.#timers.set(ns, timer);
  }

  /** Called with every beat: a key that nobody brings is replaced. */
  beat(): void {
    for (const [ns, log] of this.#directory.logs) {
      this.check(ns);
      const missing = log.key !== undefined && this.#isAdmin(log) && !this.current(ns);
      const beats = missing ? (this.#missed.get(ns) ?? 0) + 1 : 0;
      this.#missed.set(ns, beats);
      if (beats >= BEATS_WITHOUT_KEY_MAX) void this.#rekey(ns, () => !this.current(ns));
    }
  }

  async #rekey(ns: string, isDue: (log: NamespaceLog) => boolean): Promise<void> {
    try {
      await this.#directory.changeLog(ns, (log) => {
        if (!log || !this.#isAdmin(log) || !isDue(log)) return undefined;
        return this.rotated({ log, added: [] });
      });
    } catch (error) {
      this.#log.warn({ ns, code: asPatchcordError(error).code }, 'the namespace key could not be changed');
    }
  }

  #isDue(log: NamespaceLog | undefined): boolean {
    return log !== undefined && this.#isAdmin(log) && (log.rekeyDue || log.key === undefined);
  }

  #isAdmin(log: NamespaceLog): boolean {
    return log.members.get(this.#signer.peerId)?.role === 'admin';
  }
}
