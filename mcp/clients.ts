import { LABEL_LENGTH_MAX, WAIT_SECONDS_MAX } from '../protocol/limits.ts';
import { inline } from './frame.ts';

/** What an MCP client says of itself in `initialize` or in a request's `_meta`. */
export interface ClientInfo {
  name: string;
  version?: string | undefined;
}

export const CLIENT_UNKNOWN = 'unknown';

/** Name and version in one line, e.g. "claude-code 2.1.330". */
export function clientLabel(info: ClientInfo | undefined): string {
  if (!info) return CLIENT_UNKNOWN;
  const label = inline(`${info.name} ${info.version ?? ''}`.trim(), LABEL_LENGTH_MAX - 1);
  return label || CLIENT_UNKNOWN;
}

/**
 * How long one tool call may take before the client gives it up, a margin taken off, in seconds. `progress` holds
 * where the client asked for progress and resets its clock by it. As documented in November 2026, clients give up
 * after: claude.ai about 60 s, Claude Desktop about 4 min, Codex 300 s whatever the progress, Claude Code 5 min
 * (HTTP) or 30 min (stdio) without progress, OpenCode its `timeout` field without progress.
 */
const SAFE_WAITS: readonly { client: RegExp; seconds: number; progress: number }[] = [
  { client: /^claude[ _-]?code\b/iu, seconds: 280, progress: WAIT_SECONDS_MAX },
  { client: /^opencode\b/iu, seconds: 45, progress: WAIT_SECONDS_MAX },
  { client: /^codex\b/iu, seconds: 280, progress: 280 },
  { client: /^claude[ _-]?desktop\b/iu, seconds: 200, progress: 200 },
];

/** Web clients and all that the table does not know. */
const SAFE_WAIT_UNKNOWN_SECONDS = 45;

/** The longest wait, in seconds, that the client with this label survives. */
export function safeWaitSeconds(client: string, reportsProgress: boolean): number {
  const known = SAFE_WAITS.find((row) => row.client.test(client));
  if (!known) return SAFE_WAIT_UNKNOWN_SECONDS;
  return reportsProgress ? known.progress : known.seconds;
}
