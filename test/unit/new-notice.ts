import { systemRandom } from '../../daemon/clock.ts';
import type { NewNotice } from '../../daemon/store/mail-notices.ts';
import { newId } from '../../protocol/ids.ts';

/** Ids and the time of notices, where a test does not look at them. */
export const newNotice: NewNotice = () => ({ id: newId(0, systemRandom.bytes), nowMs: 0 });
