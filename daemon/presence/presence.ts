import { sha256 } from '../../protocol/digest.ts';
import { asPatchcordError } from '../../protocol/errors.ts';
import type { FrameOf } from '../../protocol/frame.ts';
import { PRESENCE_TICK_MS } from '../../protocol/limits.ts';
import {
  openPresence,
  presenceTopic,
  sealPresence,
  type PresenceMessage,
} from '../../protocol/presence/message.ts';
import { newPresence, stepPresence, type PresenceEvent } from '../../protocol/presence/presence.ts';
import type { Verdict } from '../../protocol/presence/receive.ts';
import { isHere, type PresenceEffect, type PresenceState } from '../../protocol/presence/state.ts';
import { readPresence, type PresenceContent } from '../../protocol/presence/statement.ts';
import type { Signer } from '../../protocol/signing.ts';
import type { Clock, Random, Timer } from '../clock.ts';
import type { Directory } from '../directory/directory.ts';
import type { NamespaceKeys } from '../directory/namespace-keys.ts';
import { logDigest } from '../directory/log-digest.ts';
import type { Log } from '../log.ts';
import type { Network } from '../network/network.ts';
import type { PrekeyRing } from '../prekeys/prekey-ring.ts';

export interface PresenceDeps {
  directory: Directory;
  keys: NamespaceKeys;
  prekeys: PrekeyRing;
  network: Network;
  signer: Signer;
  clock: Clock;
  random: Random;
  log: Log;
  /** Id of this start of the daemon, a UUIDv7. */
  boot: string;
}

/**
 * Runs protocol/presence for each namespace: over gossip, on a topic that follows from the namespace key, and over links.
 * Who is here then shows in the directory, also where there is no link. Without gossip on the network it does nothing,
 * and a machine is here while it is linked.
 */
export class Presence {
  readonly #deps: PresenceDeps;
  readonly #states = new Map<string, PresenceState>();
  /** The namespace and key epoch of each topic that is listened to. */
  #topics = new Map<string, string>();
  /** Sequence of the statement whose roster the directory has, by `NS/MACHINE`. */
  readonly #adopted = new Map<string, number>();
  #tick: Timer | undefined;
  #isLeaving = false;

  constructor(deps: PresenceDeps) {
    this.#deps = deps;
    deps.directory.presence = (ns, machine) => {
      const state = this.#states.get(ns);
      return state && isHere(state, machine);
    };
  }

