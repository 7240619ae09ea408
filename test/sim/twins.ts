import type { SimAgent } from './agent.ts';
import type { SeededRandom } from './random.ts';
import { RED, type World } from './world.ts';

const NAME = 'red-hal-quill';

/**
 * Two agents that take one name on two machines while these are cut off from each other. When they hear of each
 * other one of them has it, the same one everywhere, and the other is told.
 */
export class Twins {
  readonly agents: readonly [SimAgent, SimAgent];
  isDone = false;
  readonly #world: World;
  readonly #random: SeededRandom;

  constructor(world: World) {
    this.#world = world;
    this.#random = world.random.fork('twins');
    const { south, west } = world.nodes;
    this.agents = [
      world.addAgent(RED, NAME, south, 'hal-of-south'),
      world.addAgent(RED, NAME, west, 'hal-of-west'),
    ];
    world.known[RED].delete(NAME);
    world.ledger.fleeting.add(this.agents[0].address);
  }

  async run(): Promise<void> {
    const { time, known } = this.#world;
    const share = this.#random.fraction() * 0.6;
    while (this.#world.spentShare < share) await time.sleep(500);
    const heal = this.#part();
    await time.sleep(this.#random.between(0, 3_000));
    for (const agent of this.agents) {
      agent.mode = 'busy';
      agent.thinkMs = this.#random.pick([200, 1_500]);
      this.#world.run(agent);
    }
    known[RED].add(NAME);
    await time.sleep(this.#random.between(3_000, 30_000));
    heal();
    while (!this.agents.every((agent) => agent.isTooLate || agent.hasOpened)) await time.sleep(1_000);
    this.isDone = true;
  }

  /** Cuts both machines off from all others. Returns what ends that. */
  #part(): () => void {
    const { nodes, all, wire } = this.#world;
    const pairs: [string, string][] = [];
    for (const node of [nodes.south, nodes.west]) {
      for (const other of all) {
        if (other !== node) pairs.push([node.signer.peerId, other.signer.peerId]);
      }
    }
    for (const [a, b] of pairs) {
      wire.silence(a, b);
      wire.silence(b, a);
    }
    return () => {
      for (const [a, b] of pairs) {
        wire.heal(a, b);
        wire.heal(b, a);
      }
    };
  }
}
