import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { workingPlace } from '../../cli/working-place.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'patchcord-place-'));
  await mkdir(join(root, 'web-shop', 'src'), { recursive: true });
});
afterEach(() => rm(root, { recursive: true, force: true }));

const shop = () => join(root, 'web-shop');
const head = async (text: string): Promise<void> => {
  await mkdir(join(shop(), '.git'));
  await writeFile(join(shop(), '.git', 'HEAD'), text);
};
const place = (folder: string, tells = true) => workingPlace(folder, async () => tells, join(root, 'home'));

test('names the folder, and the branch of the repository around it if that may be told', async () => {
  await head('ref: refs/heads/feature/cart\n');
  expect(await place(shop())).toEqual({ project: 'web-shop', branch: 'feature/cart' });
  expect(await place(join(shop(), 'src'))).toEqual({ project: 'src', branch: 'feature/cart' });
  expect(await place(shop(), false)).toEqual({ project: 'web-shop' });
});

test('finds the branch of a worktree', async () => {
  await mkdir(join(root, 'repository', 'worktrees', 'one'), { recursive: true });
  await writeFile(join(root, 'repository', 'worktrees', 'one', 'HEAD'), 'ref: refs/heads/one\n');
  await writeFile(join(shop(), '.git'), 'gitdir: ../repository/worktrees/one\n');
  expect(await place(shop())).toEqual({ project: 'web-shop', branch: 'one' });
});

test.each([
  ['a commit', 'd66603a10e7c0a0b8f1d2c3b4a5968778695a4b3\n'],
  ['a tag', 'ref: refs/tags/v1\n'],
  ['nothing', ''],
  ['more than a line', 'x'.repeat(10_000)],
])('tells no branch where HEAD is on %s', async (_what, text) => {
  await head(text);
  expect(await place(shop())).toEqual({ project: 'web-shop' });
});

test('tells nothing of the home folder and of the root, and asks nobody', async () => {
  const never = () => Promise.reject(new Error('was asked'));
  expect(await workingPlace(shop(), never, shop())).toEqual({});
  expect(await workingPlace('/', never, shop())).toEqual({});
});
