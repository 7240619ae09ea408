import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { linksOf, membersOf, pendingOf, refusal, three, warningsOf, type Three } from './team.ts';
import { admit, turn, type TestMachine } from './wire.ts';

let all: Three;
beforeEach(async () => {
  all = await three();
});
afterEach(async () => {
  await all.team.stopAll();
});

const roleOf = async (machine: TestMachine) => (await machine.admin.namespaces())[0]!.role;
const recover = async (machine: TestMachine, remove?: string, phrase = all.phrase) => {
  const view = await machine.admin.recover('myproject', phrase, remove);
  await turn();
  return view;
};

describe('the recovery phrase', () => {
  test('is 24 words, told once', async () => {
    expect(all.phrase.split(' ')).toHaveLength(24);
    expect(JSON.stringify(await all.desk.admin.namespaces())).not.toContain('recovery');
    const other = await all.desk.admin.createNamespace('other');
    expect(other.recovery_phrase).not.toBe(all.phrase);
  });

  test('makes a member an admin, whom all obey', async () => {
    const { desk, laptop, tower } = all;
    expect(await recover(laptop)).toMatchObject({ namespace: 'myproject', role: 'admin' });
    for (const machine of [desk, laptop, tower]) {
      const members = await machine.admin.members('myproject');
      expect(members.find(({ machine: label }) => label === 'laptop')!.role).toBe('admin');
    }
    await laptop.admin.removeMember('myproject', 'desk');
    await turn();
    expect(await roleOf(desk)).toBe('removed');
    expect(await membersOf(tower)).toEqual(['laptop', 'tower']);
  });

  test('does so when the only admin is gone for good, and removes it', async () => {
    const { team, ns, desk, laptop, tower } = all;
    const before = await team.key(laptop, ns);
    await team.stop(desk);
    expect(await recover(laptop, 'desk')).toMatchObject({ role: 'admin', members: 2 });
    expect(await membersOf(tower)).toEqual(['laptop', 'tower']);
    const key = await team.key(laptop, ns);
    expect(key).not.toBe(before);
    expect(await team.key(tower, ns)).toBe(key);
    await admit(laptop, await team.start(4, 'fourth'));
    expect(await membersOf(tower)).toEqual(['fourth', 'laptop', 'tower']);
    all.desk = await team.again(desk);
    expect(await roleOf(all.desk)).toBe('removed');
    expect((await all.desk.admin.namespaces())[0]!.removed!.by).toBe('the recovery phrase');
    expect(await linksOf(tower)).toEqual(['fourth', 'laptop']);
  });

  test('however it is typed', async () => {
    const typed = `\n  ${all.phrase.toUpperCase().replaceAll(' ', ' \t\n')}  `;
    expect(await recover(all.laptop, undefined, typed)).toMatchObject({ role: 'admin' });
  });

  test.for<[what: string, change: (words: string[]) => string[]]>([
    ['nothing', () => []],
    ['a word missing', (words) => words.slice(1)],
    ['a word too many', (words) => [...words, words[0]!]],
    ['a misspelt word', (words) => ['patchcord', ...words.slice(1)]],
    ['words that are none', () => Array<string>(24).fill('zzzz')],
  ])('is refused with %s', async ([, change]) => {
    const phrase = change(all.phrase.split(' ')).join(' ');
    await expect(recover(all.laptop, undefined, phrase)).rejects.toEqual(refusal('invalid_input'));
    expect(await roleOf(all.laptop)).toBe('member');
  });

  test('of another namespace is refused', async () => {
    const { recovery_phrase: other } = await all.desk.admin.createNamespace('other');
    await expect(recover(all.laptop, undefined, other)).rejects.toEqual(refusal('forbidden'));
    await expect(recover(all.desk, 'tower', other)).rejects.toEqual(refusal('forbidden'));
    expect(await membersOf(all.desk)).toHaveLength(3);
    await expect(all.laptop.admin.recover('nowhere', other)).rejects.toEqual(refusal('unknown_namespace'));
  });

  test('removes nobody who is not there, and not this machine', async () => {
    await expect(recover(all.laptop, 'nobody')).rejects.toEqual(refusal('not_found'));
    await expect(recover(all.laptop, 'laptop')).rejects.toEqual(refusal('invalid_input'));
    expect(await roleOf(all.laptop)).toBe('member');
  });

  test('of an admin changes nothing but what it removes', async () => {
    expect(await recover(all.desk)).toMatchObject({ role: 'admin', members: 3 });
    expect(await recover(all.desk, 'tower')).toMatchObject({ role: 'admin', members: 2 });
    expect(await roleOf(all.tower)).toBe('removed');
  });

  test('outlasts a restart of all', async () => {
    await recover(all.laptop, 'desk');
    const { team } = all;
    await team.stop(all.desk);
    all.laptop = await team.again(all.laptop);
    all.tower = await team.again(all.tower);
    expect(await roleOf(all.laptop)).toBe('admin');
    expect(await membersOf(all.tower)).toEqual(['laptop', 'tower']);
  });
});

