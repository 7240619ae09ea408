import { inline } from '../mcp/frame.ts';
import type { LocalAgentView, MemberView, NamespaceView, StatusView } from '../protocol/admin-views.ts';

/** What the daemon tells of itself, for people. Names come from other machines, so all of them are escaped. */

export function statusText(status: StatusView): string {
  return [
    `Machine "${inline(status.machine)}" runs (process ${status.pid}, version ${inline(status.version)}).`,
    `Home:     ${inline(status.home, 4_096)}`,
    `Peer id:  ${inline(status.peer_id)}`,
    `API:      ${inline(status.http)}, ${inline(status.socket, 4_096)}`,
    `Listens:  ${status.listen.map((address) => inline(address)).join('\n          ') || 'nowhere'}`,
    ...(status.behind_nat ? [`Behind:   a NAT, seen as ${inline(status.seen_as ?? '')}`] : []),
    ...(status.damage ? [damageLine(status.damage)] : []),
    block('Namespaces', status.namespaces.map(namespaceLine)),
    block('Agents', status.agents.map(agentLine)),
    block('Machines', status.links.map(linkLine)),
  ].join('\n');
}

/** Said aloud until somebody has acknowledged it. */
function damageLine({ since, findings }: NonNullable<StatusView['damage']>): string {
  const told = findings.map(({ kind, what, count }) => `${kind}: ${inline(what)} (${count})`);
  return `DAMAGED:  the store, noticed ${inline(since)}; ${told.join('; ')}. \`patchcord doctor\` says what to do.`;
}

export function namespacesText(namespaces: readonly NamespaceView[]): string {
  if (namespaces.length === 0) {
    return 'No namespaces. Make one with `patchcord namespace create NAME`, or join one with a ticket.';
  }
  return namespaces.map(namespaceLine).join('\n');
}

export function agentsText(agents: readonly LocalAgentView[]): string {
  if (agents.length === 0) return 'No agents. Add one with `patchcord agent add NAME@NS`.';
  return agents.map(agentLine).join('\n');
}

export function membersText(members: readonly MemberView[]): string {
  return members.map(memberLine).join('\n');
}

function block(heading: string, lines: readonly string[]): string {
  const indented = lines.map((line) => `  ${line.replaceAll('\n', '\n  ')}`);
  return [`${heading}:${lines.length === 0 ? ' none' : ''}`, ...indented].join('\n');
}

function namespaceLine(view: NamespaceView): string {
  if (view.role === 'removed') return removedLine(view);
  const agents =
    view.agents.length === 0 ? 'no agents' : `agents: ${view.agents.map((name) => inline(name)).join(', ')}`;
  return `${inline(view.namespace)}: ${view.role}, ${plural(view.members, 'machine')}, ${agents}`;
}

function removedLine({ namespace, removed }: NamespaceView): string {
  const name = inline(namespace);
  if (removed === undefined) return `${name}: this machine was removed`;
  if (removed.left) return `${name}: this machine left at ${inline(removed.at)}`;
  const reason = removed.reason === undefined ? '' : ` (reason: "${inline(removed.reason)}")`;
  return `${name}: removed at ${inline(removed.at)} by "${inline(removed.by)}"${reason}; \`namespace leave\` forgets it`;
}

/** One agent, and on a line below it why others cannot reach it, where that is so. */
function agentLine(view: LocalAgentView): string {
  const lastSeen =
    view.last_seen === null ? 'never connected' : `offline, last seen ${inline(view.last_seen)}`;
  const here = view.online ? `online with ${inline(view.client)}` : lastSeen;
  const presence = `${here}${tellsText(view)}`;
  const line = `${inline(view.agent)}: ${presence}; ${view.pending} pending, ${view.deferred} deferred${doubtText(view)}`;
  return [line, ...nameHeldLines(view)].join('\n');
}

/** What it tells others of itself. */
function tellsText({ state, status, project, branch, share_branch: shares }: LocalAgentView): string {
  const parts = [
    ...(state === undefined ? [] : [state === 'dnd' ? 'do not disturb' : state]),
    ...(status === undefined ? [] : [`says "${inline(status)}"`]),
    ...(project === undefined ? [] : [`project "${inline(project)}"`]),
    ...(branch === undefined ? [] : [`branch "${inline(branch)}"`]),
    ...(shares === undefined || branch !== undefined ? [] : [`branch ${shares ? 'may be' : 'is not'} told`]),
  ];
  return parts.map((part) => `, ${part}`).join('');
}

function doubtText({ in_doubt }: LocalAgentView): string {
  if (in_doubt === undefined) return '';
  return `, ${in_doubt} perhaps read before the restore (their senders' machines are asked)`;
}

/** Says what to do about a name that another machine's agent had first; nothing when it is this one's own. */
export function nameHeldLines({ agent, name_held_by }: LocalAgentView): string[] {
  if (name_held_by === undefined) return [];
  const name = inline(agent);
  return [
    `  "${inline(name_held_by)}" had this name first, so mail for ${name} goes there. Remove this one with \`patchcord agent remove ${name}\` and add it under another name.`,
  ];
}

function memberLine(view: MemberView): string {
  const presence = view.self ? 'this machine' : view.online ? 'online' : 'offline';
  const agents = view.agents.length === 0 ? '' : `; ${view.agents.map((name) => inline(name)).join(', ')}`;
  return `${inline(view.machine)} (${view.role}, ${presence}) ${inline(view.peer_id)}${agents}`;
}

function linkLine(view: StatusView['links'][number]): string {
  const why = view.last_error === undefined ? '' : ` (${inline(view.last_error)})`;
  const at = `${view.punched ? 'punched through NAT, ' : ''}at ${inline(view.address ?? 'an unknown address')}`;
  const way = view.relay === undefined ? at : `via relay ${inline(view.relay)}`;
  const link = view.up ? `linked ${way}` : `not linked${why}`;
  const held = view.held === 0 ? '' : `, ${view.held} held for it as a mailbox`;
  return `${inline(view.machine)}: ${link}; ${view.queued} queued${held}`;
}

function plural(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
