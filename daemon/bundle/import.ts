import { BundleReader, type BundleContent, type BundleItemOf } from '../../protocol/bundle.ts';
import type { BundleImportView } from '../../protocol/bundle-view.ts';
import { hex } from '../../protocol/digest.ts';
import { readAddress } from '../../protocol/envelope.ts';
import { asPatchcordError, PatchcordError, type ErrorCode } from '../../protocol/errors.ts';
import { BUNDLE_SIZE_BYTES_MAX } from '../../protocol/limits.ts';
import {
  addStatements,
  findStatement,
  type Added,
  type NamespaceLog,
} from '../../protocol/membership/log.ts';
import type { SignedStatement } from '../../protocol/membership/statement.ts';
import { readPrekey, supersedes } from '../../protocol/prekey.ts';
import type { Signer } from '../../protocol/signing.ts';
import type { Clock } from '../clock.ts';
import type { Directory } from '../directory/directory.ts';
import { readStatements } from '../directory/pages.ts';
import { isoTime } from '../messenger/views.ts';
import type { CarriedMail } from '../postoffice/carried.ts';
import { withdrawalOf } from '../postoffice/deposits.ts';
import { outboxEntries } from '../postoffice/outbox-entries.ts';
import type { Postoffice } from '../postoffice/postoffice.ts';
import type { MailStore } from '../store/mail-store.ts';

/** Statements that are added at a time, and that may wait for others before them. */
const STATEMENTS_AT_ONCE = 500;
/** Bytes that are read and thrown away after the last that counts, so that whoever sends them hears the answer. */
const DRAINED_SIZE_BYTES_MAX = BUNDLE_SIZE_BYTES_MAX;

export interface ImportParts {
  directory: Directory;
  postoffice: Postoffice;
  mail: MailStore;
  signer: Signer;
  clock: Clock;
  /** A machine's newer prekey is known now. */
  onPrekey: (machine: string) => void;
}

/**
 * Takes what a bundle brings, item by item as its bytes come: what is wrong with one stops no other, and what came
 * before a cut counts. Throws `invalid_input` for what is no bundle, `protocol_version`, `unknown_namespace`, and
 * `not_member` when this machine is out, by what it knew or by what the bundle says; then no mail was taken.
 */
export async function importBundle(
  parts: ImportParts,
  chunks: AsyncIterable<Uint8Array>,
  reader = new BundleReader(),
): Promise<BundleImportView> {
  let taken: Intake | undefined;
  let failure: unknown;
  let drainedBytes = 0;
  for await (const chunk of chunks) {
    if (failure !== undefined || reader.over) {
      drainedBytes += chunk.length;
      if (drainedBytes > DRAINED_SIZE_BYTES_MAX) break;
      // Something after the end makes it another ending.
      if (failure === undefined) reader.push(chunk);
      continue;
    }
    try {
      const contents = reader.push(chunk);
      if (reader.head) taken ??= new Intake(parts, reader.head);
      for (const content of contents) await taken!.take(content);
    } catch (error) {
      failure = error;
    }
  }
  if (failure !== undefined) throw failure;
  const ending = reader.finish();
  taken ??= new Intake(parts, reader.head!);
  const counts = await taken.finish();
  return { ...counts, ending, damaged: reader.damaged };
}

