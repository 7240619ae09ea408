import { entries, head, hex, item, join, map, sorted, type Entry } from './raw-cbor.ts';

/** One valid map, written in all the ways that are not its one deterministic form, and things that are no map. */
export function codecDamages(
  value: Record<string, unknown>,
): [name: string, bytes: Uint8Array | [string, number][]][] {
  const all = entries(value);
  const bytes = map(all);
  const [firstKey, firstValue] = all[0]!;
  const withEntry = (entry: Entry) => map(sorted([...all, entry]));
  const instead = (first: Uint8Array) => map([[firstKey, first], ...all.slice(1)]);
  return [
    ['nothing at all', new Uint8Array(0)],
    ['one byte too few', bytes.subarray(0, -1)],
    ['half of it', bytes.subarray(0, bytes.length >> 1)],
    ['one byte too many', join(bytes, hex('00'))],
    ['the same twice', join(bytes, bytes)],
    ['keys in the wrong order', map([...all].reverse())],
    ['a key twice', map([all[0]!, ...all])],
    ['a count longer than it need be', join(Uint8Array.of(0xb8, all.length), bytes.subarray(1))],
    [
      'a key whose length is longer than it need be',
      join(
        head(5, all.length),
        hex('78'),
        item(firstKey).map((byte, at) => (at === 0 ? byte & 0x1f : byte)),
        firstValue,
        ...all.slice(1).flatMap(([key, field]) => [item(key), field]),
      ),
    ],
    ['a map of indefinite length', join(hex('bf'), bytes.subarray(1), hex('ff'))],
    ['a text of indefinite length', instead(join(hex('7f'), item('x'), hex('ff')))],
    ['bytes of indefinite length', instead(join(hex('5f'), item(hex('00')), hex('ff')))],
    ['a tag around it', join(hex('c0'), bytes)],
    ['a tagged field', instead(join(hex('c1'), hex('00')))],
    ['a whole number as a float', instead(hex('f93c00'))],
    ['a number as a longer float', instead(hex('fb3ff8000000000000'))],
    ['minus zero', instead(hex('f98000'))],
    ['not a number', instead(hex('f97e00'))],
    ['infinity', instead(hex('f97c00'))],
    ['undefined', instead(hex('f7'))],
    ['a number beyond 2^53', instead(hex('1bffffffffffffffff'))],
    ['a bignum', instead(hex('c249010000000000000000'))],
    ['a simple value', instead(hex('e0'))],
    ['text that is not UTF-8', instead(hex('62c328'))],
    ['text with half of a surrogate pair', instead(hex('63eda080'))],
    ['a key that is a number', join(head(5, all.length + 1), hex('0000'), bytes.subarray(1))],
    ['a key called __proto__', withEntry(['__proto__', item({ a: 1 })])],
    ['an array that declares four billion entries', hex('9affffffff')],
    ['an array that declares 2^64 - 1 entries', hex('9bffffffffffffffff')],
    ['a map that declares four billion entries', hex('baffffffff')],
    ['bytes that declare two gigabytes', hex('5a7fffffff00')],
    ['text that declares 2^64 - 1 bytes', hex('7bffffffffffffffff61')],
    [
      'arrays in arrays, 200,000 deep',
      [
        ['81', 200_000],
        ['80', 1],
      ],
    ],
    [
      'maps in maps, 60,000 deep',
      [
        ['a16161', 60_000],
        ['a0', 1],
      ],
    ],
    ['indefinite arrays, 200,000 deep', [['9f', 200_000]]],
    ['a break and nothing else', hex('ff')],
    ['an array', hex('80')],
    ['a number', hex('00')],
    ['a text', item('hello')],
    ['null', hex('f6')],
  ];
}

/** Well-formed maps of another shape: a key too many, each key missing, each field of another type. */
export function shapeDamages(
  value: Record<string, unknown>,
  optional: readonly string[] = [],
): [string, Record<string, unknown>][] {
  const keys = Object.keys(value);
  const required = keys.filter((key) => !optional.includes(key));
  const without = (key: string) => Object.fromEntries(Object.entries(value).filter(([name]) => name !== key));
  const otherType = (field: unknown) => (typeof field === 'string' ? 7 : 'seven');
  return [
    ['an unknown key', { ...value, zz: 1 }],
    ['a known key in upper case', { ...value, [keys[0]!.toUpperCase()]: value[keys[0]!] }],
    ...required.map((key): [string, Record<string, unknown>] => [`without ${key}`, without(key)]),
    ...keys.map((key): [string, Record<string, unknown>] => [
      `${key} of another type`,
      { ...value, [key]: otherType(value[key]) },
    ]),
    ...keys.map((key): [string, Record<string, unknown>] => [`${key} null`, { ...value, [key]: null }]),
  ];
}
