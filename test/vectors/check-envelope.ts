import {
  createDecipheriv,
  createHash,
  createPrivateKey,
  createPublicKey,
  decapsulate,
  diffieHellman,
  hkdfSync,
} from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { read } from './cbor-read.ts';
import { isSigned, signerOf } from './keys-by-hand.ts';
import { hex, item, join } from './raw-cbor.ts';
import { bytesOf, type Vector, type VectorFile } from './vector.ts';

/**
 * Takes an envelope apart step by step, as docs/protocol.md describes it, with node:crypto and the CBOR of this
 * folder, and says of each step whether it holds.
 *
 *     node test/vectors/check-envelope.ts                      every case of envelope.json, one line each
 *     node test/vectors/check-envelope.ts --case "message"     one case, step by step
 *     node test/vectors/check-envelope.ts --envelope FILE --self PEER_ID --seed FILE --prekey 7
 *
 * FILE is a file of bytes, or the bytes in hex. The exit code is 0 when all is well, else 1. All of envelope.json is
 * well when each case is accepted or refused as the file says.
 */
export interface Step {
  name: string;
  ok: boolean;
  /** What was found. */
  text: string;
}

/** Whose envelope it is: the machine, its X-Wing seed, and the sequences under which it keeps that. */
interface Recipient {
  self: string;
  seed: Uint8Array;
  kept: readonly number[];
}

const CONTEXT = 'patchcord envelope v2';
const PEER_ID = /^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/;

/** The steps up to the first that does not hold. */
export function checkEnvelope(bytes: Uint8Array, recipient: Recipient): Step[] {
  const steps: Step[] = [];
  const step = <T>(name: string, action: () => [value: T, text: string]): T => {
    try {
      const [value, text] = action();
      steps.push({ name, ok: true, text });
      return value;
    } catch (error) {
      steps.push({ name, ok: false, text: error instanceof Error ? error.message : String(error) });
      throw new Stopped();
    }
  };
  try {
    check(bytes, recipient, step);
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;
  }
  return steps;
}

class Stopped extends Error {}

type Stepper = <T>(name: string, action: () => [value: T, text: string]) => T;

function check(bytes: Uint8Array, { self, seed, kept }: Recipient, step: Stepper): void {
  const { head, wrap, body } = step('envelope', () => {
    const found = bytesIn(fields(read(bytes), 'head', 'wrap', 'body'));
    return [found, `${bytes.length} bytes: ${sizes(found)}`];
  });
  const { ns, commit } = step('head', () => {
    const found = fields(read(head), 'v', 'ns', 'commit');
    if (found['v'] !== 2) throw new Error('not of version 2');
    const ns = textOf(found['ns'], /^[0-9a-f]{64}$/);
    return [{ ns, commit: sized(found['commit'], 32) }, `namespace ${ns.slice(0, 16)}…`];
  });
  const { to, prekey, kem, key: sealedKey } = step('wrap', () => {
    const found = fields(read(wrap), 'to', 'prekey', 'kem', 'key');
    const prekey = found['prekey'];
    if (typeof prekey !== 'number' || prekey < 1 || prekey > 2 ** 31) throw new Error('no prekey sequence');
    const parts = { to: textOf(found['to'], PEER_ID), prekey, kem: sized(found['kem'], 1_120), key: sized(found['key']) };
    return [parts, `prekey ${prekey} of ${parts.to}`];
  });
  step('recipient', () => {
    if (to !== self) throw new Error(`for ${to}`);
    if (!kept.includes(prekey)) throw new Error(`prekey ${prekey} is not kept`);
    return [undefined, 'this machine, and the prekey is kept'];
  });
  const agreed = step('decapsulate', () => [decapsulateXWing(seed, kem), 'X-Wing gives 32 bytes']);
  const secret = step('wrapped secret', () => {
    const info = ['wrap', ns, to, prekey, sha256(head), sha256(body)];
    const found = fields(read(open(derive(agreed, ...info), head, sealedKey)), 'key', 'own', 'from', 'sig');
    const { key, own, sig } = { key: sized(found['key'], 32), own: sized(found['own']), sig: sized(found['sig'], 64) };
    const from = textOf(found['from'], PEER_ID);
    return [{ key, own, sig, from }, `from ${from}, ${own.length} bytes of own fields`];
  });
  step('commitment', () => {
    if (!same(derive(secret.key, 'commit'), commit)) throw new Error('the head commits to another key');
    return [undefined, 'the head commits to this content key'];
  });
  const shared = step('body', () => {
    const plain = open(derive(secret.key, 'body'), head, body);
    return [plain, `${plain.length} bytes of shared fields in ${body.length - 16} padded`];
  });
  step('signature', () => {
    const signed = item([sha256(head), sha256(shared), secret.own, to, prekey]);
    if (!isSigned(secret.from, CONTEXT, signed, secret.sig)) throw new Error(`not signed by ${secret.from}`);
    return [undefined, `Ed25519 by ${secret.from}`];
  });
  step('letter', () => [undefined, letterOf(shared, secret.own)]);
}

