import { DaemonProcess, type Place } from '../processes/daemon-process.ts';
import { McpAgent } from '../processes/mcp-agent.ts';
import { cable, homesFolder, Namespace } from './namespace.ts';

/** The port at which every daemon listens: each is alone on its host. */
export const PORT = 4001;
const GATEWAY = 1;
const FIRST_HOST = 10;
const STARTS_AT_ONCE = 3;

/** Networks of a test, with their hosts, of which nothing is left when it ends, however it ends. */
export class Net {
  readonly #namespaces: Namespace[] = [];
  readonly #agents: McpAgent[] = [];
  readonly #machines: DaemonProcess[] = [];
  readonly #homes = homesFolder();

  /** A network with addresses `10.1.0.x` if `prefix` is `10.1.0`. With a gateway, its hosts send there what is not for it. */
  lan(label: string, prefix: string, options: { gateway?: boolean } = {}): Lan {
    return new Lan(label, this.#namespace(label), prefix, options.gateway ?? false);
  }

  /** A host in a network, with the next free address there, or the one that ends in `last`. */
  host(label: string, lan: Lan, last?: number): Host {
    return new Host(label, this.#namespace(label), this, lan, last);
  }

  /** Joins networks; it is the gateway of each. */
  router(label: string, ...lans: Lan[]): Namespace {
    const namespace = this.#forwarding(label);
    for (const lan of lans) lan.attach(namespace, `to-${lan.label}`, GATEWAY);
    return namespace;
  }

  /**
   * A router that lets the hosts of `inside` speak to those of `outside` in its own name, and nobody of `outside` speak
   * first: that it drops, or resets. A hard one gives every connection another port, so that no hole can be punched.
   */
  nat(
    label: string,
    inside: Lan,
    outside: Lan,
    { hard = false, resets = false }: { hard?: boolean; resets?: boolean } = {},
  ): void {
    const namespace = this.#forwarding(label);
    inside.attach(namespace, 'in', GATEWAY);
    outside.attach(namespace, 'out');
    namespace.firewall(
      'ip',
      'nat',
      `chain after { type nat hook postrouting priority srcnat
         oifname "out" masquerade ${hard ? 'fully-random' : ''}
       }
       chain through { type filter hook forward priority filter
         ct state established,related accept
         iifname "out" drop
       }
       chain to { type filter hook input priority filter
         ct state established,related accept
         iifname "out" ${resets ? 'reject with tcp reset' : 'drop'}
       }`,
    );
  }

  /** A machine whose daemon ends, and whose home is removed, with the networks. */
  machine(label: string, place: Omit<Place, 'folder'>): DaemonProcess {
    const machine = new DaemonProcess(label, { ...place, folder: this.#homes.path });
    this.#machines.push(machine);
    return machine;
  }

  async agent(machine: DaemonProcess, address: string): Promise<McpAgent> {
    const agent = await McpAgent.open(machine, address);
    this.#agents.push(agent);
    return agent;
  }

  /** What every daemon logged last. */
  logs(): string {
    return this.#machines.map(({ label, log }) => `--- ${label}\n${log}`).join('\n');
  }

  async end(): Promise<void> {
    for (const { process } of this.#machines) process?.kill('SIGCONT');
    await Promise.allSettled(this.#agents.splice(0).map((agent) => agent.close()));
    await Promise.allSettled(this.#machines.splice(0).map((machine) => machine.remove()));
    for (const namespace of this.#namespaces.splice(0)) namespace.remove();
    this.#homes.remove();
  }

  #namespace(label: string): Namespace {
    const namespace = new Namespace(label);
    this.#namespaces.push(namespace);
    return namespace;
  }

  #forwarding(label: string): Namespace {
    const namespace = this.#namespace(label);
    namespace.run('sysctl', '-qw', 'net.ipv4.ip_forward=1');
    return namespace;
  }
}

/** What the switch does to what goes to a port and comes from it. */
interface Faults {
  /** Addresses from which nothing arrives. */
  deafTo: readonly string[];
  /** Of a hundred packets that are on their way to it. */
  lossPercent: number;
}

/** A switch, with what is plugged into it. */
export class Lan {
  readonly label: string;
  readonly prefix: string;
  readonly gateway: boolean;
  readonly #switch: Namespace;
  readonly #faults = new Map<string, Faults>();
  #ports = 0;
  #next = FIRST_HOST;

  constructor(label: string, namespace: Namespace, prefix: string, gateway: boolean) {
    this.label = label;
    this.prefix = prefix;
    this.gateway = gateway;
    this.#switch = namespace;
    namespace.ip('link', 'add', 'bridge', 'type', 'bridge');
    namespace.ip('link', 'set', 'bridge', 'up');
  }

  /** Plugs a namespace in and gives it an address. */
  attach(
    namespace: Namespace,
    interfaceName: string,
    last = this.#next++,
  ): { port: string; address: string } {
    const port = `port${this.#ports++}`;
    cable(namespace, interfaceName, this.#switch, port);
    this.#switch.ip('link', 'set', port, 'master', 'bridge', 'up');
    const address = `${this.prefix}.${last}`;
    namespace.ip('address', 'add', `${address}/24`, 'dev', interfaceName);
    namespace.ip('link', 'set', interfaceName, 'up');
    return { port, address };
  }

  /** Whether the cable at a port carries anything. */
  carry(port: string, carries: boolean): void {
    this.#switch.ip('link', 'set', port, carries ? 'up' : 'down');
  }

  /** Replaces what is wrong with a port. It is the switch that drops: no host is told. */
  fault(port: string, faults: Faults): void {
    this.#faults.set(port, faults);
    const rules = [...this.#faults].flatMap(([port, { deafTo, lossPercent }]) => [
      ...deafTo.map((address) => `oifname "${port}" ip saddr ${address} drop`),
      ...(lossPercent > 0 ? [`oifname "${port}" numgen random mod 100 < ${lossPercent} drop`] : []),
    ]);
    this.#switch.firewall(
      'bridge',
      'faults',
      `chain pass { type filter hook forward priority 0\n${rules.join('\n')}\n}`,
    );
  }
}

/** A computer with one cable, or two. */
export class Host {
  readonly label: string;
  readonly namespace: Namespace;
  readonly #net: Net;
  #lan: Lan;
  #port: string;
  #address: string;
  #faults: Faults = { deafTo: [], lossPercent: 0 };

  constructor(label: string, namespace: Namespace, net: Net, lan: Lan, last?: number) {
    this.label = label;
    this.namespace = namespace;
    this.#net = net;
    this.#lan = lan;
    ({ port: this.#port, address: this.#address } = lan.attach(namespace, 'eth0', last));
    // As systems that manage networks do: a cable that was pulled leads nowhere.
    namespace.run('sysctl', '-qw', 'net.ipv4.conf.all.ignore_routes_with_linkdown=1');
    this.#route();
  }

  get address(): string {
    return this.#address;
  }

  /** Where its daemon listens, as others reach it. */
  get multiaddr(): string {
    return `/ip4/${this.#address}/tcp/${PORT}`;
  }

  /** Gives it another address, as a network does whose router forgot whom it had. */
  renumber(last: number): void {
    this.#address = `${this.#lan.prefix}.${last}`;
    this.namespace.ip('address', 'flush', 'dev', 'eth0');
    this.namespace.ip('address', 'add', `${this.#address}/24`, 'dev', 'eth0');
    this.#route();
  }

  /** Gives it a second cable, which carries what leads out of its networks while the first one does not. */
  alsoInto(lan: Lan): void {
    lan.attach(this.namespace, 'eth1');
    this.namespace.ip('route', 'add', 'default', 'via', `${lan.prefix}.${GATEWAY}`, 'metric', '200');
  }

  /** Carries it to another network, where it gets another address. */
  moveTo(lan: Lan, last?: number): void {
    this.namespace.ip('link', 'delete', 'eth0');
    this.#lan = lan;
    ({ port: this.#port, address: this.#address } = lan.attach(this.namespace, 'eth0', last));
    this.#route();
  }

  /** Pulls its first cable, or plugs it back in. */
  plugged(isPlugged: boolean): void {
    this.#lan.carry(this.#port, isPlugged);
  }

  /** From now on nothing of these arrives here; of none, everything again. */
  deafTo(...others: Host[]): void {
    this.#faults = { ...this.#faults, deafTo: others.map(({ address }) => address) };
    this.#lan.fault(this.#port, this.#faults);
  }

  /** From now on so many of a hundred packets to this host are lost. */
  loses(percent: number): void {
    this.#faults = { ...this.#faults, lossPercent: percent };
    this.#lan.fault(this.#port, this.#faults);
  }

  /** Ends all that is wrong with its cable. */
  well(): void {
    this.#faults = { deafTo: [], lossPercent: 0 };
    this.#lan.fault(this.#port, this.#faults);
    this.plugged(true);
  }

  /** A machine of this host whose daemon was never started. Multicast is for those that ask for it. */
  machine(options: MachineOptions = {}): DaemonProcess {
    return this.#net.machine(this.label, {
      prefix: this.namespace.prefix,
      listen: `/ip4/0.0.0.0/tcp/${PORT}`,
      mdns: options.mdns ?? false,
      flags: options.flags ?? [],
    });
  }

  /** A machine of this host whose daemon runs. */
  async daemon(options: MachineOptions = {}): Promise<DaemonProcess> {
    const machine = this.machine(options);
    await machine.start();
    return machine;
  }

  #route(): void {
    const { gateway, prefix } = this.#lan;
    if (gateway) this.namespace.ip('route', 'replace', 'default', 'via', `${prefix}.${GATEWAY}`);
  }
}

/** Starts a daemon on each host, a few at a time: so that each is ready in time on two processors. */
export async function daemons(
  hosts: readonly Host[],
  options: MachineOptions = {},
): Promise<DaemonProcess[]> {
  const started: DaemonProcess[] = [];
  for (let first = 0; first < hosts.length; first += STARTS_AT_ONCE) {
    const group = hosts.slice(first, first + STARTS_AT_ONCE);
    started.push(...(await Promise.all(group.map((host) => host.daemon(options)))));
  }
  return started;
}

export interface MachineOptions {
  mdns?: boolean;
  /** More flags of `patchcord daemon`. */
  flags?: string[];
}

/** Cuts two hosts off from each other, both ways. */
export function part(a: Host, b: Host): void {
  a.deafTo(b);
  b.deafTo(a);
}
