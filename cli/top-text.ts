import { inline } from '../mcp/frame.ts';
import type { TopView } from '../protocol/top-view.ts';
import { fit, widthOf } from './display-width.ts';

/**
 * The live view as lines of a terminal. Pure. Everything in it that a peer wrote or named is escaped here, before it is
 * measured, so that nothing can move the cursor or write anywhere else.
 */

type AgentRow = TopView['agents'][number];
type MachineRow = TopView['machines'][number];

interface Column<Row> {
  heading: string;
  cell: (row: Row) => string;
  /** Widest that it gets. */
  most: number;
  /** Of too many columns those of the highest number go first. */
  rank: number;
}

const GAP = 2;
const LAST_WIDTH_MIN = 20;

export function topLines(view: TopView, { columns, rows }: { columns: number; rows: number }): string[] {
  const lines = [
    ...headLines(view),
    ...view.namespaces.flatMap((namespace) => namespaceLines(view, namespace, columns)),
    ...(view.agents_left_out > 0 ? [`${view.agents_left_out} more agents are not shown.`] : []),
    '',
    ...machineLines(view, columns),
  ];
  const shown =
    lines.length <= rows
      ? lines
      : [...lines.slice(0, Math.max(0, rows - 1)), `… ${lines.length - rows + 1} more lines`];
  return shown.map((line) => fit(line.trimEnd(), columns).trimEnd());
}

/** The same without a terminal to fit into. */
export function topText(view: TopView): string {
  return topLines(view, { columns: 200, rows: Infinity }).join('\n');
}

function headLines({ machine, at, machines, agents, unread, queued, held }: TopView): string[] {
  const up = machines.filter((one) => one.up).length;
  const here = agents.filter(({ online }) => online).length;
  return [
    `patchcord on "${inline(machine)}", ${inline(at.slice(0, 19))}Z`,
    `${here} of ${agents.length} agents online; ${up} of ${machines.length} machines linked; ${unread} unread here, ${queued} queued for others, ${held} held for others`,
  ];
}

function namespaceLines({ agents, at }: TopView, namespace: string, width: number): string[] {
  const own = agents.filter((agent) => agent.namespace === namespace);
  const sorted = own.toSorted((a, b) => Number(b.online) - Number(a.online));
  const heading = ['', inline(namespace).toUpperCase()];
  if (own.length === 0) return [...heading, '  no agents'];
  return [...heading, ...table(agentColumns(Date.parse(at)), sorted, width)];
}

function agentColumns(nowMs: number): Column<AgentRow>[] {
  return [
    { heading: 'AGENT', cell: ({ agent }) => inline(agent.split('@')[0]!), most: 30, rank: 0 },
    { heading: 'STATE', cell: stateText, most: 8, rank: 1 },
    { heading: 'MACHINE', cell: ({ machine }) => inline(machine), most: 20, rank: 2 },
    { heading: 'SEEN', cell: (agent) => seenText(agent, nowMs), most: 6, rank: 5 },
    { heading: 'CLIENT', cell: ({ client }) => inline(client), most: 24, rank: 6 },
    { heading: 'PROJECT', cell: projectText, most: 32, rank: 4 },
    { heading: 'STATUS', cell: ({ status = '' }) => inline(status), most: 140, rank: 3 },
  ];
}

function stateText({ online, state }: AgentRow): string {
  if (state === 'dnd') return online ? 'dnd' : 'dnd away';
  return online ? (state ?? 'online') : 'away';
}

function projectText({ project = '', branch }: AgentRow): string {
  return branch === undefined ? inline(project) : `${inline(project)} (${inline(branch)})`;
}

function seenText({ online, last_seen: seen }: AgentRow, nowMs: number): string {
  if (online) return 'now';
  if (seen === null) return 'never';
  const seconds = Math.max(0, Math.round((nowMs - Date.parse(seen)) / 1_000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)}m`;
  return seconds < 86_400 ? `${Math.floor(seconds / 3_600)}h` : `${Math.floor(seconds / 86_400)}d`;
}

const MACHINE_COLUMNS: Column<MachineRow>[] = [
  { heading: 'MACHINE', cell: ({ machine }) => inline(machine), most: 24, rank: 0 },
  { heading: 'LINK', cell: ({ up, via = 'direct' }) => (up ? via : 'down'), most: 6, rank: 1 },
  { heading: 'QUEUED', cell: ({ queued }) => String(queued), most: 8, rank: 2 },
  { heading: 'HELD', cell: ({ held }) => String(held), most: 8, rank: 4 },
  {
    heading: 'RTT',
    cell: ({ rtt_ms: ms }) => (ms === undefined ? '' : `${Math.round(ms)} ms`),
    most: 8,
    rank: 5,
  },
  {
    heading: 'ADDRESS',
    cell: ({ up, address = '', last_error: why = '' }) => inline(up ? address : why),
    most: 120,
    rank: 3,
  },
];

function machineLines({ machines }: TopView, width: number): string[] {
  return machines.length === 0 ? ['MACHINES', '  no others'] : table(MACHINE_COLUMNS, machines, width);
}

function table<Row>(all: readonly Column<Row>[], rows: readonly Row[], width: number): string[] {
  const cells = new Map(all.map((column) => [column, rows.map((row) => column.cell(row))]));
  const widths = new Map(
    all.map((column) => {
      const widest = Math.max(...cells.get(column)!.map(widthOf), column.heading.length);
      return [column, Math.min(column.most, widest)];
    }),
  );
  // What nobody has is left out.
  let shown = all.filter((column) => cells.get(column)!.some((cell) => cell !== ''));
  const total = () => shown.reduce((sum, column) => sum + widths.get(column)! + GAP, 0);
  // The last column may be cut, as long as enough of it is left to read.
  const last = () => widths.get(shown.at(-1)!)!;
  while (shown.length > 1 && total() - last() + Math.min(last(), LAST_WIDTH_MIN) > width) {
    const lowest = Math.max(...shown.map(({ rank }) => rank));
    shown = shown.filter(({ rank }) => rank !== lowest);
  }
  const line = (cellOf: (column: Column<Row>) => string) =>
    `${' '.repeat(GAP)}${shown.map((column) => fit(cellOf(column), widths.get(column)!)).join(' '.repeat(GAP))}`;
  return [
    line(({ heading }) => heading),
    ...rows.map((_row, at) => line((column) => cells.get(column)![at]!)),
  ];
}