/** X-Wing (draft-connolly-cfrg-xwing-kem, section 5.5), of ML-KEM-768 (RFC 9935 for its key) and X25519 (RFC 8410). */
function decapsulateXWing(seed: Uint8Array, kem: Uint8Array): Uint8Array {
  const expanded = createHash('shake256', { outputLength: 96 }).update(seed).digest();
  const mlkem = privateKey('3054020100300b060960864801650304040204428040', expanded.subarray(0, 64));
  const x25519 = privateKey('302e020100300506032b656e04220420', expanded.subarray(64));
  const spkiHead = hex('302a300506032b656e032100');
  const own = createPublicKey(x25519).export({ format: 'der', type: 'spki' }).subarray(spkiHead.length);
  const point = kem.subarray(1_088);
  const theirs = createPublicKey({ key: Buffer.from(join(spkiHead, point)), format: 'der', type: 'spki' });
  const secrets = join(
    decapsulate(mlkem, kem.subarray(0, 1_088)),
    // Refuses a point of low order, whose secret would be all zero.
    diffieHellman({ privateKey: x25519, publicKey: theirs }),
  );
  const label = new TextEncoder().encode('\\.//^\\');
  return new Uint8Array(createHash('sha3-256').update(join(secrets, point, own, label)).digest());
}

function privateKey(derHead: string, raw: Uint8Array) {
  return createPrivateKey({ key: Buffer.from(join(hex(derHead), raw)), format: 'der', type: 'pkcs8' });
}

/** HKDF-SHA256 (RFC 5869) without salt. */
function derive(secret: Uint8Array, ...info: unknown[]): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', secret, hex(''), item([CONTEXT, ...info]), 32));
}

/** ChaCha20-Poly1305 (RFC 8439), the nonce all zero, then length and bytes without their padding. */
function open(key: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array {
  if (sealed.length < 16) throw new Error('shorter than a tag');
  const decipher = createDecipheriv('chacha20-poly1305', key, new Uint8Array(12), { authTagLength: 16 });
  decipher.setAAD(aad, { plaintextLength: sealed.length - 16 });
  decipher.setAuthTag(sealed.subarray(-16));
  let padded: Uint8Array;
  try {
    padded = join(decipher.update(sealed.subarray(0, -16)), decipher.final());
  } catch {
    throw new Error('the tag does not fit');
  }
  const length = padded.length < 4 ? Infinity : new DataView(padded.buffer, padded.byteOffset).getUint32(0);
  if (4 + length > padded.length) throw new Error('the padding is wrong');
  return padded.slice(4, 4 + length);
}

/** The fields of each kind of letter; those with a question mark may be missing. */
const LETTERS: Record<string, string> = {
  message: 'k id seq epoch? from to content thread? reply_to? resolve? urgency? group? again? sent_at',
  void: 'k id seq epoch? from to',
  unsend: 'k id from to',
  receipts: 'k receipts',
  doubts: 'k messages',
  told: 'k messages',
};

function letterOf(shared: Uint8Array, own: Uint8Array): string {
  const [left, right] = [read(shared), read(own)].map(record);
  for (const name of Object.keys(right!)) if (name in left!) throw new Error(`${name} is given twice`);
  const letter: Record<string, unknown> = { ...left, ...right };
  const kind = String(letter['k']);
  const names = Object.hasOwn(LETTERS, kind) ? LETTERS[kind]!.split(' ') : [];
  if (names.length === 0) throw new Error('no kind of letter');
  for (const name of names) if (!name.endsWith('?') && !(name in letter)) throw new Error(`no ${name}`);
  const known = new Set(names.map((name) => name.replace('?', '')));
  for (const name of Object.keys(letter)) if (!known.has(name)) throw new Error(`a ${kind} with ${name}`);
  const shown = ['id', 'seq', 'content'].filter((name) => name in letter);
  return [kind, ...shown.map((name) => `${name} ${JSON.stringify(letter[name])}`)].join(', ');
}

function record(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Uint8Array) {
    throw new Error('not a map');
  }
  return { ...value };
}

