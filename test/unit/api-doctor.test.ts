import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createClient } from '../../daemon/client/client.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import { fakeDoctor, startWorld, type World } from './api-fixture.ts';
import { PEER } from './presence-fakes.ts';

let world: World;
let acknowledged: number;
beforeEach(async () => {
  acknowledged = 0;
  world = await startWorld({
    doctor: {
      ...fakeDoctor,
      async acknowledge() {
        acknowledged += 1;
        if (acknowledged > 1) throw new PatchcordError('store_damaged', 'A table cannot be read.');
      },
    },
  });
});
afterEach(() => world.teardown());

describe('the doctor over the socket', () => {
  test('examines, repairs and is told that it was heard', async () => {
    const { doctor } = createClient({ socketPath: world.socketPath });
    expect((await doctor.examine()).checks).toEqual([{ name: 'store', state: 'ok', text: 'examined' }]);
    expect((await doctor.repair()).checks).toEqual([{ name: 'store', state: 'warn', text: 'repaired' }]);
    expect(await doctor.peers()).toEqual([PEER]);
    await doctor.acknowledge();
    expect(acknowledged).toBe(1);
    await expect(doctor.acknowledge()).rejects.toEqual(expect.objectContaining({ code: 'store_damaged' }));
  });

  test.each([
    ['GET', '/api/doctor'],
    ['GET', '/api/doctor/peers'],
    ['POST', '/api/doctor/repair'],
    ['POST', '/api/doctor/acknowledgement'],
  ])('%s %s is for the owner alone', async (method, path) => {
    const answer = await fetch(`http://127.0.0.1:${world.port}${path}`, { method });
    expect(answer.status).toBe(401);
    expect(acknowledged).toBe(0);
  });
});
