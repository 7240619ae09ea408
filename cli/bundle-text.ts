import { inline } from '../mcp/frame.ts';
import type { BundleImportView } from '../protocol/bundle-view.ts';
import { sizeText } from './progress.ts';

/** What an export wrote. Of the letters nobody but their recipients can tell which are messages. */
export interface BundleExportView {
  namespace: string;
  /** `-` for stdout. */
  file: string;
  size_bytes: number;
  statements: number;
  prekeys: number;
  letters: number;
  /** Letters that stayed behind: no prekey of their machine is known here, or none that is fresh enough. */
  unsealed: number;
  /** Items that stayed behind because the bundle was full. */
  left_out: number;
}

export function exportText(view: BundleExportView): string {
  const ns = inline(view.namespace);
  const { statements, prekeys, letters } = view;
  const what = `${some(letters, 'sealed letter')}, ${some(prekeys, 'prekey')}, ${some(statements, 'statement')} of the log`;
  const lines = [`Wrote ${inline(view.file)} (${sizeText(view.size_bytes)}): ${what}.`];
  if (view.unsealed > 0) {
    lines.push(
      `${some(view.unsealed, 'letter')} stayed behind: this machine knows no fresh key of theirs. Import a bundle of ${ns} from there first.`,
    );
  }
  if (view.left_out > 0) {
    lines.push(`The bundle is full: ${view.left_out} more wait for the next, once this one was answered.`);
  }
  lines.push(
    `On another machine of ${ns}: \`patchcord bundle import FILE\`. Whoever has the file can read who belongs to ${ns}, but no mail.`,
  );
  return lines.join('\n');
}

/** What to do about the refusals that a person can do something about. */
const ADVICE: Partial<Record<string, string>> = {
  prekey_unknown: 'sealed to a key that is gone: the sender needs a newer bundle from here',
  peer_unreachable: 'the log does not say yet that their sender lives where they come from',
  unknown_recipient: 'for an agent that does not live here any more',
  mailbox_full: 'no room: try again when some was read or taken on',
  not_member: 'of a machine that is no member',
  disk_full: 'the disk is full',
};

const ENDINGS: Record<BundleImportView['ending'], string | undefined> = {
  whole: undefined,
  cut: 'The file ends too early. What came before counts; import a whole copy when you have one.',
  altered:
    'The file is damaged or was altered. What could be read and checked counts; import a whole copy when you have one.',
  too_large: 'The file is longer than a bundle may be. What came first counts.',
};

export function importText(view: BundleImportView): string {
  const { statements, messages, receipts } = view;
  const ns = inline(view.namespace);
  const lines = [
    `A bundle of ${ns}, made on ${inline(view.from)} at ${inline(view.made_at)}.`,
    `  messages    ${messages.taken} taken, ${messages.known} known already, ${messages.held} held for other machines, ${messages.refused} refused`,
    `  receipts    ${receipts.new} new, ${receipts.known} known already`,
    `  log         ${some(statements.new, 'new statement')}, ${statements.known} known already, ${statements.refused} refused`,
    `  prekeys     ${view.prekeys} newer`,
  ];
  for (const [code, count] of Object.entries(view.refusals)) {
    lines.push(`  refused     ${count}: ${ADVICE[code] ?? inline(code)}`);
  }
  const ending = ENDINGS[view.ending];
  if (ending !== undefined) lines.push(ending);
  if (messages.taken > 0) {
    lines.push(`The senders hear of it by \`patchcord bundle export ${ns} FILE\`, or when a link comes up.`);
  }
  return lines.join('\n');
}

function some(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}
