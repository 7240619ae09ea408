import type { Messenger } from '../mcp/messenger.ts';
import { PatchcordError } from '../protocol/errors.ts';
import { newId } from '../protocol/ids.ts';
import { HOPS_DEFAULT, RETENTION_MS } from '../protocol/limits.ts';
import type { Signer } from '../protocol/signing.ts';
import type { Admin } from './api/admin.ts';
import type { Bundles } from './api/bundles.ts';
import type { Doctor } from './api/doctor.ts';
import type { Top } from './api/top.ts';
import { createBundles } from './bundle/machine-bundles.ts';
import type { Clock, Random } from './clock.ts';
import { createDiscovery, type LanParts } from './discovery/machine-discovery.ts';
import { createDoctor } from './doctor/machine-doctor.ts';
import { AddressBook } from './directory/address-book.ts';
import { Agents } from './directory/agents.ts';
import { Directory, type LogStep } from './directory/directory.ts';
import { DirectoryStore } from './directory/directory-store.ts';
import { Invites } from './directory/invites.ts';
import { Joining } from './directory/joining.ts';
import { Membership } from './directory/membership.ts';
import { MeshLinks } from './directory/mesh-links.ts';
import { NamespaceKeys } from './directory/namespace-keys.ts';
import { Standing } from './directory/standing.ts';
import { DirectorySync } from './directory/sync.ts';
import type { Log } from './log.ts';
import { MachineAdmin } from './machine-admin.ts';
import { handlersFor } from './machine-handlers.ts';
import { AgentActivity } from './messenger/activity.ts';
import { MachineMessenger } from './messenger/machine-messenger.ts';
import { Reminders } from './messenger/reminders.ts';
import { Watches } from './messenger/watches.ts';
import type { Network } from './network/network.ts';
import { HistorySweep } from './postoffice/history-sweep.ts';
import { Presence } from './presence/presence.ts';
import { PrekeyRing, type PrekeyFile } from './prekeys/prekey-ring.ts';
import { Epochs } from './postoffice/epochs.ts';
import { Postoffice } from './postoffice/postoffice.ts';
import { Setbacks } from './postoffice/setbacks.ts';
import type { TallyFile } from './store/batch-marks.ts';
import { StoreCare } from './store/care/store-care.ts';
import type { Journal } from './store/journal.ts';
import type { HeldStore } from './store/held-store.ts';
import type { Kv } from './store/kv.ts';
import { createKvHeldStore } from './store/kv-held-store.ts';
import { createKvMailStore } from './store/kv-mail-store.ts';
import type { NewNotice } from './store/mail-notices.ts';
import type { MailStore, Released } from './store/mail-store.ts';
import { createMailSweep } from './store/mail-sweep.ts';
import { Milestones } from './store/milestones.ts';
import type { OpenedStore } from './store/open-store.ts';
import { createTop } from './top/machine-top.ts';
import { createRecordSeal, type RecordSeal } from './store/record-seal.ts';
import { createKvWatchStore } from './store/watch-store.ts';

/** After a failure of the store, what follows from a change of the members is done later. */
const FOLLOW_AGAIN_MS = 5_000;

/** Everything outside that a machine runs on; the daemon brings real parts, simulations seeded ones. */
export interface MachineParts {
  signer: Signer;
  kv: Kv;
  /** 32 bytes that seal every stored record. */
  storeKey: Uint8Array;
  /** Where the number of the last batch is kept beside the store. */
  tallyFile?: TallyFile;
  /** What was found in the files of the store. */
  opened?: Pick<OpenedStore, 'found' | 'isSuspect'>;
  /** Where the private prekeys lie. */
  prekeyFile: PrekeyFile;
  network: Network;
  clock: Clock;
  random: Random;
  log: Log;
  /** Id of this start of the daemon, a UUIDv7. */
  boot: string;
  /** Shown to others as this machine's name. */
  label: string;
  /** Shown to others, e.g. "linux x64". */
  platform: string;
  /** Peers named by the user: multiaddrs that end in /p2p/PEER. */
  peers: readonly string[];
  /** Passes bytes on between members, as a keeper does anyway. */
  relay?: boolean;
  /** The networks to follow; none are where it is left out. */
  lan?: LanParts | undefined;
  /** Links kept in one namespace; LINKS_MAX unless told otherwise. */
  linksMax?: number | undefined;
  /** Members from which on a namespace keeps a table of where they are; where its mesh gets partial unless told otherwise. */
  tableMembersMin?: number | undefined;
  /** Longest chain of answers without a person; 40 unless told otherwise. */
  hopsMax?: number | undefined;
  /** How long mail waits here and history is kept; RETENTION_MS unless told otherwise. */
  retentionMs?: number;
}

/** One machine: its namespaces, agents, mail and links, without process, home or HTTP. */
export interface Machine {
  readonly messenger: Messenger;
  readonly admin: Admin;
  readonly bundles: Bundles;
  readonly doctor: Doctor;
  readonly top: Top;
  start(): Promise<void>;
  /** Waits answer `stopping`; what is being acknowledged is finished; then the network stops and the store closes. */
  stop(): Promise<void>;
}

