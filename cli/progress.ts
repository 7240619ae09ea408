/** What is done sooner needs no word. */
const QUIET_MS = 3_000;

/** Bytes as people read them. */
export function sizeText(sizeBytes: number): string {
  if (sizeBytes < 1_000) return `${sizeBytes} bytes`;
  const units = ['KB', 'MB', 'GB'];
  let size = sizeBytes / 1_000;
  while (size >= 1_000 && units.length > 1) {
    size /= 1_000;
    units.shift();
  }
  return `${size.toFixed(size < 10 ? 1 : 0)} ${units[0]}`;
}

/** Passes chunks on, and tells every few seconds how many bytes went by, of how many where that is known. */
export async function* withProgress(
  chunks: AsyncIterable<Uint8Array>,
  tell: (text: string) => Promise<void>,
  totalBytes?: number,
  nowMs: () => number = () => performance.now(),
): AsyncGenerator<Uint8Array> {
  let sizeBytes = 0;
  let toldMs = nowMs();
  for await (const chunk of chunks) {
    yield chunk;
    sizeBytes += chunk.length;
    if (nowMs() - toldMs < QUIET_MS) continue;
    toldMs = nowMs();
    await tell(`${sizeText(sizeBytes)}${totalBytes === undefined ? '' : ` of ${sizeText(totalBytes)}`} …`);
  }
}
