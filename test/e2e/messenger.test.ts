import { afterAll, beforeAll } from 'vitest';
import type { DaemonProcess } from '../processes/daemon-process.ts';
import { Stage } from '../processes/stage.ts';
import { messengerSuite } from './messenger-suite.ts';

/**
 * The contract of mcp/messenger.ts, kept by daemon/client over the socket of a daemon that is a process. One daemon
 * serves all tests: the agents are removed after each, and those of the same name that come after them must find
 * nothing of theirs.
 */
const stage = new Stage();
let machine: DaemonProcess;

beforeAll(async () => {
  machine = await stage.machine('suite');
  await machine.client().admin.createNamespace('myproject');
});
afterAll(() => stage.end());

messengerSuite('over the socket', async () => {
  const { messenger, admin } = machine.client();
  for (const name of ['frontend', 'backend', 'ops']) await admin.addAgent(`${name}@myproject`);
  return {
    messenger,
    admin,
    async teardown() {
      for (const { agent } of await admin.agents()) await admin.removeAgent(agent);
    },
  };
});
