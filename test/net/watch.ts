import type { StatusView } from '../../protocol/admin-views.ts';
import type { DaemonProcess } from '../processes/daemon-process.ts';
import { eventually } from '../processes/eventually.ts';

type LinkView = StatusView['links'][number];

/** What happens within this time of its cause, or the test fails; promised times are told apart. */
const DEADLINE_MS = 15_000;

/** What is promised in so many milliseconds may take twice as long where a gate shares two processors; it is printed. */
export const SLACK = 2;

/** What is on its way when a test of the ledger begins may take its time: what then is missing is to be told. */
export const LEDGER_MS_MAX = 120_000;

/** How one machine sees its link with another. */
export async function linkOf(machine: DaemonProcess, other: DaemonProcess): Promise<LinkView | undefined> {
  const { links } = await machine.client().status();
  return links.find(({ peer_id: peer }) => peer === other.info!.peerId);
}

/** Waits until both machines say that they are linked; how the first one is. */
export async function linked(a: DaemonProcess, b: DaemonProcess, withinMs = DEADLINE_MS): Promise<LinkView> {
  const [link] = await eventually(
    `${a.label} and ${b.label} are linked`,
    async () => [await linkOf(a, b), await linkOf(b, a)] as const,
    (links) => links.every((link) => link?.up === true),
    withinMs,
  );
  return link!;
}

/** Waits until every two of the machines say that they are linked. */
export async function allLinked(machines: readonly DaemonProcess[], withinMs = DEADLINE_MS): Promise<void> {
  await eventually(
    `${machines.length} machines are all linked`,
    async () => {
      const statuses = await Promise.all(machines.map((machine) => machine.client().status()));
      return statuses.map(({ machine, links }) => `${machine} ${links.filter(({ up }) => up).length}`);
    },
    (counts) => counts.every((count) => count.endsWith(` ${machines.length - 1}`)),
    withinMs,
  );
}

/** Waits until both machines have noticed that they are not linked. */
export async function unlinked(a: DaemonProcess, b: DaemonProcess, withinMs = DEADLINE_MS): Promise<void> {
  await eventually(
    `${a.label} and ${b.label} have noticed that nothing comes`,
    async () => [await linkOf(a, b), await linkOf(b, a)],
    (links) => links.every((link) => link?.up !== true),
    withinMs,
  );
}

/** How long something takes, told in the output of the run, in milliseconds. */
export async function timed(what: string, event: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await event();
  const tookMs = Math.round(performance.now() - startMs);
  console.log(`net: ${what}: ${tookMs} ms`);
  return tookMs;
}
