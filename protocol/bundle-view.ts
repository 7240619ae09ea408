import { z } from 'zod';

const zCount = z.number().int().min(0);

/** What the import of a bundle came to. */
export const zBundleImportView = z.object({
  namespace: z.string(),
  /** Label of the machine that made it; proved only when `ending` is `whole`. */
  from: z.string(),
  made_at: z.string(),
  /** Whether it was there to its end; see BundleEnding in bundle.ts. What came before counts in any case. */
  ending: z.enum(['whole', 'cut', 'altered', 'too_large']),
  /** Items that could not be read. */
  damaged: zCount,
  statements: z.object({ new: zCount, known: zCount, refused: zCount }),
  /** Newer prekeys of other machines. */
  prekeys: zCount,
  /** `held` are kept here for other machines. */
  messages: z.object({ taken: zCount, known: zCount, refused: zCount, held: zCount }),
  receipts: z.object({ new: zCount, known: zCount }),
  /** Why items were refused: how many by which error code. */
  refusals: z.record(z.string(), zCount),
});
export type BundleImportView = z.infer<typeof zBundleImportView>;
