import { typed } from './material.ts';
import type { Vector } from './vector.ts';

/** What people type: message ids and addresses. */

export function idVectors(): Vector[] {
  const canonical = '019a5b00-1234-7abc-8def-0123456789ab';
  const good = (name: string, text: string, value = canonical): Vector => ({ name, text, value });
  return [
    good('canonical', canonical),
    good('upper case', canonical.toUpperCase()),
    good('with space around it', `  ${canonical}\n`),
    good('the lowest', '00000000-0000-7000-8000-000000000000', '00000000-0000-7000-8000-000000000000'),
    good('the highest', 'ffffffff-ffff-7fff-bfff-ffffffffffff', 'ffffffff-ffff-7fff-bfff-ffffffffffff'),
    ...(
      [
        ['nothing', ''],
        ['a number', '42'],
        ['version 1', '019a5b00-1234-1abc-8def-0123456789ab'],
        ['version 4', '019a5b00-1234-4abc-8def-0123456789ab'],
        ['version 8', '019a5b00-1234-8abc-8def-0123456789ab'],
        ['variant 0', '019a5b00-1234-7abc-7def-0123456789ab'],
        ['variant 2', '019a5b00-1234-7abc-cdef-0123456789ab'],
        ['nil', '00000000-0000-0000-0000-000000000000'],
        ['without dashes', canonical.replaceAll('-', '')],
        ['in braces', `{${canonical}}`],
        ['as a URN', `urn:uuid:${canonical}`],
        ['one digit short', canonical.slice(0, -1)],
        ['one digit long', `${canonical}0`],
        ['another letter', canonical.replace('a', 'g')],
        ['a second line', `${canonical}\n${canonical}`],
        ['full-width digits', canonical.replace('0', '\uff10')],
        ['a key of another record', `${canonical}/x`],
      ] as const
    ).map(([name, text]) => typed(name, text, 'invalid_id')),
  ];
}

export function addressVectors(): Vector[] {
  const good = (name: string, text: string, agent: string, namespace: string): Vector => ({
    name,
    text,
    value: { name: agent, namespace },
  });
  return [
    good('plain', 'backend@myproject', 'backend', 'myproject'),
    good('upper case', 'BackEnd@MyProject', 'backend', 'myproject'),
    good('with space around it', ' backend@myproject\t', 'backend', 'myproject'),
    good('with space around its parts', 'backend @ myproject', 'backend', 'myproject'),
    good('all that is allowed', 'a-z_0.9@a-z_0.9', 'a-z_0.9', 'a-z_0.9'),
    good('one character each', 'a@b', 'a', 'b'),
    good('120 characters', `${'a'.repeat(120)}@b`, 'a'.repeat(120), 'b'),
    ...(
      [
        ['nothing', ''],
        ['no namespace', 'backend'],
        ['an empty namespace', 'backend@'],
        ['an empty name', '@myproject'],
        ['an at sign alone', '@'],
        ['two at signs', 'backend@my@project'],
        ['121 characters', `${'a'.repeat(121)}@b`],
        ['a space inside', 'back end@myproject'],
        ['a comma', 'backend,frontend@myproject'],
        ['a slash', 'back/end@myproject'],
        ['a line break', 'back\nend@myproject'],
        ['a letter with a mark', 'b\u00e4ckend@myproject'],
        ['a letter that lower-cases to two', '\u0130@myproject'],
        ['a control character', 'back\u0000end@myproject'],
        ['an escape sequence', '\u001b[31mbackend@myproject'],
      ] as const
    ).map(([name, text]) => typed(name, text, 'invalid_name')),
  ];
}
