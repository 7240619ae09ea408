import type { Doctor } from '../api/doctor.ts';
import type { StoreCare } from '../store/care/store-care.ts';
import { storeChecks } from './store-checks.ts';

/** The doctor of a machine that runs. */
export function createDoctor(care: StoreCare): Doctor {
  return {
    examine: async () => ({ checks: storeChecks(await care.examine(), false) }),
    repair: async () => ({ checks: storeChecks(await care.repair(), true) }),
    acknowledge: () => care.acknowledge(),
  };
}
