/** Of the links that a machine keeps, one in so many goes to keepers that everybody links with. */
const LINKS_PER_HUB = 8;

/** Who of a namespace links with whom. */
export interface Overlay {
  /** Whether everybody links with everybody. */
  readonly isFull: boolean;
  /** Keepers that everybody links with. */
  readonly hubs: ReadonlySet<string>;
  /** The members that a machine keeps links with, whether they are there or not; none for one that is no member. */
  neighbours(machine: string): string[];
  /**
   * How many links an envelope crosses at most from one member to another when all are there: 0 for the same, 1 for two
   * that are linked. Infinite for one that is no member.
   */
  distance(from: string, to: string): number;
}

/**
 * The mesh of a namespace. Up to `linksMax + 1` members it is full. Beyond, the places of the members are written as
 * numbers to the base `side`, and two link when their numbers differ in one digit: a Hamming graph, with two digits the
 * rows and columns of a square. The first digits of the highest place are whatever the last member's are, so the square
 * fills up row by row and has no holes. What is left of `linksMax` goes to keepers that everybody links with, the
 * hubs, and then to members of nearby columns, so that more neighbours are shared.
 *
 * Pure, and cheap: nothing is hashed, and a machine's neighbours take a look at each member.
 *
 * Invariants:
 * - both sides of a link name each other;
 * - nobody but a hub has more than `linksMax` links, or log2 of the number of members where that is more;
 * - between any two members there is a way on which every step is nearer by `distance`;
 * - with two digits (up to 1,089 members at 64 links) any two that are not linked share a neighbour, and two unless
 *   one of them is in the last row;
 * - a machine that joins takes no link from two others but such as only made neighbours shared; one that leaves moves
 *   at most one other (see `places` in protocol/membership/view.ts).
 *
 * @param places the members in the order of their places
 * @param keepers those of them that are keepers
 * @param linksMax links of one machine in this namespace, at least 2
 */
export function overlayOf(
  places: readonly string[],
  keepers: ReadonlySet<string>,
  linksMax: number,
): Overlay {
  const placeOf = new Map(places.map((machine, place) => [machine, place]));
  const shape = shapeOf(places.length, linksMax, keepers.size);
  const hubs = new Set(shape.dims === 1 ? [] : places.filter((one) => keepers.has(one)).slice(0, shape.hubs));
  const links = (a: number, b: number) =>
    hubs.has(places[a]!) || hubs.has(places[b]!) || areNear(shape, a, b);
  return {
    isFull: shape.dims === 1,
    hubs,
    neighbours(machine) {
      const place = placeOf.get(machine);
      if (place === undefined) return [];
      return places.filter((_other, at) => at !== place && links(place, at));
    },
    distance(from, to) {
      const [a, b] = [placeOf.get(from), placeOf.get(to)];
      if (a === undefined || b === undefined) return Infinity;
      if (a === b) return 0;
      return links(a, b) ? 1 : digitsApart(shape, a, b);
    },
  };
}

interface Shape {
  dims: number;
  /** Base of the digits. */
  side: number;
  hubs: number;
  /** Place numbers without their first digit that link across it when they fall into one group of so many. */
  group: number;
}

function shapeOf(count: number, linksMax: number, keepers: number): Shape {
  let dims = 1;
  let side = linksMax + 1;
  while (side ** dims < count) {
    dims += 1;
    side = Math.max(2, Math.floor(linksMax / dims) + 1);
  }
  const rest = side ** (dims - 1);
  /** Others that differ in the first digit alone. */
  const across = Math.max(1, Math.ceil(count / rest) - 1);
  const within = (dims - 1) * (side - 1);
  const spare = Math.max(0, linksMax - within - across);
  const hubs = Math.min(Math.floor(linksMax / LINKS_PER_HUB), keepers, spare);
  let group = 1;
  while (2 * group <= rest && 2 * group * across <= spare - hubs + across) group *= 2;
  return { dims, side, hubs, group };
}

/** Whether two places link without a hub. */
function areNear(shape: Shape, a: number, b: number): boolean {
  const { side, dims, group } = shape;
  const rest = side ** (dims - 1);
  const isAcross = Math.floor(a / rest) !== Math.floor(b / rest);
  if (isAcross) return Math.floor((a % rest) / group) === Math.floor((b % rest) / group);
  return digitsApart(shape, a, b) === 1;
}

function digitsApart({ side, dims }: Shape, a: number, b: number): number {
  let apart = 0;
  for (let digit = 0; digit < dims; digit++) {
    if (a % side !== b % side) apart += 1;
    a = Math.floor(a / side);
    b = Math.floor(b / side);
  }
  return apart;
}
