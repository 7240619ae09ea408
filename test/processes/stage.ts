import { DaemonProcess } from './daemon-process.ts';
import { McpAgent } from './mcp-agent.ts';

/** The machines and agents of a test, of which nothing is left when it ends, however it ends. */
export class Stage {
  readonly #machines: DaemonProcess[] = [];
  readonly #agents: McpAgent[] = [];

  /** A machine whose daemon runs. */
  async machine(label: string, parent?: string): Promise<DaemonProcess> {
    const machine = this.home(label, parent);
    await machine.start();
    return machine;
  }

  /** A machine whose daemon was never started. */
  home(label: string, parent?: string): DaemonProcess {
    const machine = new DaemonProcess(label, parent);
    this.#machines.push(machine);
    return machine;
  }

  async agent(machine: DaemonProcess, address: string, clientName?: string): Promise<McpAgent> {
    const agent = await McpAgent.open(machine, address, clientName);
    this.#agents.push(agent);
    return agent;
  }

  async end(): Promise<void> {
    await Promise.allSettled(this.#agents.splice(0).map((agent) => agent.close()));
    await Promise.all(this.#machines.splice(0).map((machine) => machine.remove()));
  }
}
