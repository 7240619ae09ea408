import type { SimNode } from './node.ts';
import type { SeededRandom } from './random.ts';
import type { World } from './world.ts';

/** How long one of them is there, and how long neither is. */
const WATCH_MS = [4_000, 30_000] as const;
const BETWEEN_MS = [50, 4_000] as const;

/**
 * Two machines that are never there together: one is switched on after the other is off. What their agents say to
 * each other meanwhile comes by mailboxes or not at all.
 */
export class Watches {
  readonly #world: World;
  readonly #random: SeededRandom;
  readonly #pair: readonly [SimNode, SimNode];
  #isOver = false;

  constructor(world: World) {
    this.#world = world;
    this.#random = world.random.fork('watches');
    const { north, south, center } = world.nodes;
    this.#pair = this.#random.pick([
      [south, center],
      [north, center],
      [north, south],
    ] as const);
  }

  async run(): Promise<void> {
    const { time } = this.#world;
    this.#world.trace(`${this.#pair.map(({ name }) => name).join(' and ')} take turns`);
    let [on, off] = this.#pair;
    for (;;) {
      await this.#switchOff(off);
      await time.sleep(this.#random.between(...BETWEEN_MS));
      // Switched off when all was over already.
      if (this.#isOver) return this.end();
      on.isAway = false;
      on.start();
      await time.sleep(this.#random.between(...WATCH_MS));
      if (this.#isOver) return;
      [on, off] = [off, on];
    }
  }

  /** Both are there from now on. */
  end(): void {
    this.#isOver = true;
    for (const node of this.#pair) {
      node.isAway = false;
      node.start();
    }
  }

  async #switchOff(node: SimNode): Promise<void> {
    node.isAway = true;
    if (this.#random.chance(0.5)) await node.stop();
    // Also when it could not be stopped, as a machine that is just starting cannot.
    node.crash();
  }
}
