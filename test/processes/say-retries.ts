import { afterEach } from 'vitest';

/** A test that is tried again is not to pass in silence: whoever reads the run should see how often it happens. */
afterEach(({ task }) => {
  const { retryCount = 0, errors = [] } = task.result ?? {};
  if (retryCount === 0) return;
  console.log(`tried again: ${task.name}, after: ${errors.map(({ message }) => message).join('; ')}`);
});
