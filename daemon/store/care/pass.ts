import { PatchcordError } from '../../../protocol/errors.ts';
import { QUARANTINE, type CareTx } from '../journal.ts';
import type { EpochWork } from '../mail-records.ts';
import type { MailRecord } from '../mail-store.ts';
import { Findings } from './findings.ts';
import { agentsWithMail, mendMail, restoreSent } from './mail-care.ts';
import { mendMailbox } from './mailbox-care.ts';
import { mendOutbox } from './outbox-care.ts';

/** Records that do not open, of one pass. A store with more of them is for a backup to mend. */
const DAMAGED_MAX = 20_000;
/** Values of these kinds are long. */
const PAGE = 64;

/** All that they say is in their keys. */
const MARKS = new Set(['due', 'forget', 'kept', 'missing']);
/** Without them nobody knows which places were given or taken: only new lines are safe. */
const PLACES = new Set(['line-in', 'line-out', 'held', 'epoch', 'epoch-work']);

export interface Passed {
  findings: Findings;
  /** Records by the first part of their key. */
  records: ReadonlyMap<string, number>;
}

/**
 * Looks at every record: what does not open goes into quarantine, and what rests on it is put right from what is
 * there. It gives the same answer however often it is cut short, and finds nothing more when it runs again.
 *
 * Throws `store_damaged` and writes nothing when not one record opens: then it is the key that is wrong.
 */
export async function mendStore(tx: CareTx, nowMs: number): Promise<Passed> {
  const findings = new Findings();
  const records = await quarantineDamaged(tx, findings);
  await restoreSent(tx, findings);
  for (const agent of await agentsWithMail(tx)) await mendMail(tx, agent, findings, nowMs);
  await mendOutbox(tx, findings);
  await mendMailbox(tx, findings);
  return { findings, records };
}

async function quarantineDamaged(tx: CareTx, found: Findings): Promise<Map<string, number>> {
  const records = new Map<string, number>();
  const damaged: string[] = [];
  let opened = 0;
  // Keys are ASCII.
  let from = '';
  for (;;) {
    const page = await tx.scan({ from, to: '\x7f', limit: PAGE });
    for (const { key, opens } of page) {
      const kind = key.split('/')[0]!;
      records.set(kind, (records.get(kind) ?? 0) + 1);
      if (key.startsWith(QUARANTINE)) continue;
      if (opens) opened += 1;
      else damaged.push(key);
    }
    if (page.length < PAGE) break;
    from = `${page.at(-1)!.key}\0`;
  }
  if (damaged.length > 0 && (opened === 0 || damaged.length > DAMAGED_MAX))
    throw beyondMending(damaged.length);
  for (const key of damaged) {
    await tx.quarantine(key);
    found.add('damaged', meaningOf(key));
    if (key.startsWith('agent/')) await restoreAgent(tx, key, found);
    // Without one of them the others may say something else than all of them did.
    if (key.startsWith('statement/')) tx.put(`missing/${key.slice('statement/'.length)}`, true);
    if (MARKS.has(key.split('/')[0]!)) tx.put(key, true);
    if (PLACES.has(key.split('/')[0]!)) found.wantsResend = true;
    // Whether what is unread was read before a restore is not known any more.
    if (key === 'epoch-work') tx.put(key, { inDoubt: true } satisfies EpochWork);
  }
  return records;
}

/** What the record under a key was for, in words. */
function meaningOf(key: string): string {
  const [kind = '', owner = ''] = key.split('/');
  switch (kind) {
    case 'history':
      return `a message of agent ${owner}`;
    case 'held':
      return `a message for agent ${owner} that had not been shown`;
    case 'outbox':
      return 'a letter in the outbox';
    case 'mailbox-envelope':
      return 'an envelope that is held for another machine';
    case 'statement':
      return `a statement of namespace ${owner}: this machine takes no part until it joins again by an invite`;
    case 'namespace-key':
      return `the key of namespace ${owner}; its members tell it again`;
    case 'prekey':
    case 'roster':
    case 'address':
    case 'whereabouts':
      return `a ${kind} of another machine; it is told again`;
    case 'token':
      return 'a bearer token; make another with `patchcord agent token`';
    case 'invite':
      return 'an open invite; make another';
    default:
      return `a record of kind ${kind}`;
  }
}

/** An agent's id is in its key, its name in its mail. */
async function restoreAgent(tx: CareTx, key: string, found: Findings): Promise<void> {
  const id = key.slice('agent/'.length);
  const page = await tx.scan({ from: `history/${id}/`, to: `history/${id}0`, reverse: true, limit: PAGE });
  const readable = page.find(({ opens }) => opens);
  if (!readable?.opens) {
    found.add('lost', `agent ${id}: add it again under its name`);
    return;
  }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const { ns, message } = readable.value as MailRecord;
  const { name } = message.from.id === id ? message.from : message.to;
  tx.put(key, { id, ns, name, lastSeenMs: 0, client: '' });
  found.add('mended', `agent ${name}, from its mail`);
}

function beyondMending(count: number): PatchcordError {
  return new PatchcordError(
    'store_damaged',
    `${count} records of the store do not open: it is of another home, or damaged beyond mending.`,
    'Nothing was changed. Put the store and its store.key back from one backup.',
  );
}
