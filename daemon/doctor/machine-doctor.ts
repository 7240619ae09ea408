import type { Doctor } from '../api/doctor.ts';
import type { StoreCare } from '../store/care/store-care.ts';
import { peerViews, type PeerParts } from './peer-views.ts';
import { storeChecks } from './store-checks.ts';

/** The doctor of a machine that runs. */
export function createDoctor(care: StoreCare, parts: PeerParts): Doctor {
  return {
    examine: async () => ({ checks: storeChecks(await care.examine(), false) }),
    repair: async () => ({ checks: storeChecks(await care.repair(), true) }),
    acknowledge: () => care.acknowledge(),
    peers: () => peerViews(parts),
  };
}