/** What one bundle brings into this machine. */
class Intake {
  readonly #parts: ImportParts;
  readonly #head: BundleItemOf<'head'>;
  readonly #carried: CarriedMail;
  /** Read, and not added yet. */
  #statements: Uint8Array[] = [];
  /** They name others that were not seen. */
  #waiting: SignedStatement[] = [];
  /** By machine, the withdrawals of this machine's own mail for it. */
  readonly #own = new Map<string, Set<string>>();
  readonly #refusals = new Map<ErrorCode, number>();
  readonly #counts = {
    statements: { new: 0, known: 0, refused: 0 },
    prekeys: 0,
    messages: { taken: 0, known: 0, refused: 0, held: 0 },
    receipts: { new: 0, known: 0 },
  };

  constructor(parts: ImportParts, head: BundleItemOf<'head'>) {
    this.#parts = parts;
    this.#head = head;
    this.#carried = parts.postoffice.carried();
    this.#log();
  }

  async take(content: BundleContent): Promise<void> {
    if (content.t === 'statement') {
      this.#statements.push(content.statement);
      if (this.#statements.length >= STATEMENTS_AT_ONCE) await this.#addStatements();
      return;
    }
    await this.#addStatements();
    this.#parts.directory.assertMember(this.#log());
    if (content.t === 'prekey') await this.#prekey(content.prekey);
    else await this.#mail(content);
  }

  async finish(): Promise<Omit<BundleImportView, 'ending' | 'damaged'>> {
    await this.#addStatements();
    this.#refuse('statements', 'statement_invalid', this.#waiting.length);
    const { directory } = this.#parts;
    const { ns, from, made_at: madeAtMs } = this.#head;
    const log = this.#log();
    directory.assertMember(log);
    return {
      namespace: log.name,
      from: directory.labelOf(ns, from),
      made_at: isoTime(madeAtMs),
      ...this.#counts,
      refusals: Object.fromEntries(this.#refusals),
    };
  }

  /** The log as it is now. Throws `unknown_namespace`. */
  #log(): NamespaceLog {
    const log = this.#parts.directory.logs.get(this.#head.ns);
    if (log) return log;
    throw new PatchcordError(
      'unknown_namespace',
      `A bundle of namespace ${this.#head.ns.slice(0, 12)}…, which this machine has never joined.`,
      'A bundle lets nobody in: join once with a ticket (`patchcord namespace invite` on a member, `namespace join` here) over any link, then import it again.',
    );
  }

  #refuse(what: 'statements' | 'messages' | undefined, code: ErrorCode, count = 1): void {
    if (count === 0) return;
    if (what !== undefined) this.#counts[what].refused += count;
    this.#refusals.set(code, (this.#refusals.get(code) ?? 0) + count);
  }

  async #addStatements(): Promise<void> {
    if (this.#statements.length === 0) return;
    const list = this.#statements.splice(0);
    const { directory, clock } = this.#parts;
    const read = await readStatements(list, clock, ({ code }) => this.#refuse('statements', code));
    let told: Added | undefined;
    await directory.changeLog(this.#head.ns, (now) => {
      if (!now) return undefined;
      this.#counts.statements.known += read.filter(({ hash }) => findStatement(now, hash)).length;
      told = addStatements(now, [...this.#waiting, ...read]);
      return told.added.length === 0 ? undefined : { log: told.log, added: told.added };
    });
    this.#counts.statements.new += told?.added.length ?? 0;
    for (const { code } of told?.refused ?? []) this.#refuse('statements', code);
    const waiting = told?.waiting ?? [];
    this.#waiting = waiting.slice(0, STATEMENTS_AT_ONCE);
    this.#refuse('statements', 'too_many', waiting.length - this.#waiting.length);
  }

  async #prekey(bytes: Uint8Array): Promise<void> {
    const { directory, onPrekey } = this.#parts;
    try {
      const prekey = readPrekey(bytes);
      const { machine } = prekey;
      if (machine === directory.self.peerId) return;
      if (!this.#log().members.has(machine)) {
        throw new PatchcordError('not_member', 'A prekey of a machine that is no member.');
      }
      // An older one is nothing wrong in a file that lay about.
      if (supersedes(directory.prekeys.get(machine), prekey) !== 'newer') return;
      await directory.learnPrekey(prekey);
      this.#counts.prekeys += 1;
      onPrekey(machine);
    } catch (error) {
      this.#refuse(undefined, asPatchcordError(error).code);
    }
  }

  async #mail({ envelope, withdraw }: BundleItemOf<'mail'>): Promise<void> {
    const { directory, postoffice } = this.#parts;
    try {
      const { ns, to } = readAddress(envelope);
      if (ns !== this.#head.ns) throw new PatchcordError('not_member', 'Mail of another namespace.');
      if (to === directory.self.peerId) await this.#letter(envelope);
      // This machine's own, on its way round: it waits in the outbox.
      else if (await this.#isOwn(to, withdraw)) this.#counts.messages.known += 1;
      else this.#counts.messages[await postoffice.mailbox.holdCarried(ns, { envelope, withdraw })] += 1;
    } catch (error) {
      this.#refuse('messages', asPatchcordError(error).code);
    }
  }

  async #letter(envelope: Uint8Array): Promise<void> {
    const { messages, receipts } = this.#counts;
    const outcome = await this.#carried.take(envelope);
    if (outcome.kind === 'refused') this.#refuse('messages', outcome.code);
    else if (outcome.kind === 'letter') messages[outcome.outcome] += 1;
    else {
      receipts.new += outcome.fresh;
      receipts.known += outcome.count - outcome.fresh;
    }
  }

  async #isOwn(to: string, withdraw: Uint8Array): Promise<boolean> {
    let own = this.#own.get(to);
    if (!own) {
      own = await this.#findOwn(to);
      this.#own.set(to, own);
    }
    return own.has(hex(withdraw));
  }

  async #findOwn(to: string): Promise<Set<string>> {
    const { mail, signer } = this.#parts;
    const own = new Set<string>();
    for await (const entry of outboxEntries(mail, to)) own.add(hex(withdrawalOf(signer, to, entry)));
    return own;
  }
}
