import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, watch } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createClient, type Client } from '../../daemon/client/client.ts';

/** The command as a package installs it. */
export const BIN = fileURLToPath(new URL('../../dist/cli/bin.js', import.meta.url));

/** A dozen daemons that start at once on a busy machine take their time. */
const READY_MS_MAX = 60_000;

/** What daemon.json says. */
export interface DaemonInfo {
  pid: number;
  http: string;
  socket: string;
  peerId: string;
  listen: string[];
}

/** The answer of one run of the command. */
export interface CliAnswer {
  code: number;
  stdout: string;
  stderr: string;
}

/** Where a machine's processes run, and what every start of its daemon is told. */
export interface Place {
  /** In which the home is made. */
  folder: string;
  /** What goes before each command; the process that it becomes keeps its id. */
  prefix: readonly string[];
  /** The multiaddr at which the daemon listens. */
  listen: string;
  mdns: boolean;
  /** More flags of `patchcord daemon`. */
  flags: readonly string[];
}

/** Any free port of this computer, and nobody else is to find it. */
const HERE: Place = { folder: tmpdir(), prefix: [], listen: '/ip4/127.0.0.1/tcp/0', mdns: false, flags: [] };

/** Runs the command against a home. */
export function runCommand(home: string, ...args: string[]): Promise<CliAnswer> {
  return runCommandIn(HERE, home, ...args);
}

function runCommandIn({ prefix }: Place, home: string, ...args: string[]): Promise<CliAnswer> {
  const [program, ...words] = [...prefix, process.execPath, BIN, ...args, '--home', home];
  return new Promise((resolve) => {
    execFile(program, words, { maxBuffer: 1 << 26, timeout: 60_000 }, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code ?? 1) : 0, stdout, stderr }),
    );
  });
}

/** One machine: a home folder, and the real daemon over it as a process of its own. */
export class DaemonProcess {
  readonly label: string;
  readonly home: string;
  info: DaemonInfo | undefined;
  process: ChildProcess | undefined;
  /** The end of what the daemon logged. */
  log = '';
  /** What the daemon's environment has besides this process's own. */
  env: Record<string, string> = {};
  /** Whether it looks for others by multicast. */
  mdns: boolean;
  readonly #place: Place;
  #port: string | undefined;

  /** `where`: the folder in which the home is made, or where its processes run. */
  constructor(label: string, where: string | Place = HERE) {
    this.#place = typeof where === 'string' ? { ...HERE, folder: where } : where;
    this.mdns = this.#place.mdns;
    this.label = label;
    this.home = mkdtempSync(join(this.#place.folder, `patchcord-${label}-`));
  }

  /** Starts the daemon and resolves when it is ready; on the port that it had before, if any. */
  async start(...options: string[]): Promise<DaemonInfo> {
    const { prefix, listen, flags } = this.#place;
    const args = [
      'daemon',
      '--http-port',
      '0',
      '--listen',
      listen.replace(/\/tcp\/0$/, `/tcp/${this.#port ?? 0}`),
      ...(this.mdns ? [] : ['--no-mdns']),
      '--name',
      this.label,
      ...flags,
      ...options,
    ];
    const [program, ...words] = [...prefix, process.execPath, BIN, ...args, '--home', this.home];
    const child = spawn(program, words, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...this.env },
    });
    this.process = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data: Buffer) => (this.log = (this.log + data.toString()).slice(-50_000)));
    }
    this.info = await this.#ready(child);
    this.#port = /\/tcp\/(\d+)/.exec(this.info.listen[0] ?? '')?.[1];
    return this.info;
  }

  /** The next start takes another port. */
  move(): void {
    this.#port = undefined;
  }

  /** Ends the process by a signal and resolves when it is gone. */
  async kill(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
  }

  /** What goes before a command so that it runs where this machine's processes do. */
  get prefix(): readonly string[] {
    return this.#place.prefix;
  }

  /** A client of the daemon that runs, in this process: its socket is a file, which every network shares. */
  client(): Client {
    return createClient({ socketPath: this.info!.socket });
  }

  /** Runs the command against this home. */
  run(...args: string[]): Promise<CliAnswer> {
    return runCommandIn(this.#place, this.home, ...args);
  }

  /** Runs the command with --json and gives its document; throws what it said when it failed. */
  async json<T>(...args: string[]): Promise<T> {
    const answer = await this.run(...args, '--json');
    if (answer.code !== 0)
      throw new Error(`patchcord ${args.join(' ')}: exit ${answer.code}: ${answer.stderr}`);
    const document: T = JSON.parse(answer.stdout);
    return document;
  }

  /** Kills the daemon, stops one that a command has started in the background instead, and removes the home. */
  async remove(): Promise<void> {
    await this.kill('SIGKILL');
    const left = readInfo(join(this.home, 'daemon.json'));
    if (left && left.pid !== this.process?.pid) await this.run('down');
    rmSync(this.home, { recursive: true, force: true });
  }

  /** Waits for the daemon.json of that very process. */
  #ready(child: ChildProcess): Promise<DaemonInfo> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const info = readInfo(join(this.home, 'daemon.json'));
        if (info?.pid === child.pid) end(() => resolve(info!));
      };
      const watcher = watch(this.home, look);
      const died = () => end(() => reject(new Error(`${this.label} ended: ${this.log.slice(-800)}`)));
      const timer = setTimeout(
        () => end(() => reject(new Error(`${this.label} not ready: ${this.log}`))),
        READY_MS_MAX,
      );
      const end = (finish: () => void) => {
        watcher.close();
        clearTimeout(timer);
        child.off('exit', died);
        finish();
      };
      child.once('exit', died);
      look();
    });
  }
}

function readInfo(path: string): DaemonInfo | undefined {
  try {
    const info: DaemonInfo = JSON.parse(readFileSync(path, 'utf8'));
    return info;
  } catch {
    return undefined;
  }
}

/** One namespace over several running daemons: the first creates it, the others join by ticket. */
export async function mesh(namespace: string, ...machines: readonly DaemonProcess[]): Promise<void> {
  const [first, ...others] = machines;
  const { admin } = first!.client();
  await admin.createNamespace(namespace);
  for (const machine of others) {
    const { ticket } = await admin.invite(namespace);
    await machine.client().admin.join(ticket);
  }
}
