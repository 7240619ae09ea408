import { execFileSync, spawn } from 'node:child_process';
import { cp, mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

/**
 * Breaks the product on purpose, one promise at a time, and sees to it that the tests notice:
 *
 *     node test/planted/run.ts [NAME ...]
 *
 * Each NAME.patch beside this file is a change that breaks the promise in its first line; the second names the
 * tests that must turn red. A patch that no longer applies is a failure too: then the bug it plants may have
 * found another place.
 */
const ROOT = resolve(import.meta.dirname, '../..');
const RUN_MS_MAX = 180_000;

interface Planted {
  name: string;
  promise: string;
  /** Arguments for vitest. */
  tests: string[];
}

type Verdict = 'red' | 'still green' | 'does not apply' | 'does not run';

async function planted(): Promise<Planted[]> {
  const wanted = process.argv.slice(2);
  const files = (await readdir(import.meta.dirname)).filter((file) => file.endsWith('.patch')).sort();
  const names = files.map((file) => file.slice(0, -'.patch'.length));
  const all = names.map(async (name) => {
    const [promise = '', red = ''] = (
      await readFile(join(import.meta.dirname, `${name}.patch`), 'utf8')
    ).split('\n');
    return { name, promise: valueOf(promise), tests: valueOf(red).split(' ') };
  });
  return (await Promise.all(all)).filter(({ name }) => wanted.length === 0 || wanted.includes(name));
}

function valueOf(line: string): string {
  return line.slice(line.indexOf(': ') + 2);
}

/** The tree as it is, with what is not committed yet, and with its dependencies linked. */
async function copyTree(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'patchcord-planted-'));
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: ROOT,
  });
  for (const file of new Set(listed.toString().split('\0'))) {
    // A file may be gone from the folder and not yet from the index.
    if (file && file !== 'node_modules')
      await cp(join(ROOT, file), join(folder, file)).catch(() => undefined);
  }
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  return folder;
}

async function verdictOn({ name, tests }: Planted, folder: string): Promise<Verdict> {
  const patch = join(import.meta.dirname, `${name}.patch`);
  const apply = (...options: string[]) =>
    execFileSync('git', ['apply', ...options, patch], { cwd: folder, stdio: 'ignore' });
  try {
    apply();
  } catch {
    return 'does not apply';
  }
  try {
    const output = await vitest(tests, folder);
    if (/Tests\s+.*\d+ failed/.test(output)) return 'red';
    return /Tests\s+.*\d+ passed/.test(output) ? 'still green' : 'does not run';
  } finally {
    apply('--reverse');
  }
}

/** What vitest says; it stops at the first failure. */
async function vitest(args: readonly string[], folder: string): Promise<string> {
  const entry = join(ROOT, 'node_modules/vitest/vitest.mjs');
  const options = ['run', ...args, '--bail=1', '--no-color', '--no-cache'];
  const child = spawn(process.execPath, [entry, ...options], {
    cwd: folder,
    timeout: RUN_MS_MAX,
    env: { ...process.env, NO_COLOR: '1' },
  });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  await new Promise((done) => child.once('close', done));
  return output;
}

const startedMs = performance.now();
const waiting = await planted();
let failures = 0;

/** Plants one bug after another in a tree of its own. */
async function plantAll(): Promise<void> {
  const folder = await copyTree();
  try {
    for (let one = waiting.shift(); one; one = waiting.shift()) {
      const beganMs = performance.now();
      const verdict = await verdictOn(one, folder);
      if (verdict !== 'red') failures += 1;
      const took = `${((performance.now() - beganMs) / 1_000).toFixed(1)} s`;
      console.log(
        `${verdict.padEnd(15)} ${one.name.padEnd(26)} ${took.padStart(7)}  ${one.promise}  [${one.tests[0]}]`,
      );
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

await Promise.all(Array.from({ length: availableParallelism() }, plantAll));
const took = ((performance.now() - startedMs) / 1_000).toFixed(0);
console.log(
  failures === 0 ? `every planted bug was found, in ${took} s` : `${failures} planted bugs were not found`,
);
if (failures > 0) process.exitCode = 1;