/** A map of exactly these fields. */
function fields(value: unknown, ...names: string[]): Record<string, unknown> {
  const found = record(value);
  const [has, wants] = [Object.keys(found).sort().join(), [...names].sort().join()];
  if (has !== wants) throw new Error(`fields ${has} instead of ${wants}`);
  return found;
}

function bytesIn(found: Record<string, unknown>): { head: Uint8Array; wrap: Uint8Array; body: Uint8Array } {
  return { head: sized(found['head']), wrap: sized(found['wrap']), body: sized(found['body']) };
}

function sizes(parts: Record<string, Uint8Array>): string {
  return Object.entries(parts)
    .map(([name, { length }]) => `${name} ${length}`)
    .join(', ');
}

function sized(value: unknown, sizeBytes?: number): Uint8Array {
  if (!(value instanceof Uint8Array)) throw new Error('not bytes');
  if (sizeBytes !== undefined && value.length !== sizeBytes) throw new Error(`not ${sizeBytes} bytes`);
  return value;
}

function textOf(value: unknown, pattern: RegExp): string {
  if (typeof value !== 'string' || !pattern.test(value)) throw new Error(`not like ${pattern.source}`);
  return value;
}

const sha256 = (bytes: Uint8Array) => new Uint8Array(createHash('sha256').update(bytes).digest());
const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;

function print(steps: readonly Step[]): boolean {
  for (const { name, ok, text } of steps) console.log(`${ok ? 'OK  ' : 'FAIL'} ${name.padEnd(14)} ${text}`);
  return steps.every(({ ok }) => ok);
}

function fileOrHex(text: string): Uint8Array {
  return existsSync(text) ? new Uint8Array(readFileSync(text)) : hex(text);
}

function checkCase(vector: Vector, seeds: Record<string, string>): Step[] {
  const given = vector.with!;
  const self = signerOf(hex(seeds[given['self']!]!)).peerId;
  const kept = given['kept']!.split(' ').map(Number);
  return checkEnvelope(bytesOf(vector.bytes!), { self, seed: hex(given['seed']!), kept });
}

/** Whether all is well. */
function run(args: string[]): boolean {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args,
    options: { file: text, case: text, envelope: text, self: text, seed: text, prekey: text },
  });
  if (values.envelope !== undefined) {
    const { envelope, self = '', seed = '', prekey = '' } = values;
    return print(checkEnvelope(fileOrHex(envelope), { self, seed: fileOrHex(seed), kept: [Number(prekey)] }));
  }
  const path = values.file ?? new URL('envelope.json', import.meta.url);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const { cases, seeds } = JSON.parse(readFileSync(path, 'utf8')) as VectorFile;
  if (values.case !== undefined) {
    const vector = cases.find(({ name }) => name === values.case);
    if (!vector) throw new Error(`no case ${values.case}`);
    return print(checkCase(vector, seeds!));
  }
  const results = cases.map((vector) => {
    const last = checkCase(vector, seeds!).at(-1)!;
    const asSaid = last.ok === (vector.error === undefined);
    const outcome = last.ok ? 'accepted' : `refused at ${last.name}: ${last.text}`;
    console.log(`${asSaid ? 'OK  ' : 'FAIL'} ${vector.name}: ${outcome}`);
    return asSaid;
  });
  console.log(`${results.filter(Boolean).length} of ${results.length} as envelope.json says`);
  return results.every(Boolean);
}

if (import.meta.main) process.exitCode = run(process.argv.slice(2)) ? 0 : 1;
