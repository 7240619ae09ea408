import { randomBytes } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { openEnvelope, sealEnvelope } from '../protocol/envelope.ts';
import type { Letter } from '../protocol/letter.ts';
import { STATEMENTS_MAX } from '../protocol/limits.ts';
import { addStatements, openLog, type NamespaceLog } from '../protocol/membership/log.ts';
import { readStatement } from '../protocol/membership/statement.ts';
import { signPrekey } from '../protocol/prekey.ts';
import { signerFromSeed } from '../protocol/signing.ts';
import { xwingKey } from '../protocol/xwing.ts';
import { teamLog } from '../test/unit/team-log.ts';
import { median, quantile, type Figure } from './figures.ts';

const ROUNDS = 200;
const RECIPIENTS = 20;
/** Statements of one page of a log that is synced. */
const PAGE = 500;
const LOG_SIZE = STATEMENTS_MAX - 10;

const random = (length: number) => new Uint8Array(randomBytes(length));

/** Envelopes of 1 KB, and a namespace log that is nearly full. In this process, without wire or disk. */
export async function trust(): Promise<Figure[]> {
  return [...envelopes(), ...namespaceLog()];
}

function envelopes(): Figure[] {
  const sender = signerFromSeed(random(32));
  const context = { signer: sender, randomBytes: random, bootSecret: random(32) };
  const machines = Array.from({ length: RECIPIENTS }, () => recipient());
  const [first] = machines;
  const ns = '0'.repeat(64);
  const sealed: Uint8Array[] = [];
  const seal = timed(ROUNDS, (round) => {
    sealed.push(sealEnvelope(ns, first!.prekey, letter(round), context));
  });
  const open = timed(ROUNDS, (round) => {
    openEnvelope(sealed[round]!, first!.peerId, () => first!.key);
  });
  const many = timed(ROUNDS / RECIPIENTS, (round) => {
    for (const { prekey } of machines) sealEnvelope(ns, prekey, letter(round, true), context);
  });
  return [
    { name: 'seal 1 KB to one machine', value: median(seal), unit: 'ms', bound: 1.5 },
    { name: 'open it', value: median(open), unit: 'ms', bound: 1.5 },
    { name: `seal 1 KB to ${RECIPIENTS} machines`, value: median(many), unit: 'ms', bound: 15 },
  ];
}

function namespaceLog(): Figure[] {
  const stored = teamLog(LOG_SIZE).map(({ bytes }) => bytes);
  const load = timed(3, () => void loaded(stored));
  const known = loaded(stored.slice(0, -PAGE));
  const page = stored.slice(-PAGE).map((bytes) => readStatement(bytes, { verified: true }));
  const add = timed(3, () => void addStatements(known, page));
  const tip = timed(20, () => void addStatements(known, page.slice(0, 1)));
  return [
    { name: `load a log of ${LOG_SIZE} statements`, value: median(load), unit: 'ms', bound: 1_000 },
    { name: `add the last ${PAGE} of them`, value: quantile(add, 1), unit: 'ms' },
    { name: 'add one more', value: median(tip), unit: 'ms' },
  ];
}

function loaded(stored: readonly Uint8Array[]): NamespaceLog {
  const [genesis, ...rest] = stored.map((bytes) => readStatement(bytes, { verified: true }));
  return addStatements(openLog(genesis!), rest).log;
}

/** A machine that mail is sealed to. */
function recipient() {
  const signer = signerFromSeed(random(32));
  const key = xwingKey(random(32));
  const times = { made_at: 0, valid_until: 1 };
  return { peerId: signer.peerId, key, prekey: signPrekey({ seq: 1, key: key.publicKey, ...times }, signer) };
}

function letter(round: number, group = false): Letter {
  const id = (number: number) => `0190a5b0-0000-7000-8000-${String(number).padStart(12, '0')}`;
  return {
    k: 'message',
    id: id(round),
    seq: round + 1,
    from: { id: id(1), name: 'frontend' },
    to: { id: id(2), name: 'backend' },
    content: 'x'.repeat(1_024),
    sent_at: 0,
    ...(group && { group: id(3) }),
  };
}

/** How long each round takes, in milliseconds. */
function timed(rounds: number, run: (round: number) => void): number[] {
  return Array.from({ length: rounds }, (_none, round) => {
    const from = performance.now();
    run(round);
    return performance.now() - from;
  });
}
