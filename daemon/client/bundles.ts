import { BUNDLE_TYPE } from '../../protocol/bundle.ts';
import { zBundleImportView, type BundleImportView } from '../../protocol/bundle-view.ts';
import type { Bundles } from '../api/bundles.ts';
import type { Wire } from './wire.ts';

/** The Bundles contract over the socket; both ways can be given up. */
export interface BundlesClient extends Bundles {
  export(namespace: string, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
  import(chunks: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<BundleImportView>;
}

export function createBundles(wire: Wire): BundlesClient {
  return {
    export: async (namespace, signal) =>
      wire.drink({ method: 'GET', path: `/api/namespaces/${encodeURIComponent(namespace)}/bundle`, signal }),
    import: async (chunks, signal) =>
      wire.pour({ path: '/api/bundles', type: BUNDLE_TYPE, chunks, answer: zBundleImportView, signal }),
  };
}
