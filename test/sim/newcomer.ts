import type { Machine } from '../../daemon/machine.ts';
import type { SimAgent } from './agent.ts';
import { logOn } from './disk.ts';
import type { SimNode } from './node.ts';
import type { SeededRandom } from './random.ts';
import { RED, type World } from './world.ts';

/** Which parts of a run it spends in the namespace, by the share of messages that were tried. */
const COMES_AT = [0, 0.25] as const;
const GOES_AT = [0.35, 0.85] as const;

/**
 * `east` comes to the red namespace by a ticket, hosts an agent that talks with the others, and is removed by an
 * admin, all of it in whatever weather there is: each step is tried until it is done.
 */
export class Newcomer {
  readonly agent: SimAgent;
  isDone = false;
  /** The key epoch of the namespace before its removal. */
  epochBefore = 0;
  readonly #world: World;
  readonly #random: SeededRandom;

  constructor(world: World) {
    this.#world = world;
    this.#random = world.random.fork('newcomer');
    this.agent = world.addAgent(RED, 'red-gil-quill', world.nodes.east);
    // Nobody has heard of it yet.
    world.known[RED].delete('red-gil-quill');
    world.ledger.fleeting.add(this.agent.address);
  }

  async run(): Promise<void> {
    const { time, known } = this.#world;
    await this.#until(COMES_AT);
    await this.#join();
    this.agent.mode = 'busy';
    this.agent.thinkMs = this.#random.pick([200, 1_500]);
    this.#world.run(this.agent);
    known[RED].add('red-gil-quill');
    await this.#until(GOES_AT);
    await this.#remove();
    this.#world.trace('east is removed');
    await this.#addAnother();
    await time.sleep(this.#random.between(0, 10_000));
    this.#world.nodes.east.isAway = false;
    this.#world.nodes.east.start();
    known[RED].delete('red-gil-quill');
    this.isDone = true;
  }

  async #until([from, to]: readonly [number, number]): Promise<void> {
    const share = from + this.#random.fraction() * (to - from);
    while (this.#world.spentShare < share) await this.#world.time.sleep(500);
  }

  async #join(): Promise<void> {
    const { nodes, redAdmins } = this.#world;
    for (;;) {
      const inviter = this.#random.pick(redAdmins);
      const invited = await this.#ask(inviter, ({ admin }) => admin.invite(RED));
      if (!invited) continue;
      for (let tries = this.#random.between(1, 3); tries > 0; tries--) {
        const joined = await this.#ask(nodes.east, ({ admin }) => admin.join(invited.ticket));
        if (joined) return;
      }
    }
  }

  /** By one admin or by two at once, maybe while some machine is cut off, and east itself maybe switched off. */
  async #remove(): Promise<void> {
    const { redAdmins, nodes, redId, wire, time } = this.#world;
    const { east } = nodes;
    const removers = this.#random.chance(0.3) ? redAdmins : [this.#random.pick(redAdmins)];
    this.epochBefore = (await logOn(removers[0]!, redId))?.key?.epoch ?? 0;
    if (this.#random.chance(0.2)) {
      east.isAway = true;
      east.crash();
    } else if (this.#random.chance(0.4)) {
      const lastsMs = this.#random.between(1_000, 40_000);
      const cut = this.#random.pick(this.#world.all);
      for (const other of this.#world.all) {
        if (other === cut) continue;
        const pair = [cut.signer.peerId, other.signer.peerId] as const;
        wire.silence(...pair);
        wire.silence(pair[1], pair[0]);
        time.after(lastsMs, () => {
          wire.heal(...pair);
          wire.heal(pair[1], pair[0]);
        });
      }
    }
    await Promise.all(removers.map((remover) => this.#removeBy(remover)));
  }

  async #removeBy(remover: SimNode): Promise<void> {
    const { nodes, redId } = this.#world;
    const { peerId } = nodes.east.signer;
    const isOut = async () => (await logOn(remover, redId))?.removed.has(peerId) ?? false;
    while (!(await isOut())) await this.#ask(remover, ({ admin }) => admin.removeMember(RED, peerId));
  }

  /** What comes up on a machine that knows of the removal: nothing of it may get to east. */
  async #addAnother(): Promise<void> {
    const { nodes, redId, redMembers, afterwards } = this.#world;
    const { east } = nodes;
    const home = this.#random.pick(redMembers);
    const knows = async () => (await logOn(home, redId))?.removed.has(east.signer.peerId);
    while (!(await knows())) await this.#world.time.sleep(100);
    while (!(await this.#ask(home, ({ admin }) => admin.addAgent(`${afterwards}@${RED}`)))) continue;
  }

  /** The answer, or undefined after a while when there was none. */
  async #ask<T>(node: SimNode, run: (machine: Machine) => Promise<T>): Promise<T | undefined> {
    await node.up();
    const outcome = await node.call(run);
    const what = outcome.kind === 'error' ? outcome.error.code : outcome.kind;
    this.#world.trace(`newcomer asks ${node.name}: ${what}`);
    if (outcome.kind === 'answer') return outcome.value;
    await this.#world.time.sleep(this.#random.between(200, 2_000));
    return undefined;
  }
}
