import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';

/** Where `ip netns` keeps the names of namespaces. */
const NAMES = '/run/netns';
/** What the names of namespaces and folders of this layer look like: the process that made them, then what they are. */
const NAME_PATTERN = /^pcnet-(\d+)-/;

let made = 0;
const living = new Set<Namespace>();
const folders = new Set<string>();

/** Why networks of our own cannot be made here; undefined when they can. */
function noNetworks(): string | undefined {
  if (process.platform !== 'linux') return 'only Linux has network namespaces';
  if (process.getuid?.() !== 0) return 'network namespaces need root';
  const missing = ['ip', 'nft', 'nsenter'].filter((command) => !isInstalled(command));
  return missing.length === 0 ? undefined : `not installed: ${missing.join(', ')}`;
}

/**
 * Tells aloud that the layer is skipped where it cannot run, and makes sure that the gate does not skip it: with CI set
 * in the environment that is an error.
 */
export function skipAloud(layer: string): boolean {
  const why = noNetworks();
  if (why === undefined) return false;
  if (process.env['CI']) throw new Error(`${layer} must run in CI: ${why}`);
  console.log(`skipped: ${layer}: ${why}`);
  return true;
}

/**
 * A network of its own: interfaces, routes, firewall, sockets. No interface leads out of it but those to other
 * namespaces of this layer, so nothing that runs in it reaches the machine's network.
 */
export class Namespace {
  readonly name: string;

  constructor(label: string) {
    if (made === 0) prepare();
    made += 1;
    this.name = `pcnet-${process.pid}-${made}-${label}`;
    ip('netns', 'add', this.name);
    living.add(this);
    // Addresses of IPv6 take seconds to come up, and partitions here are by address of IPv4.
    this.run('sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=1', 'net.ipv6.conf.default.disable_ipv6=1');
    this.ip('link', 'set', 'lo', 'up');
  }

  /** What goes before a command so that it runs inside; the process keeps its id. */
  get prefix(): string[] {
    return ['nsenter', `--net=${NAMES}/${this.name}`];
  }

  ip(...args: string[]): void {
    ip('-n', this.name, ...args);
  }

  /** Replaces the table of that name by what is in `text`, in the words of nft. */
  firewall(family: 'ip' | 'inet' | 'bridge', table: string, text: string): void {
    const script = `table ${family} ${table} {}\ndelete table ${family} ${table}\ntable ${family} ${table} {\n${text}\n}\n`;
    this.run('nft', '-f', '-', { input: script });
  }

  run(command: string, ...args: (string | { input: string })[]): void {
    const words = args.filter((arg) => typeof arg === 'string');
    const input = args.find((arg) => typeof arg === 'object')?.input ?? '';
    const [enter, ...rest] = [...this.prefix, command, ...words];
    execFileSync(enter!, rest, { stdio: ['pipe', 'ignore', 'pipe'], input });
  }

  /** Ends what still runs inside, and removes it. */
  remove(): void {
    living.delete(this);
    removeByName(this.name);
  }
}

/** A folder for homes, with which goes what lies in it. */
export function homesFolder(): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), `pcnet-${process.pid}-`));
  folders.add(path);
  const remove = () => {
    folders.delete(path);
    rmSync(path, { recursive: true, force: true });
  };
  return { path, remove };
}

/** Interfaces of two namespaces, joined by a cable. */
export function cable(a: Namespace, nameAtA: string, b: Namespace, nameAtB: string): void {
  ip('link', 'add', nameAtA, 'netns', a.name, 'type', 'veth', 'peer', 'name', nameAtB, 'netns', b.name);
}

function ip(...args: string[]): void {
  run('ip', args);
}

function run(command: string, args: readonly string[]): string {
  return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

function isInstalled(command: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some((folder) => existsSync(`${folder}/${command}`));
}

/** Removes what runs that are over have left, and sees to it that this one leaves nothing, however it ends. */
function prepare(): void {
  const isLeft = (name: string) => {
    const owner = NAME_PATTERN.exec(name)?.[1];
    return owner !== undefined && !existsSync(`/proc/${owner}`);
  };
  const names = existsSync(NAMES) ? readdirSync(NAMES) : [];
  for (const name of names.filter(isLeft)) removeByName(name);
  for (const name of readdirSync(tmpdir()).filter(isLeft)) {
    rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
  process.once('exit', removeAll);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      removeAll();
      process.kill(process.pid, signal);
    });
  }
}

function removeAll(): void {
  for (const namespace of living) namespace.remove();
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
}

function removeByName(name: string): void {
  try {
    const pids = run('ip', ['netns', 'pids', name]);
    for (const pid of pids.split('\n').filter(Boolean)) kill(Number(pid));
    ip('netns', 'delete', name);
  } catch (error) {
    console.log(`network namespace ${name} is left behind: ${String(error)}`);
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}
