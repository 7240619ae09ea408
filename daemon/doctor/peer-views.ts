import { formatAddress } from '../../protocol/address.ts';
import type { PeerView } from '../../protocol/doctor-view.ts';
import { isStale } from '../../protocol/prekey.ts';
import type { Clock } from '../clock.ts';
import type { Directory } from '../directory/directory.ts';
import type { LinkStatus, Network } from '../network/network.ts';
import type { MailStore } from '../store/mail-store.ts';
import { peerFindings, type OwnFacts, type PeerFacts } from './peer-findings.ts';

export interface PeerParts {
  directory: Directory;
  network: Network;
  mail: Pick<MailStore, 'outboxCount'>;
  clock: Clock;
  /** Whether machines are looked for by multicast. */
  mdns?: () => OwnFacts['mdns'];
}

/** Every other machine that is or was in a namespace of this one, with why it is reached or not. */
export async function peerViews(parts: PeerParts): Promise<PeerView[]> {
  const { directory, network } = parts;
  const links = new Map(network.links().map((link) => [link.peerId, link]));
  const machines = new Set(links.keys());
  for (const log of directory.logs.values())
    for (const machine of [...log.members.keys(), ...log.removed.keys()]) machines.add(machine);
  machines.delete(directory.self.peerId);
  const own: OwnFacts = { listen: network.addresses(), mdns: parts.mdns?.() };
  const views = [...machines].map(async (machine) => {
    const facts = await factsOf(parts, machine, links.get(machine));
    return viewOf(parts, machine, facts, own);
  });
  return (await Promise.all(views)).sort((a, b) => (a.machine < b.machine ? -1 : 1));
}

async function factsOf(
  { directory, mail, clock }: PeerParts,
  machine: string,
  link: LinkStatus | undefined,
): Promise<PeerFacts> {
  const known = directory.addresses.get(machine) ?? [];
  const prekey = directory.prekeys.get(machine);
  const namespaces = directory.common(machine);
  return {
    machine: labelOf(directory, machine),
    namespaces: namespaces.map(({ name }) => name),
    left: leftOf(directory, machine),
    up: link?.up ?? false,
    isHere: namespaces.some(({ id }) => directory.isHere(id, machine)),
    address: link?.address,
    relay: link?.relay && labelOf(directory, link.relay),
    punched: link?.punched,
    addresses: link?.addresses ?? known,
    tried: link?.tried ?? [],
    attempts: link?.attempts ?? 0,
    lastError: link?.lastError,
    refusedAtMs: link?.refusedAtMs,
    clockAheadMs: directory.clocks.get(machine),
    prekey: !prekey ? 'none' : isStale(prekey, clock.now()) ? 'stale' : 'fresh',
    queued: await mail.outboxCount(machine),
  };
}

/** Namespaces in which the two met and one is no longer. */
function leftOf(directory: Directory, machine: string): PeerFacts['left'] {
  const left: { namespace: string; who: 'here' | 'there'; text: string }[] = [];
  for (const log of directory.logs.values()) {
    const notice = directory.removalNotice(log);
    const removal = log.members.has(machine) ? undefined : log.removed.get(machine);
    if (removal) {
      const by = removal.by === machine ? 'it has left' : 'it was removed from';
      left.push({ namespace: log.name, who: 'there', text: `${by} ${log.name}` });
    } else if (notice !== undefined && log.members.has(machine)) {
      left.push({ namespace: log.name, who: 'here', text: notice.replace(/\.$/, '') });
    }
  }
  return left;
}

function viewOf({ directory }: PeerParts, machine: string, facts: PeerFacts, own: OwnFacts): PeerView {
  const agents = directory
    .common(machine)
    .flatMap((log) =>
      [...log.claims]
        .filter(([, claim]) => claim.machine === machine)
        .map(([name]) => formatAddress({ name, namespace: log.name })),
    );
  return {
    machine: facts.machine,
    peer_id: machine,
    member: facts.namespaces.length > 0,
    linked: facts.up,
    online: facts.isHere ?? facts.up,
    agents,
    attempts: facts.attempts,
    ...(facts.clockAheadMs !== undefined && { clock_ahead_ms: facts.clockAheadMs }),
    tried: facts.tried.map(({ address, error, atMs }) => ({
      address,
      error,
      at: new Date(atMs).toISOString(),
    })),
    findings: peerFindings(facts, own),
  };
}

function labelOf(directory: Directory, machine: string): string {
  const log = [...directory.logs.values()].find(
    ({ members, removed }) => members.has(machine) || removed.has(machine),
  );
  return log ? directory.labelOf(log.id, machine) : machine.slice(-8);
}
