import { PROJECT_LENGTH_MAX, STATUS_LENGTH_MAX } from '../../protocol/limits.ts';
import { plainLine } from '../../protocol/plain-line.ts';
import type { AgentSettings } from '../api/answers.ts';
import type { LocalAgent } from './directory-store.ts';

/** The agent with what its user has set; what the settings do not name stays. Too long texts are cut. */
export function withSettings(agent: LocalAgent, settings: AgentSettings): LocalAgent {
  const after = { ...agent };
  if (settings.status !== undefined) {
    const status = plainLine(settings.status, STATUS_LENGTH_MAX);
    if (status === '') delete after.status;
    else after.status = status;
  }
  if (settings.dnd === true) after.dnd = true;
  else if (settings.dnd === false) delete after.dnd;
  if (settings.project === null) delete after.project;
  else if (settings.project !== undefined) after.project = plainLine(settings.project, PROJECT_LENGTH_MAX);
  if (settings.share_branch !== undefined) after.branch = settings.share_branch;
  return after;
}
