import type { Frame } from '../protocol/frame.ts';
import type { Clock } from './clock.ts';
import type { Directory } from './directory/directory.ts';
import type { Invites } from './directory/invites.ts';
import type { MeshLinks } from './directory/mesh-links.ts';
import type { Standing } from './directory/standing.ts';
import { isSyncFrame, type DirectorySync } from './directory/sync.ts';
import type { Log } from './log.ts';
import type { Network, NetworkHandlers } from './network/network.ts';
import type { Epochs } from './postoffice/epochs.ts';
import type { Postoffice } from './postoffice/postoffice.ts';
import type { Setbacks } from './postoffice/setbacks.ts';
import type { Presence } from './presence/presence.ts';

/** Frames that are mail, or answer to mail. */
const MAIL: ReadonlySet<Frame['t']> = new Set(['parcel', 'ack', 'refuse', 'offer', 'take']);

/** The parts that the network is led to. */
interface Handling {
  directory: Directory;
  links: MeshLinks;
  sync: DirectorySync;
  invites: Invites;
  standing: Standing;
  postoffice: Postoffice;
  presence: Presence;
  epochs: Epochs;
  setbacks: Setbacks;
  network: Pick<Network, 'drop'>;
  log: Log;
  relay: boolean;
  clock: Clock;
}

/** Leads what the network brings to the part it is for. */
export function handlersFor(parts: Handling): NetworkHandlers {
  const { directory, links, sync, invites, standing, presence, epochs } = parts;
  const { postoffice, setbacks, network, clock, log } = parts;
  /** Directory frames still being stored, by machine: what came after them on the link waits for them. */
  const storing = new Map<string, Promise<void>>();
  const failed = (error: unknown) => log.error({ error }, 'a frame could not be handled');

  const afterDirectory = (machine: string, handle: () => Promise<void> | void): void => {
    const before = storing.get(machine);
    if (before) void before.then(handle).catch(failed);
    else void Promise.try(handle).catch(failed);
  };
  const inDirectory = (machine: string, handle: () => Promise<void>): void => {
    const run: Promise<void> = (storing.get(machine) ?? Promise.resolve()).then(handle).catch(failed);
    storing.set(machine, run);
    void run.then(() => {
      if (storing.get(machine) === run) storing.delete(machine);
    });
  };
  return {
    epoch: () => epochs.current,
    kept: (machine) => setbacks.kept(machine),
    admits: (machine) => directory.common(machine).length > 0,
    admitsJoin: (machine) => invites.hasInvites() || standing.concerns(machine),
    relays: () => parts.relay || directory.isKeeper(),
    mayRelay: (from, to) => directory.common(from).some(({ members }) => members.has(to)),
    addressesChanged: () => void sync.announceWhereabouts(),
    linkUp(machine, { window, epoch, kept, atMs }) {
      const mayLink = setbacks.mayLink(machine, kept);
      if (atMs !== undefined) directory.clocks.set(machine, atMs - clock.now());
      inDirectory(machine, async () => {
        if (!mayLink) return network.drop(machine, 'this home was set back');
        if (!links.linkUp(machine)) return network.drop(machine, 'too many links');
        setbacks.linkUp(machine);
        // Who lives here goes first: the other side takes no mail from agents it does not know.
        sync.linkUp(machine);
        presence.linkUp(machine);
        postoffice.linkUp(machine, window, epoch);
      });
    },
    linkDown(machine, reason) {
      inDirectory(machine, async () => {
        setbacks.linkDown(machine);
        links.linkDown(machine);
        sync.linkDown(machine);
        presence.linkDown(machine, reason);
        postoffice.linkDown(machine);
      });
    },
    frame(machine: string, frame: Frame) {
      if (MAIL.has(frame.t)) links.used(machine);
      if (isSyncFrame(frame)) inDirectory(machine, () => sync.frame(machine, frame));
      else if (frame.t === 'parcel') afterDirectory(machine, () => postoffice.parcel(machine, frame));
      else if (frame.t === 'offer') afterDirectory(machine, () => postoffice.offered(machine, frame));
      else if (frame.t === 'take') afterDirectory(machine, () => postoffice.mailbox.take(machine, frame));
      else if (frame.t === 'withdraw') afterDirectory(machine, () => postoffice.mailbox.withdraw(frame));
      else if (frame.t === 'ack' || frame.t === 'refuse')
        afterDirectory(machine, () => postoffice.answered(machine, frame));
      else if (frame.t === 'presence') presence.frame(machine, frame);
      else if (frame.t === 'milestone') setbacks.keep(machine, frame);
    },
    gossip: (topic, data, from) => presence.gossip(topic, data, from),
    refused: (machine) => void standing.ask(machine),
    join: (machine, request) => invites.answer(machine, request),
  };
}
