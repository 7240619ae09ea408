import { DirectoryStore } from '../../daemon/directory/directory-store.ts';
import { Journal } from '../../daemon/store/journal.ts';
import { createKvMailStore } from '../../daemon/store/kv-mail-store.ts';
import { newNotice } from '../unit/new-notice.ts';
import type { MailStore } from '../../daemon/store/mail-store.ts';
import { createRecordSeal } from '../../daemon/store/record-seal.ts';
import { addStatements, openLog, type NamespaceLog } from '../../protocol/membership/log.ts';
import { readStatement } from '../../protocol/membership/statement.ts';
import type { SimNode } from './node.ts';

/** What lies on a machine's disk, read past the machine; it may run meanwhile. Takes no virtual time. */

export function mailOn(node: SimNode): MailStore {
  return createKvMailStore(journalOn(node), node.signer, newNotice);
}

export function directoryOn(node: SimNode): ReturnType<DirectoryStore['load']> {
  return new DirectoryStore(journalOn(node)).load();
}

/** Logs that were read, and the names of the statements of which. */
const logs = new WeakMap<SimNode, Map<string, { of: string; log: NamespaceLog | undefined }>>();

/** A namespace log as a machine has it; undefined when it has none. */
export async function logOn(node: SimNode, ns: string): Promise<NamespaceLog | undefined> {
  const of = node.disk.keys(`statement/${ns}/`).join();
  const read = logs.get(node) ?? new Map<string, { of: string; log: NamespaceLog | undefined }>();
  logs.set(node, read);
  const known = read.get(ns);
  if (known?.of === of) return known.log;
  const log = await readLog(node, ns);
  read.set(ns, { of, log });
  return log;
}

async function readLog(node: SimNode, ns: string): Promise<NamespaceLog | undefined> {
  const { statements } = await directoryOn(node);
  const own = statements.filter((statement) => statement.ns === ns);
  const signed = own.map(({ bytes }) => readStatement(bytes, { verified: true }));
  const genesis = signed.find(({ hash }) => hash === ns);
  return genesis && addStatements(openLog(genesis), signed).log;
}

function journalOn(node: SimNode): Journal {
  const neverSeals = () => {
    throw new Error('whoever reads a disk does not write to it');
  };
  return new Journal(node.disk, createRecordSeal(node.storeKey, neverSeals));
}