export async function createMachine(parts: MachineParts): Promise<Machine> {
  const { signer, network, clock, random, log, retentionMs = RETENTION_MS } = parts;
  const care = careOf(parts);
  const { journal } = care;
  await care.open();
  const mail = createKvMailStore(journal, signer, noticesBy(clock, random));
  const held = createKvHeldStore(journal, { retentionMs });
  const historySweep = new HistorySweep({ mail: createMailSweep(journal), clock, log, retentionMs });
  const onPrekey = (machine: string): void => postoffice.keyed(machine);
  const registry = createRegistry(parts, journal, {
    onLogChanged({ after }) {
      directory.presenceChanged(after.id, signer.peerId);
      messenger.membersChanged(after);
      void follow(after.id);
    },
    onPrekey,
  });
  const { directory, links, prekeys, keys, sync, agents, presence } = registry;
  await care.guarded(() => directory.load());
  const delivery = createDelivery(parts, registry, { mail, held, care });
  const { epochs, postoffice, setbacks, telling, messenger } = delivery;
  const faces = createFaces(parts, registry, { ...delivery, mail, held, care });
  const discovery = createDiscovery({ ...parts, ...registry });
  const follow = followerOf({ directory, agents, postoffice, clock, log });
  heedEpochs(care, epochs, log);
  return {
    messenger,
    ...faces,
    async start() {
      await epochs.start();
      await prekeys.start(epochs.current);
      await setbacks.start();
      await postoffice.start();
      care.onMended = () => {
        messenger.wakeAll();
        postoffice.mended();
      };
      await telling.start();
      await network.start(
        handlersFor({ ...registry, ...delivery, network, log, clock, relay: parts.relay ?? false }),
      );
      registry.invites.start();
      sync.start();
      presence.start();
      await discovery.start();
      historySweep.start();
      for (const ns of directory.logs.keys()) {
        keys.check(ns);
        void follow(ns);
      }
    },
    async stop() {
      messenger.stop();
      presence.stop();
      await discovery.stop();
      sync.stop();
      links.stop();
      keys.stop();
      prekeys.stop();
      setbacks.stop();
      epochs.stop();
      postoffice.stop();
      telling.stop();
      await historySweep.stop();
      await network.stop();
      await care.close();
    },
  };
}

function noticesBy(clock: Clock, random: Random): NewNotice {
  return () => {
    const nowMs = clock.now();
    return { id: newId(nowMs, random.bytes), nowMs };
  };
}

/** What people and programs have of the machine, beside the tools. */
function createFaces(
  { signer, network, clock, lan }: MachineParts,
  registry: ReturnType<typeof createRegistry>,
  inside: ReturnType<typeof createDelivery> & { mail: MailStore; held: HeldStore; care: StoreCare },
): Pick<Machine, 'admin' | 'bundles' | 'doctor' | 'top'> {
  const { directory } = registry;
  const { postoffice, mail, held, care } = inside;
  const mdns = () => lan && (lan.multicast ? ('on' as const) : ('off' as const));
  return {
    admin: new MachineAdmin({ ...registry, ...inside, network, clock }),
    bundles: createBundles({
      ...registry,
      postoffice,
      mail,
      signer,
      clock,
      onPrekey: (machine) => postoffice.keyed(machine),
    }),
    doctor: createDoctor(care, { directory, network, mail, clock, mdns }),
    top: createTop({ directory, network, mail, held, clock }),
  };
}

/** What carries mail, and what agents meet of it. */
function createDelivery(
  parts: MachineParts,
  { directory, links, prekeys, agents, sync }: ReturnType<typeof createRegistry>,
  { mail, held, care }: { mail: MailStore; held: HeldStore; care: StoreCare },
) {
  const { signer, network, clock, random, log, boot } = parts;
  const { hopsMax = HOPS_DEFAULT, retentionMs = RETENTION_MS } = parts;
  const onReleased = (released: readonly Released[]) => {
    messenger.released(released);
    for (const { dueAtMs } of released) reminders.watch(dueAtMs);
  };
  const epochs = new Epochs({ mail, clock, log, boot, onReleased });
  const postoffice: Postoffice = new Postoffice({
    mail,
    held,
    network,
    directory,
    links,
    prekeys,
    signer,
    clock,
    random,
    log,
    boot,
    retentionMs,
    onReleased,
    handOff: {
      claim: (agent, number, urgency) => messenger.claim(agent, number, urgency),
      disclaim: (agent, number) => messenger.disclaim(agent, number),
    },
  });
  const milestones = new Milestones({ journal: care.journal, seal: sealOf(parts), boot });
  const onBegun = () => messenger.wakeAll();
  const setbacks = new Setbacks({ ...parts, milestones, epochs, mail, prekeys, postoffice, onBegun });
  const reminders: Reminders = new Reminders({ mail, clock, log, onReleased });
  const activity = new AgentActivity({
    directory,
    clock,
    announce: (ns) => sync.announceRoster(ns),
  });
  const watches = new Watches({
    store: createKvWatchStore(care.journal, noticesBy(clock, random)),
    directory,
    clock,
    random,
    log,
    onReleased,
  });
  directory.onPresenceChanged((ns) => watches.presenceChanged(ns));
  const sending = { mail, postoffice, directory, clock, random, reminders, hopsMax, care, activity };
  const messenger: MachineMessenger = new MachineMessenger(agents, sending);
  /** What is said when its time has come. */
  const telling = {
    async start() {
      await reminders.start();
      await watches.start();
    },
    stop() {
      reminders.stop();
      watches.stop();
      activity.stop();
    },
  };
  return { epochs, postoffice, setbacks, telling, messenger, watches };
}

