import { distance } from 'fastest-levenshtein';
import { PatchcordError } from './errors.ts';
import { NAME_LENGTH_MAX, THREAD_LENGTH_MAX } from './limits.ts';

/** An agent's address in words: `name@namespace`, both lower-cased. */
export interface Address {
  name: string;
  namespace: string;
}

/** What an agent or a namespace may be called, after lower-casing. */
export const NAME_PATTERN = /^[a-z0-9_.-]{1,120}$/;

/** The canonical form of an agent or namespace name; throws `invalid_name`. */
export function parseName(text: string, what: 'agent name' | 'namespace name'): string {
  const name = text.trim().toLowerCase();
  if (!NAME_PATTERN.test(name)) {
    throw new PatchcordError(
      'invalid_name',
      `Not a valid ${what}: ${JSON.stringify(text.slice(0, NAME_LENGTH_MAX + 10))}.`,
      `Use 1 to ${NAME_LENGTH_MAX} of the characters a-z, 0-9, dot, dash and underscore.`,
    );
  }
  return name;
}

/**
 * `name@namespace`, or `name` alone when a default namespace is given. Throws `invalid_name`.
 */
export function parseAddress(text: string, namespaceDefault?: string): Address {
  const [name = '', namespace = namespaceDefault, ...rest] = text.trim().split('@');
  if (namespace === undefined || rest.length > 0) {
    throw new PatchcordError(
      'invalid_name',
      `Not an agent address: ${JSON.stringify(text.slice(0, 2 * NAME_LENGTH_MAX))}.`,
      'Write name@namespace, for example backend@myproject.',
    );
  }
  return { name: parseName(name, 'agent name'), namespace: parseName(namespace, 'namespace name') };
}

export function formatAddress(address: Address): string {
  return `${address.name}@${address.namespace}`;
}

/** Comma-separated recipients: trimmed, duplicates removed, order kept. Throws `invalid_name` when there is none. */
export function parseRecipients(text: string, namespaceDefault: string): Address[] {
  const parts = text.split(',').map((part) => part.trim());
  const named = parts.filter((part) => part !== '');
  if (named.length === 0) {
    throw new PatchcordError(
      'invalid_name',
      'to_agent names nobody.',
      'Give an agent name, or several separated by commas.',
    );
  }
  const seen = new Map<string, Address>();
  for (const part of named) {
    const address = parseAddress(part, namespaceDefault);
    const key = formatAddress(address);
    if (!seen.has(key)) seen.set(key, address);
  }
  return [...seen.values()];
}

/** Up to `most` of the known names that look like the wanted one, nearest first. */
export function nearestNames(wanted: string, known: readonly string[], most = 3): string[] {
  const ranked = known.map((name) => ({ name, steps: distance(wanted, name) }));
  const near = ranked.filter(
    ({ name, steps }) => steps <= Math.max(2, Math.ceil(Math.max(name.length, wanted.length) / 2)),
  );
  near.sort((a, b) => a.steps - b.steps || (a.name < b.name ? -1 : 1));
  return near.slice(0, most).map(({ name }) => name);
}

/**
 * A thread's slug: lower case, runs of anything but letters, digits, dot, dash and underscore become one dash.
 * The empty string means no thread.
 */
export function threadSlug(text: string): string {
  const slug = text
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}._-]+/gu, '-')
    .replace(/^-+|-+$/g, '');
  if (slug.length > THREAD_LENGTH_MAX) {
    throw new PatchcordError(
      'invalid_input',
      `The thread name is longer than ${THREAD_LENGTH_MAX} characters.`,
      'Use a short slug such as "auth-migration".',
    );
  }
  return slug;
}
