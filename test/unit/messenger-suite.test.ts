import { systemClock } from '../../daemon/clock.ts';
import { messengerSuite } from '../e2e/messenger-suite.ts';
import { startMachine, Wire } from './wire.ts';

messengerSuite('in process', async () => {
  const machine = await startMachine(new Wire(), { seed: 1, label: 'desk', clock: systemClock });
  await machine.admin.createNamespace('myproject');
  for (const agent of ['frontend', 'backend', 'ops']) await machine.admin.addAgent(`${agent}@myproject`);
  return { messenger: machine.messenger, admin: machine.admin, teardown: () => machine.stop() };
});