function careOf(parts: MachineParts): StoreCare {
  return new StoreCare({ ...parts, seal: sealOf(parts), tallyFile: parts.tallyFile });
}

function sealOf({ storeKey, random }: MachineParts): RecordSeal {
  return createRecordSeal(storeKey, random.bytes);
}

/** An epoch that the care of the store begins while the machine runs. */
function heedEpochs(care: StoreCare, epochs: Epochs, log: Log): void {
  care.onEpoch = (epoch) => {
    log.warn({ epoch }, 'a new epoch of this machine begins: peers are to send again what was not read');
    epochs.began(epoch);
  };
}

/** Everything about who is where: the directory, and what changes it. */
function createRegistry(
  parts: MachineParts,
  journal: Journal,
  events: { onLogChanged: (step: LogStep) => void; onPrekey: (machine: string) => void },
) {
  const { signer, network, clock, random, log } = parts;
  const directory = new Directory({
    self: { peerId: signer.peerId, label: parts.label, platform: parts.platform },
    store: new DirectoryStore(journal),
    log,
    onLogChanged(step) {
      sync.logChanged(step);
      keys.check(step.after.id);
      presence.changed(step.after.id);
      events.onLogChanged(step);
    },
  });
  const links = new MeshLinks({ directory, clock, random, linksMax: parts.linksMax });
  const prekeys = new PrekeyRing({
    file: parts.prekeyFile,
    signer,
    clock,
    random,
    log,
    onRotated() {
      sync.announcePrekey();
      for (const ns of directory.logs.keys()) presence.changed(ns);
    },
  });
  const keys = new NamespaceKeys({ directory, signer, clock, random, log });
  const book = new AddressBook({ directory, network, signer, clock });
  const sync: DirectorySync = new DirectorySync({
    directory,
    book,
    links,
    keys,
    network,
    clock,
    random,
    log,
    statics: staticPeers(parts.peers),
    prekeys,
    onPrekey: events.onPrekey,
    onOwnChanged: (ns) => presence.changed(ns),
  });
  const common = { directory, keys, network, signer, clock, random, log };
  const presence = new Presence({ ...common, prekeys, boot: parts.boot });
  const agents = new Agents({ directory, sync, signer, clock, random, log });
  const standing = new Standing({ directory, network, clock, log });
  const invites = new Invites({ ...common, standing });
  const joining = new Joining({ ...common, sync, standing });
  const membership = new Membership({ directory, keys, signer, clock });
  return {
    directory,
    links,
    prekeys,
    keys,
    book,
    sync,
    agents,
    standing,
    invites,
    joining,
    membership,
    presence,
  };
}

/**
 * What the rest of the machine does about a change of a namespace log, also about one that a crash cut short; the
 * next change waits for none of it.
 */
function followerOf(parts: {
  directory: Directory;
  agents: Agents;
  postoffice: Postoffice;
  clock: Clock;
  log: Log;
}): (ns: string) => Promise<void> {
  const { directory, agents, postoffice, clock, log } = parts;
  const follow = async (ns: string): Promise<void> => {
    try {
      await directory.forgetLeft(ns);
      postoffice.outboxEnds.giveUp();
      await postoffice.mailbox.membersLeft(ns);
      await agents.claimNames(ns);
    } catch (error) {
      log.error({ error, ns }, 'a change of the members could not be followed; trying again');
      clock.after(FOLLOW_AGAIN_MS, () => void follow(ns));
    }
  };
  return follow;
}

/** The addresses that the user named, by machine. Throws `invalid_input`. */
function staticPeers(addresses: readonly string[]): Map<string, string[]> {
  const peers = new Map<string, string[]>();
  for (const address of addresses) {
    const peer = /\/p2p\/(12D3KooW[1-9A-HJ-NP-Za-km-z]{44})$/.exec(address)?.[1];
    if (!peer) {
      throw new PatchcordError(
        'invalid_input',
        `A peer address must end in /p2p/ and a peer id: ${address.slice(0, 200)}.`,
        'Copy it from `patchcord status` on the other machine.',
      );
    }
    peers.set(peer, [...(peers.get(peer) ?? []), address]);
  }
  return peers;
}
