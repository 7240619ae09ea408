import type { BundleImportView } from '../../protocol/bundle-view.ts';

/**
 * Bundles of this machine's namespaces; see protocol/bundle.ts. Implemented in process by daemon/machine.ts and over
 * the socket by daemon/client. Every method throws PatchcordError and nothing else.
 */
export interface Bundles {
  /** The bytes of a bundle, made while they are read. Throws `unknown_namespace`, `not_member`. */
  export(namespace: string): Promise<AsyncIterable<Uint8Array>>;
  /** Takes what a bundle brings. Throws what daemon/bundle/import.ts says. */
  import(chunks: AsyncIterable<Uint8Array>): Promise<BundleImportView>;
}