describe('a machine that was removed, and has the phrase', () => {
  test('is in again, as an admin, and the others learn it from what it shows', async () => {
    const { team, desk, laptop, tower } = all;
    await desk.admin.removeMember('myproject', 'tower');
    await turn();
    expect(await linksOf(tower)).toEqual([]);
    expect(await recover(tower)).toMatchObject({ role: 'admin', members: 3 });
    await team.clock.advance(60_000);
    for (const machine of [desk, laptop]) {
      expect(await membersOf(machine)).toEqual(['desk', 'laptop', 'tower']);
      const members = await machine.admin.members('myproject');
      expect(members.find(({ machine: label }) => label === 'tower')!.role).toBe('admin');
    }
    expect(await linksOf(tower)).toEqual(['desk', 'laptop']);
    expect(await warningsOf(all.cid)).toEqual([]);
    await team.say(all.ada, 'cid', 'welcome');
    expect(await pendingOf(all.cid)).toEqual(['welcome']);
    expect(await team.key(tower, all.ns)).toBe(await team.key(desk, all.ns));
  });

  test('removes who had removed it', async () => {
    const { team, desk, laptop, tower } = all;
    await desk.admin.removeMember('myproject', 'tower');
    await turn();
    expect(await recover(tower, 'desk')).toMatchObject({ role: 'admin', members: 2 });
    await team.clock.advance(60_000);
    expect(await membersOf(laptop)).toEqual(['laptop', 'tower']);
    expect(await roleOf(desk)).toBe('removed');
    expect(await linksOf(laptop)).toEqual(['tower']);
    await team.say(all.cid, 'bob', 'hello');
    expect(await pendingOf(all.bob)).toEqual(['hello']);
    expect(await team.key(tower, all.ns)).toBe(await team.key(laptop, all.ns));
  });

  test('does so though what it missed since is not known to it', async () => {
    const { team, desk, laptop, tower } = all;
    await desk.admin.removeMember('myproject', 'tower');
    await turn();
    await team.open(desk, 'later');
    await admit(desk, await team.start(4, 'fourth'));
    expect(await recover(tower)).toMatchObject({ role: 'admin' });
    await team.clock.advance(60_000);
    expect(await membersOf(tower)).toEqual(['desk', 'fourth', 'laptop', 'tower']);
    expect(await membersOf(laptop)).toEqual(['desk', 'fourth', 'laptop', 'tower']);
    expect((await tower.admin.namespaces())[0]!.agents).toContain('later@myproject');
  });

  test('does so while they are away, and is let in when they are back', async () => {
    const { team, desk, laptop, tower } = all;
    await desk.admin.removeMember('myproject', 'tower');
    await turn();
    await team.stop(desk);
    await team.stop(laptop);
    await recover(tower);
    all.desk = await team.again(desk);
    all.laptop = await team.again(laptop);
    await team.clock.advance(60_000);
    expect(await membersOf(all.laptop)).toEqual(['desk', 'laptop', 'tower']);
    expect(await linksOf(tower)).toEqual(['desk', 'laptop']);
  });
});
