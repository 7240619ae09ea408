import { z } from 'zod';
import { decode, encode } from './codec.ts';
import { PatchcordError } from './errors.ts';
import { MEETINGS_MAX, MEETINGS_PER_MACHINE_MAX } from './limits.ts';
import { zPeerId } from './shapes.ts';

/**
 * Hole punching over TCP: two machines behind NAT, linked through a relay, connect to each other at the same moment,
 * each from a port whose outside address the relay has seen (simultaneous open, RFC 9293 section 3.5). Neither needs a
 * listening port, nor a NAT that lets strangers in; what is needed is one that gives a port the same outside address
 * whomever it speaks to (RFC 5382 section 4). What is decided about it, without sockets.
 */

/** An outside address, as a relay has seen it. */
const zEndpoint = z.strictObject({
  ip: z.union([z.ipv4(), z.ipv6()]),
  port: z.int().min(1).max(65_535),
});
export type Endpoint = z.infer<typeof zEndpoint>;

/**
 * To a relay: what do I look like on this connection? With `with`, that machine may learn it for as long as the
 * connection lasts, and if it has asked the same about this one, its address is told in return.
 */
const zMeetRequest = z.strictObject({ t: z.literal('meet'), with: zPeerId.optional() });
export type MeetRequest = z.infer<typeof zMeetRequest>;

const MEET_REFUSALS = ['no_relay', 'not_member', 'not_linked', 'not_seen', 'busy'] as const;
export type MeetRefusal = (typeof MEET_REFUSALS)[number];

const zMeetAnswer = z.discriminatedUnion('t', [
  z.strictObject({ t: z.literal('seen'), you: zEndpoint, other: zEndpoint.optional() }),
  z.strictObject({ t: z.literal('refused'), why: z.enum(MEET_REFUSALS) }),
]);
export type MeetAnswer = z.infer<typeof zMeetAnswer>;

/**
 * Between the two, on one stream of the connection through the relay: `punch`, `ready`, `go`, `going`. No address is
 * said here, since none would be believed: each asks the relay.
 */
const zPunchRequest = z.discriminatedUnion('t', [
  /** I have met the relay with you; do the same. */
  z.strictObject({ t: z.literal('punch') }),
  /** Start START_MS after you have read this. */
  z.strictObject({ t: z.literal('go') }),
]);
export type PunchRequest = z.infer<typeof zPunchRequest>;

const PUNCH_REFUSALS = ['not_relayed', 'busy', 'too_soon', 'not_seen'] as const;
export type PunchRefusal = (typeof PUNCH_REFUSALS)[number];

const zPunchAnswer = z.discriminatedUnion('t', [
  z.strictObject({ t: z.literal('ready') }),
  z.strictObject({ t: z.literal('going') }),
  z.strictObject({ t: z.literal('refused'), why: z.enum(PUNCH_REFUSALS) }),
]);
export type PunchAnswer = z.infer<typeof zPunchAnswer>;

export function encodePunching(message: MeetRequest | MeetAnswer | PunchRequest | PunchAnswer): Uint8Array {
  return encode(message);
}

/** Throws `frame_malformed`, as the three below do. */
export function decodeMeetRequest(bytes: Uint8Array): MeetRequest {
  return parsed(zMeetRequest, bytes);
}

export function decodeMeetAnswer(bytes: Uint8Array): MeetAnswer {
  return parsed(zMeetAnswer, bytes);
}

export function decodePunchRequest(bytes: Uint8Array): PunchRequest {
  return parsed(zPunchRequest, bytes);
}

export function decodePunchAnswer(bytes: Uint8Array): PunchAnswer {
  return parsed(zPunchAnswer, bytes);
}

function parsed<Out>(schema: z.ZodType<Out>, bytes: Uint8Array): Out {
  const message = schema.safeParse(decode(bytes));
  if (message.success) return message.data;
  throw new PatchcordError('frame_malformed', 'Not a message of hole punching.', '', {
    cause: message.error,
  });
}

/** What a relay knows when a machine asks what it looks like. */
export interface MeetFacts {
  relays: boolean;
  /** Whether the asker is a member with a link here. */
  linked: boolean;
  /** Of a meeting: whether the two share a namespace with the relay. */
  shared: boolean;
  /** Of a meeting: whether the other has a link here, not through another relay. */
  otherLinked: boolean;
  /** Whether its address can be seen: it comes by plain TCP, and not through another relay. */
  seen: boolean;
  /** Whether the asker has asked no more often than it may. */
  allowed: boolean;
  /** Meetings that are held now, of all and of the asker, the one that is asked for not among them. */
  meetings: { all: number; own: number };
}

/** Why a relay does not tell what it sees; undefined when it does. */
export function meetObjection(isMeeting: boolean, facts: MeetFacts): MeetRefusal | undefined {
  if (!facts.relays) return 'no_relay';
  if (!facts.linked) return 'not_member';
  if (!facts.seen) return 'not_seen';
  if (!facts.allowed) return 'busy';
  if (!isMeeting) return undefined;
  if (!facts.shared) return 'not_member';
  if (!facts.otherLinked) return 'not_linked';
  const { all, own } = facts.meetings;
  return all >= MEETINGS_MAX || own >= MEETINGS_PER_MACHINE_MAX ? 'busy' : undefined;
}

/** How far an address is away. */
type Distance = 'loopback' | 'private' | 'public';

/** An address to punch toward, as the relay has told it. */
export interface TargetFacts {
  port: number;
  reach: Distance;
  /** Whether it names one host, */
  unicast: boolean;
  /** and whether that is this one. */
  own: boolean;
  /** The families of IP of this address, and of ours as the relay sees it. */
  sameFamily: boolean;
  /** How far away the relay is, by the address at which this machine has dialled it. */
  relayReach: Distance;
}

/** Ports below belong to services; no NAT maps a port of a user to one of them (RFC 4787 section 4.2.2). */
const TARGET_PORT_MIN = 1_024;
const FAR: Record<Distance, number> = { loopback: 0, private: 1, public: 2 };

/**
 * Whether a machine may be made to connect there. A relay that is reached over the internet has no business with hosts
 * in our own network, and none with this host itself: so nobody can have us knock there.
 */
export function isTarget({ port, reach, unicast, own, sameFamily, relayReach }: TargetFacts): boolean {
  return unicast && !own && sameFamily && port >= TARGET_PORT_MIN && FAR[reach] >= FAR[relayReach];
}

/** The one that has read `go` starts after this long: more than most ways through a relay take, there and back. */
export const START_MS = 500;

/**
 * How long the one that said `go` waits once `going` is there, so that both start together: half the round trip has
 * passed since the other one read it.
 */
export function startDelayMs(roundTripMs: number): number {
  return Math.max(0, START_MS - roundTripMs / 2);
}

/** A try that nothing answers is given up after this long, the system's own second SYN within it. */
export const TRY_MS = 2_000;
/** Tries start at multiples of this, for both alike: a NAT that refuses an early one must be met at the same moment, */
const TRY_EVERY_MS = 400;
/** give or take chance, since the two may be apart by always the same. */
const TRY_JITTER_MS = 20;
const TRIES_MAX = 10;
const TRYING_MS = 5_000;

/** How long after a failed try the next one starts; undefined when it was the last. */
export function nextTryMs(tries: number, elapsedMs: number, fraction: number): number | undefined {
  const atMs = (Math.floor(elapsedMs / TRY_EVERY_MS) + 1) * TRY_EVERY_MS;
  if (tries >= TRIES_MAX || atMs > TRYING_MS) return undefined;
  return atMs - elapsedMs + fraction * TRY_JITTER_MS;
}
