/**
 * How many columns text takes on a terminal, near enough for tables: East Asian wide characters and emoji take two
 * (Unicode Standard Annex 11), marks that combine take none.
 */
const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1f64f}\u{1f680}-\u{1f6ff}\u{1f900}-\u{1f9ff}\u{20000}-\u{3fffd}]/u;
const NARROWLESS = /[\p{Mn}\p{Me}\p{Cf}]/u;

export function widthOf(text: string): number {
  let width = 0;
  for (const char of text) width += columnsOf(char);
  return width;
}

/** The text in exactly so many columns: filled with blanks, or cut with a sign that it was. */
export function fit(text: string, columns: number): string {
  const width = widthOf(text);
  if (width <= columns) return text + ' '.repeat(columns - width);
  if (columns <= 0) return '';
  let shown = '';
  let used = 0;
  for (const char of text) {
    const more = columnsOf(char);
    if (used + more > columns - 1) break;
    shown += char;
    used += more;
  }
  return `${shown}…${' '.repeat(columns - 1 - used)}`;
}

function columnsOf(char: string): number {
  if (NARROWLESS.test(char)) return 0;
  return WIDE.test(char) ? 2 : 1;
}
