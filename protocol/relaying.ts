import { z } from 'zod';
import { decode, encode } from './codec.ts';
import { sha256Hex } from './digest.ts';
import { PatchcordError } from './errors.ts';
import {
  INVITE_TTL_MS_MAX,
  RELAYED_GUESTS_MAX,
  RELAYED_GUESTS_PER_INVITER_MAX,
  RELAYED_MAX,
  RELAYED_PER_MACHINE_MAX,
  RELAYED_PER_PAIR_MAX,
  RELAYS_CHOSEN_MAX,
} from './limits.ts';
import { zPeerId } from './shapes.ts';

/**
 * What machines say to a relay, and a relay to the machine that somebody wants to reach: one message on a stream of
 * its own, one answer, and after `ok` the bytes of a connection between the two ends, which encrypt it themselves.
 */
const zRelayRequest = z.discriminatedUnion('t', [
  /** To a relay: pass me on to a machine that is linked with you. */
  z.strictObject({ t: z.literal('connect'), to: zPeerId }),
  /** To a relay: I have open invites for so long from now; 0 takes it back. */
  z.strictObject({ t: z.literal('guests'), for_ms: z.int().min(0).max(INVITE_TTL_MS_MAX) }),
  /** Of a relay: this machine wants to reach you. Who it is Noise proves, not the relay. */
  z.strictObject({ t: z.literal('incoming'), from: zPeerId }),
]);
export type RelayRequest = z.infer<typeof zRelayRequest>;

/** Why a relay, or the machine behind it, refuses. */
const REFUSALS = ['no_relay', 'not_member', 'not_linked', 'busy', 'malformed'] as const;
export type RelayRefusal = (typeof REFUSALS)[number];

const zRelayAnswer = z.discriminatedUnion('t', [
  z.strictObject({ t: z.literal('ok') }),
  z.strictObject({ t: z.literal('refused'), why: z.enum(REFUSALS) }),
]);
export type RelayAnswer = z.infer<typeof zRelayAnswer>;

export function encodeRelay(message: RelayRequest | RelayAnswer): Uint8Array {
  return encode(message);
}

/** Throws `frame_malformed`. */
export function decodeRelayRequest(bytes: Uint8Array): RelayRequest {
  return parsed(zRelayRequest, bytes);
}

/** Throws `frame_malformed`. */
export function decodeRelayAnswer(bytes: Uint8Array): RelayAnswer {
  return parsed(zRelayAnswer, bytes);
}

function parsed<Out>(schema: z.ZodType<Out>, bytes: Uint8Array): Out {
  const message = schema.safeParse(decode(bytes));
  if (message.success) return message.data;
  throw new PatchcordError('frame_malformed', 'Not a message of a relay.', '', { cause: message.error });
}

/** A connection that a relay passes on. */
export interface Passage {
  from: string;
  to: string;
  /** Of a machine that shares no namespace with `to`, and may ask it to be let in. */
  guest: boolean;
}

export interface RelayFacts {
  /** Whether this machine relays. */
  relays: boolean;
  /** Whether both are members of one namespace, of which this machine is a member too. */
  shared: boolean;
  /** Whether `to` holds a link with this machine, not through another relay. */
  linked: boolean;
  /** Whether `to` has said that it has open invites. */
  invites: boolean;
  /** What is passed on now, or about to be. */
  passages: readonly Passage[];
}

/**
 * Whether a relay passes `from` on to `to`, and as what. A stranger gets as far as a machine that has open invites,
 * and no farther; that machine's own gate decides about it.
 */
export function decidePassage(
  from: string,
  to: string,
  { relays, shared, linked, invites, passages }: RelayFacts,
): { passage: Passage } | { refused: RelayRefusal } {
  if (!relays) return { refused: 'no_relay' };
  const guest = !shared;
  if (from === to || (guest && !(linked && invites))) return { refused: 'not_member' };
  if (!linked) return { refused: 'not_linked' };
  const count = (matches: (passage: Passage) => boolean): number => passages.filter(matches).length;
  const touching = (machine: string) => count((one) => one.from === machine || one.to === machine);
  const guests = (inviter?: string) =>
    count((one) => one.guest && (inviter === undefined || one.to === inviter));
  const pair = count((one) => (one.from === from && one.to === to) || (one.from === to && one.to === from));
  const full = guest
    ? guests() >= RELAYED_GUESTS_MAX || guests(to) >= RELAYED_GUESTS_PER_INVITER_MAX
    : touching(from) >= RELAYED_PER_MACHINE_MAX || touching(to) >= RELAYED_PER_MACHINE_MAX;
  if (full || pair >= RELAYED_PER_PAIR_MAX || passages.length >= RELAYED_MAX) return { refused: 'busy' };
  return { passage: { from, to, guest } };
}

const CONTEXT = 'patchcord relay choice v1';

/**
 * The relays at which a machine says it can be reached, of those that it is linked with. By rendezvous hashing: the
 * same ones as long as they are there, and not the same ones for all machines.
 */
export function chooseRelays(self: string, relays: readonly string[]): string[] {
  const ranked = relays.map((relay) => ({ relay, rank: sha256Hex(encode([CONTEXT, self, relay])) }));
  ranked.sort((a, b) => (a.rank < b.rank ? -1 : 1));
  return ranked.slice(0, RELAYS_CHOSEN_MAX).map(({ relay }) => relay);
}
