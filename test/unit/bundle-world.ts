import type { BundleImportView } from '../../protocol/bundle-view.ts';
import type { TestMachine } from './wire.ts';

/** Bundles between machines of a test, as bytes in memory. */

export async function exported(machine: TestMachine, namespace = 'myproject'): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of await machine.bundles.export(namespace)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Gives a machine the bytes in pieces of that many. */
export async function imported(
  machine: TestMachine,
  bytes: Uint8Array,
  pieceBytes = 700,
): Promise<BundleImportView> {
  return machine.bundles.import(piecesOf(bytes, pieceBytes));
}

export async function* piecesOf(bytes: Uint8Array, pieceBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}

/** Where each item of a bundle starts, and last where it ends. */
export function itemStarts(bytes: Buffer): number[] {
  const starts = [bytes.indexOf(0x0a) + 1];
  for (let at = starts[0]!; at < bytes.length;) {
    at += 12 + bytes.readUInt32BE(at);
    starts.push(at);
  }
  return starts;
}
