import { readFileSync } from 'node:fs';

/**
 * The version in package.json, which lies one folder further up when this runs from dist.
 */
export function packageVersion(): string {
  for (const path of ['../package.json', '../../package.json']) {
    try {
      const found: unknown = JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8'));
      if (isPatchcord(found)) return found.version;
    } catch {
      // Not here; the next one, then.
    }
  }
  return '0.0.0';
}

function isPatchcord(found: unknown): found is { version: string } {
  return (
    typeof found === 'object' &&
    found !== null &&
    'name' in found &&
    found.name === 'patchcord' &&
    'version' in found &&
    typeof found.version === 'string'
  );
}
