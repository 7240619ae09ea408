import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Namespace } from './namespace.ts';
import { PORT, type Host, type Lan } from './net.ts';

const PROXY = fileURLToPath(new URL('./slow-proxy.ts', import.meta.url));
const PROXY_PORT = 7_000;

/**
 * A router between two networks through which connections to the port of a daemon pass one proxy each way, so that
 * neither side knows of it but by what it does.
 */
export class SlowLine {
  readonly #proxies: ChildProcess[];

  private constructor(proxies: ChildProcess[]) {
    this.#proxies = proxies;
  }

  /** `router` is the gateway of both; every connection from a network goes to the host at the other end. */
  static async between(router: Namespace, ends: readonly (readonly [Lan, Host])[]): Promise<SlowLine> {
    const rules = ends.map(
      ([lan], index) => `iifname "to-${lan.label}" tcp dport ${PORT} redirect to :${PROXY_PORT + index}`,
    );
    router.firewall(
      'ip',
      'line',
      `chain in { type nat hook prerouting priority dstnat\n${rules.join('\n')}\n}`,
    );
    const proxies = ends.map((_end, index) => {
      const [, other] = ends[1 - index]!;
      const words = [PROXY, String(PROXY_PORT + index), other.address, String(PORT)];
      const [command = '', ...args] = [...router.prefix, process.execPath, ...words];
      return spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    });
    await Promise.all(proxies.map(async ({ stdout }) => once(createInterface(stdout), 'line')));
    return new SlowLine(proxies);
  }

  delay(minMs: number, maxMs: number): void {
    this.#say(`delay ${minMs} ${maxMs}`);
  }

  /** Resets every connection. */
  reset(): void {
    this.#say('reset');
  }

  #say(line: string): void {
    for (const { stdin } of this.#proxies) stdin!.write(`${line}\n`);
  }
}
