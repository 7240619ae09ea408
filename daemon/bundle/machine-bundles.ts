import { parseName } from '../../protocol/address.ts';
import type { Bundles } from '../api/bundles.ts';
import { exportBundle, type ExportParts } from './export.ts';
import { importBundle, type ImportParts } from './import.ts';

/** The bundles of this machine, in process. */
export function createBundles(parts: ExportParts & ImportParts): Bundles {
  const { directory, postoffice } = parts;
  return {
    async export(namespace) {
      const log = directory.namespaceByName(parseName(namespace, 'namespace name'));
      directory.assertMember(log);
      await postoffice.readTold();
      return exportBundle(parts, log);
    },
    import: (chunks) => importBundle(parts, chunks),
  };
}
