import { systemClock, systemRandom } from '../../daemon/clock.ts';
import { silentLog } from '../../daemon/log.ts';
import { createMachine, type Machine, type MachineParts } from '../../daemon/machine.ts';
import { createLibp2pNetwork } from '../../daemon/network/libp2p-network.ts';
import type { Network } from '../../daemon/network/network.ts';
import type { Session } from '../../mcp/messenger.ts';
import { newId } from '../../protocol/ids.ts';
import { signerFromSeed } from '../../protocol/signing.ts';
import { MemoryKv } from '../sim/memory-kv.ts';
import { MemoryPrekeyFile } from '../unit/memory-prekey-file.ts';

/** Whole machines in one process, with stores in memory and real sockets on loopback. */
export interface RealMachine extends Machine {
  readonly label: string;
  readonly peerId: string;
  readonly network: Network;
  readonly session: Session;
  /** Keeps links with those machines only. */
  narrow(isKept: (peerId: string) => boolean): void;
  /** Its links break without a word; what else it is goes with `stop`. */
  die(): Promise<void>;
}

/** What is left of a machine when it stops, and what else its parts are to be. */
export type RealHome = Pick<MachineParts, 'kv' | 'prekeyFile' | 'tableMembersMin'> & {
  seed: Uint8Array;
  /** It begins by keeping links with those machines only. */
  keeps?: (peerId: string) => boolean;
};

export const newHome = (): RealHome => ({
  seed: systemRandom.bytes(32),
  kv: new MemoryKv(),
  prekeyFile: new MemoryPrekeyFile(),
});

/** One that is in the namespace `team`, which `founder` founded, with an agent named like it. */
export async function realMachine(
  label: string,
  founder?: RealMachine,
  home = newHome(),
): Promise<RealMachine> {
  const { seed, keeps = () => true, ...parts } = home;
  const signer = signerFromSeed(seed);
  const boot = newId(Date.now(), systemRandom.bytes);
  const shared = { clock: systemClock, random: systemRandom, log: silentLog };
  const network = createLibp2pNetwork({ seed, listen: ['/ip4/127.0.0.1/tcp/0'], bootId: boot, ...shared });
  let isKept: (peerId: string) => boolean = keeps;
  let wanted: ReadonlyMap<string, readonly string[]> = new Map();
  const setPeers = network.setPeers.bind(network);
  network.setPeers = (peers) => {
    wanted = peers;
    setPeers(new Map([...peers].filter(([peerId]) => isKept(peerId))));
  };
  const narrow: RealMachine['narrow'] = (kept) => {
    isKept = kept;
    network.setPeers(wanted);
  };
  const machine = await createMachine({
    ...parts,
    signer,
    storeKey: seed,
    network,
    boot,
    label,
    platform: 'test',
    peers: [],
    ...shared,
  });
  await machine.start();
  const isBack = (await machine.admin.namespaces()).length > 0;
  if (founder && !isBack) await machine.admin.join((await founder.admin.invite('team')).ticket);
  else if (!isBack) await machine.admin.createNamespace('team');
  const session = await machine.messenger.open({ agent: `${label}@team`, client: 'test 1' });
  const die = async (): Promise<void> => {
    network.publish = () => {};
    network.send = () => false;
    await network.stop();
  };
  return { ...machine, label, peerId: signer.peerId, network, session, narrow, die };
}

/** The other agents that one is shown as online. */
export async function seenBy({ session }: RealMachine): Promise<string[]> {
  const { agents } = await session.inbox({ all_agents: false });
  return agents.map(({ agent }) => agent.split('@')[0]!).sort();
}
