import { inline } from '../mcp/frame.ts';
import { PatchcordError } from '../protocol/errors.ts';

/** The words that stand for a namespace's key: 256 bits and their checksum in BIP 39. */
const WORDS = 24;
const WORDS_PER_ROW = 4;
/** The longest word of BIP 39 has eight letters. */
const WORD_WIDTH = 8;
/** Far more than 24 words with their numbers; a bound for what is piped in by mistake. */
export const PHRASE_SIZE_BYTES_MAX = 4_096;

/** What `namespace create` prints once. */
export function recoveryText(namespace: string, phrase: string): string {
  const name = inline(namespace);
  return `Recovery words: when this machine is lost they make another one of ${name} its admin (\`patchcord namespace recover ${name}\`). They are shown this once and kept nowhere: write them on paper.\n\n${wordRows(phrase)}\n`;
}

/** Numbered and in rows, so that they can be copied by hand or by mouse; `readWords` takes them back as they are. */
export function wordRows(phrase: string): string {
  const cells = phrase
    .split(' ')
    .map((word, index) => `${String(index + 1).padStart(2)}. ${inline(word).padEnd(WORD_WIDTH)}`);
  const rows = Array.from({ length: Math.ceil(cells.length / WORDS_PER_ROW) }, (_, row) =>
    cells.slice(row * WORDS_PER_ROW, (row + 1) * WORDS_PER_ROW),
  );
  return rows.map((row) => `  ${row.join('  ').trimEnd()}`).join('\n');
}

/**
 * The phrase in what somebody typed: numbers before the words, commas, case and line breaks do not matter. Throws
 * `invalid_input`, which never repeats a word.
 */
export function readPhrase(text: string, command = 'patchcord namespace create'): string {
  const words = wordsOf(text);
  if (words.length !== WORDS) {
    throw new PatchcordError(
      'invalid_input',
      `There are ${words.length} words, not ${WORDS}.`,
      `Give the words that \`${command}\` printed, in their order.`,
    );
  }
  return words.join(' ');
}

function wordsOf(text: string): string[] {
  return text
    .normalize('NFKD')
    .toLowerCase()
    .split(/[\s,;]+/u)
    .map((part) => part.replace(/^\d{1,2}[.):]?/u, ''))
    .filter((word) => word !== '');
}

/** What a terminal gives until the words are complete, so that nobody has to know how to end the input. */
export async function* untilComplete(input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let text = '';
  for await (const part of input) {
    yield part;
    // Letters and digits are all that counts here, so a character cut in two does no harm.
    text += Buffer.from(part).toString('latin1');
    if (text.endsWith('\n') && wordsOf(text).length >= WORDS) return;
  }
}