  start(): void {
    if (this.#deps.network.publish === undefined) return;
    for (const ns of this.#deps.directory.logs.keys()) this.changed(ns);
    this.#scheduleTick();
  }

  /** Says that this machine leaves; what comes later is not answered any more. */
  stop(): void {
    this.#tick?.cancel();
    if (this.#isLeaving) return;
    this.#isLeaving = true;
    for (const ns of this.#states.keys()) this.#step(ns, { type: 'content', content: this.#content(ns) });
  }

  /** This machine has something else to say of itself, or the members or the key of a namespace changed. */
  changed(ns: string): void {
    const { directory, keys, network, signer, random, clock } = this.#deps;
    if (network.publish === undefined || this.#isLeaving) return;
    const log = directory.logs.get(ns);
    const isIn = log !== undefined && directory.isMember(log);
    if (!isIn || !keys.current(ns)) {
      // Without the key nothing can be told; what is known stays while this machine is a member.
      if (!isIn) this.#states.delete(ns);
      return this.#listen();
    }
    if (!this.#states.has(ns)) {
      const parts = { signer, randomBytes: random.bytes, read: readPresence };
      const state = newPresence({ ns, seq: clock.now(), ...parts });
      this.#states.set(ns, state);
      this.#members(ns);
      for (const machine of directory.linked) this.#step(ns, { type: 'link-up', machine });
    } else this.#members(ns);
    this.#listen();
    this.#step(ns, { type: 'content', content: this.#content(ns) });
  }

  linkUp(machine: string): void {
    for (const { id } of this.#deps.directory.common(machine)) this.#step(id, { type: 'link-up', machine });
  }

  linkDown(machine: string, reason: string): void {
    const silent = reason === 'silence';
    for (const [ns, state] of this.#states) {
      if (!state.linked.has(machine)) continue;
      this.#step(ns, { type: 'link-down', machine, silent });
    }
  }

  /** A frame of a linked machine. */
  frame(from: string, { ns, epoch, box }: FrameOf<'presence'>): void {
    const held = this.#deps.keys.current(ns);
    if (!this.#states.has(ns) || !held || !this.#deps.directory.shares(ns, from)) return;
    // Of two that do not know one key yet, sync is about to tell one of them.
    if (held.epoch !== epoch) return;
    this.#take(ns, from, 'link', box);
  }

  /** Something on a topic; answers whether it goes on from here. */
  gossip(topic: string, data: Uint8Array, from: string): Verdict {
    const ns = this.#topics.get(topic);
    if (ns === undefined || !this.#deps.directory.shares(ns, from)) return 'ignore';
    return this.#take(ns, from, 'gossip', data);
  }

  #take(ns: string, from: string, via: 'gossip' | 'link', box: Uint8Array): Verdict {
    const { keys, log } = this.#deps;
    const held = keys.current(ns);
    if (!held) return 'ignore';
    try {
      const message = openPresence(box, { ns, epoch: held.epoch }, held.key);
      const verdict = this.#step(ns, { type: 'message', from, via, message }) ?? 'ignore';
      if (verdict === 'reject') log.warn({ machine: from, ns }, 'refused: presence that was forged');
      return verdict;
    } catch (error) {
      log.warn({ machine: from, ns, why: asPatchcordError(error).message }, 'refused: no word of presence');
      return 'reject';
    }
  }

  #step(ns: string, event: PresenceEvent): Verdict | undefined {
    const state = this.#states.get(ns);
    if (!state) return undefined;
    const { effects, verdict } = stepPresence(state, event, this.#deps.clock.elapsed());
    for (const effect of effects) this.#run(ns, effect);
    return verdict;
  }

  #run(ns: string, effect: PresenceEffect): void {
    const { network, directory } = this.#deps;
    if (effect.type === 'changed') {
      this.#adopt(ns, effect.machine);
      directory.presenceChanged(ns, effect.machine);
      return;
    }
    const sealed = this.#seal(ns, effect.message);
    if (!sealed) return;
    const { epoch, box, topic } = sealed;
    if (effect.type === 'publish') network.publish!(topic, box);
    else network.send(effect.to, [{ t: 'presence', ns, epoch, box }]);
  }

  #seal(ns: string, message: PresenceMessage) {
    const { keys, random } = this.#deps;
    const held = keys.current(ns);
    if (!held) return undefined;
    const place = { ns, epoch: held.epoch };
    const box = sealPresence(message, place, held.key, random.bytes);
    return { epoch: held.epoch, box, topic: presenceTopic(place, held.key) };
  }

  /**
   * What a machine says of its agents. One that is linked tells it there as well, and sooner; whatever comes last counts,
   * and after each change a statement comes last.
   */
  #adopt(ns: string, machine: string): void {
    const { directory, log } = this.#deps;
    const entry = this.#states.get(ns)?.entries.get(machine);
    const place = `${ns}/${machine}`;
    if (!entry) return void this.#adopted.delete(place);
    if (machine === directory.self.peerId) return;
    if (this.#adopted.get(place) === entry.seq) return;
    this.#adopted.set(place, entry.seq);
    directory.setRoster(ns, machine, entry.statement.roster).catch((error: unknown) => {
      log.warn({ error, machine }, 'what a machine says of its agents could not be stored');
    });
  }

  #content(ns: string): PresenceContent {
    const { directory, prekeys, boot } = this.#deps;
    const { seq, bytes } = prekeys.current;
    return {
      boot,
      left: this.#isLeaving,
      roster: directory.ownRoster(ns),
      prekey: { seq, hash: sha256(bytes) },
      log: logDigest(directory.logs.get(ns)!),
    };
  }

  #members(ns: string): void {
    const members = this.#deps.directory.logs.get(ns)?.members.keys() ?? [];
    this.#step(ns, { type: 'members', machines: members });
  }

  #listen(): void {
    const { keys, network } = this.#deps;
    const topics = new Map<string, string>();
    for (const ns of this.#states.keys()) {
      const held = keys.current(ns);
      if (held) topics.set(presenceTopic({ ns, epoch: held.epoch }, held.key), ns);
    }
    this.#topics = topics;
    network.setTopics?.(new Set(topics.keys()));
  }

  #scheduleTick(): void {
    this.#tick = this.#deps.clock.after(PRESENCE_TICK_MS, () => {
      for (const ns of this.#states.keys()) this.#step(ns, { type: 'tick' });
      this.#scheduleTick();
    });
  }
}
