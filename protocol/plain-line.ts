/** Text of a person, or of a folder, as one line: no control characters, single spaces, at most so many UTF-16 units. */
export function plainLine(text: string, lengthMax: number): string {
  const line = text
    .toWellFormed()
    .replace(/[\p{C}\s]+/gu, ' ')
    .trim();
  // The cut may leave half a surrogate pair behind.
  return line
    .slice(0, lengthMax)
    .replace(/[\ud800-\udbff]$/, '')
    .trim();
}
