import { writeFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';

/**
 * Loaded into a daemon by `--import`: on SIGUSR2 it writes the longest stop of the event loop since the last signal,
 * in milliseconds, to the file that LOOP_WATCH names.
 */
const RESOLUTION_MS = 2;
const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
delays.enable();

process.on('SIGUSR2', () => {
  writeFileSync(process.env['LOOP_WATCH']!, String(Math.max(0, delays.max / 1e6 - RESOLUTION_MS)));
  delays.reset();
});
