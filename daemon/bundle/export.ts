import { BundleWriter, type BundleContent } from '../../protocol/bundle.ts';
import { statements, type NamespaceLog } from '../../protocol/membership/log.ts';
import { isUsable } from '../../protocol/prekey.ts';
import type { Signer } from '../../protocol/signing.ts';
import type { Clock } from '../clock.ts';
import type { Directory } from '../directory/directory.ts';
import { outboxEntries } from '../postoffice/outbox-entries.ts';
import type { Postoffice } from '../postoffice/postoffice.ts';
import type { PrekeyRing } from '../prekeys/prekey-ring.ts';
import type { MailStore } from '../store/mail-store.ts';

export interface ExportParts {
  directory: Directory;
  prekeys: PrekeyRing;
  postoffice: Postoffice;
  mail: MailStore;
  signer: Signer;
  clock: Clock;
}

/**
 * The bytes of a bundle of a namespace: its log, the prekeys of its members, this machine's own mail for them, and
 * what it holds for them. Changes nothing: nobody has signed for any of it yet, so no message climbs.
 */
export async function* exportBundle(
  parts: ExportParts,
  log: NamespaceLog,
  writer = new BundleWriter(),
): AsyncGenerator<Uint8Array> {
  const { signer, clock } = parts;
  yield writer.start({ ns: log.id, from: signer.peerId, made_at: clock.now() });
  const behind = { unsealed: 0, left_out: 0 };
  for await (const content of contents(parts, log, behind)) {
    const bytes = behind.left_out === 0 ? writer.item(content) : undefined;
    if (bytes) yield bytes;
    else behind.left_out += 1;
  }
  yield writer.end(behind, signer);
}

/** `behind` is told what cannot be sealed, and tells when the bundle is full: then what is left is only counted. */
async function* contents(
  parts: ExportParts,
  log: NamespaceLog,
  behind: { unsealed: number; left_out: number },
): AsyncGenerator<BundleContent> {
  const { directory, prekeys, postoffice } = parts;
  for (const { bytes } of statements(log)) yield { t: 'statement', statement: bytes };
  yield { t: 'prekey', prekey: prekeys.current.bytes };
  for (const machine of log.members.keys()) {
    const prekey = directory.prekeys.get(machine);
    if (prekey && machine !== directory.self.peerId) yield { t: 'prekey', prekey: prekey.bytes };
  }
  yield* ownMail(parts, log, behind);
  for await (const { envelope, withdraw } of postoffice.mailbox.carry(log.id)) {
    yield { t: 'mail', envelope, withdraw };
  }
}

async function* ownMail(
  { directory, postoffice, mail, clock }: ExportParts,
  log: NamespaceLog,
  behind: { unsealed: number; left_out: number },
): AsyncGenerator<BundleContent> {
  for (const machine of await mail.outboxMachines()) {
    if (machine === directory.self.peerId || !directory.shares(log.id, machine)) continue;
    for await (const { ns, number } of outboxEntries(mail, machine)) {
      if (ns !== log.id) continue;
      const prekey = directory.prekeys.get(machine);
      if (!prekey || !isUsable(prekey, clock.now())) behind.unsealed += 1;
      else if (behind.left_out > 0) behind.left_out += 1;
      else {
        const sealed = await postoffice.carry(machine, number);
        if (sealed) yield { t: 'mail', ...sealed };
      }
    }
  }
}
