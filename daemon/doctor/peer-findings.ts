import type { CheckView } from '../../protocol/doctor-view.ts';

/** What is known of another machine, as far as it says why it is reached or not. */
export interface PeerFacts {
  /** Its label. */
  machine: string;
  /** Names of the namespaces that both are in. */
  namespaces: readonly string[];
  /** Namespaces that one of the two is out of. */
  left: readonly { namespace: string; who: 'here' | 'there'; text: string }[];
  up: boolean;
  /** Other members say that it is here. */
  isHere?: boolean;
  /** In use. */
  address?: string | undefined;
  /** Label of the machine that passes the link's bytes on, when one does. */
  relay?: string | undefined;
  /** The link was opened from both sides at once, through their NATs. */
  punched?: boolean | undefined;
  /** Where it is known to be, best first. */
  addresses: readonly string[];
  /** What the last attempt met, by address. */
  tried: readonly { address: string; error: string; atMs: number }[];
  attempts: number;
  lastError?: string | undefined;
  /** When it was reached last and would not link. */
  refusedAtMs?: number | undefined;
  /** How far its clock was ahead of this one's when they were linked last; less than 0: behind. */
  clockAheadMs?: number | undefined;
  prekey: 'fresh' | 'stale' | 'none';
  /** Letters that wait for it here. */
  queued: number;
}

/** What matters of this machine for all of them. */
export interface OwnFacts {
  /** Addresses at which it can be reached. */
  listen: readonly string[];
  /** Whether it looks for machines by multicast; undefined when it cannot. */
  mdns?: 'on' | 'off' | undefined;
}

export type Finding = Omit<CheckView, 'name'>;

/** Clocks that are this far apart are worth a word: expiry and shown times follow them. */
const CLOCK_APART_MS = 60_000;
const LOOPBACK = /^\/(ip4\/127\.|ip6\/::1\/|dns[46]?\/localhost\/)/;

interface Kind {
  pattern: RegExp;
  says: string;
  remedy: string;
}

/** What errors of a dial mean, the first that fits. The words are Node's and libp2p's. */
const KINDS: readonly Kind[] = [
  {
    pattern: /ECONNREFUSED/,
    says: 'the host is there and nothing listens on that port',
    remedy: 'Start it there with `patchcord up`; if it runs, compare the port with its `patchcord status`.',
  },
  {
    pattern: /ETIMEDOUT|no answer in|timed? ?out|deadline/i,
    says: 'no answer',
    remedy: 'It is off or asleep, or a firewall drops this: let its TCP port in, see docs/networking.md.',
  },
  {
    pattern: /EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL|ENETDOWN/,
    says: 'no route to there',
    remedy: 'Bring both into one network or VPN, or give both a keeper that they reach.',
  },
  {
    pattern: /ENOTFOUND|EAI_AGAIN/,
    says: 'the name does not resolve',
    remedy: 'Correct the name, or use an address.',
  },
  {
    pattern: /UnexpectedPeer|peer id|did not match|identity/i,
    says: 'another machine answers there',
    remedy: 'Its address has changed: start it, or name the new one with --peer.',
  },
  {
    pattern: /EACCES|EPERM/,
    says: 'this host forbids it',
    remedy: 'Let patchcord out in the firewall of this host.',
  },
  {
    pattern: /ECONNRESET|EPIPE|EOF|closed|reset|abort|ended|gater|denied|encrypt/i,
    says: 'it answered and hung up',
    remedy:
      'It may not know this machine as a member: compare `patchcord namespace members` there. Or another program has that port.',
  },
];

/** Why a machine is reached or not, and what to do about each reason. Pure. */
export function peerFindings(peer: PeerFacts, own: OwnFacts): Finding[] {
  if (peer.namespaces.length === 0) return [noNamespace(peer)];
  const shared = { state: 'ok', text: `a member of ${peer.namespaces.join(', ')}` } as const;
  return [
    shared,
    ...(peer.up ? [linkFinding(peer)] : [...notLinked(peer, own), ...waitingFinding(peer)]),
    ...clockFinding(peer),
    ...prekeyFinding(peer),
  ];
}

function noNamespace({ left }: PeerFacts): Finding {
  const [first] = left;
  if (!first) {
    const remedy =
      'Invite it: `patchcord namespace invite NAME`, then `patchcord namespace join TICKET` there.';
    return { state: 'fail', text: 'it shares no namespace with this machine', remedy };
  }
  const invite = `\`patchcord namespace invite ${first.namespace}\``;
  const remedy =
    first.who === 'here'
      ? `Ask an admin of ${first.namespace} for an invite.`
      : `To let it in again: ${invite}.`;
  return { state: 'fail', text: left.map(({ text }) => text).join('; '), remedy };
}

function linkFinding({ address = 'an unknown address', relay, punched }: PeerFacts): Finding {
  const direct = punched ? 'directly, punched through NAT' : 'directly';
  const way = relay === undefined ? direct : `through the relay ${relay}`;
  return { state: 'ok', text: `linked ${way}, at ${address}` };
}

function notLinked(peer: PeerFacts, own: OwnFacts): Finding[] {
  const findings: Finding[] = [];
  if (peer.isHere) {
    findings.push({
      state: 'ok',
      text: 'it is here: seen through other members, and mail goes through them',
    });
    // In a large namespace not everybody is linked with everybody.
    if (peer.attempts === 0) return findings;
  }
  if (peer.refusedAtMs !== undefined) {
    findings.push({
      state: 'fail',
      text: `it was reached and refused this machine, ${timeOf(peer.refusedAtMs)}`,
      remedy:
        'It does not know this machine as a member, yet or any more: look at `patchcord namespace members` there; a link of both to another member brings the logs together.',
    });
  }
  const isLocalOnly = peer.addresses.length > 0 && peer.addresses.every((address) => LOOPBACK.test(address));
  if (peer.addresses.length === 0) findings.push(noAddress(own));
  else if (isLocalOnly) {
    findings.push({
      state: 'fail',
      text: 'it listens on loopback only, which reaches it from its own host alone',
      remedy: 'Unless it runs on this host: start it with --listen /ip4/0.0.0.0/tcp/0, or without --listen.',
    });
  }
  findings.push(...peer.addresses.map((address) => addressFinding(peer, address)));
  findings.push(...strayFindings(peer));
  if (own.listen.every((address) => LOOPBACK.test(address))) {
    findings.push({
      state: 'warn',
      text:
        own.listen.length === 0 ? 'this machine listens nowhere' : 'this machine listens on loopback only',
      remedy: 'Others cannot dial it: start it with --listen /ip4/0.0.0.0/tcp/0, or without --listen.',
    });
  }
  return findings;
}

function noAddress({ mdns }: OwnFacts): Finding {
  const search =
    mdns === 'on'
      ? 'It is looked for by multicast, and did not answer in this network. '
      : mdns === 'off'
        ? 'Multicast is off here (--no-mdns). '
        : '';
  return {
    state: 'fail',
    text: 'no address of it is known',
    remedy: `${search}Start it, or name an address of its \`patchcord status\`: patchcord daemon --peer ADDRESS.`,
  };
}

/** The same place, whether the peer id stands behind it or not. */
function placeOf(address: string): string {
  return address.replace(/\/p2p\/[^/]+$/, '');
}

function addressFinding({ tried, attempts }: PeerFacts, address: string): Finding {
  const last = tried.findLast((one) => placeOf(one.address) === placeOf(address));
  const place = placeOf(address);
  if (!last) {
    const text = `${place}: not tried${attempts === 0 ? ' yet' : ' in the last attempt'}`;
    return { state: 'warn', text, remedy: 'Wait for the next attempt, and ask again.' };
  }
  return triedFinding(place, last);
}

function triedFinding(place: string, { error, atMs }: { error: string; atMs: number }): Finding {
  const kind = KINDS.find(({ pattern }) => pattern.test(error));
  const says = kind === undefined ? error : `${kind.says} (${error})`;
  const remedy = kind?.remedy ?? 'See docs/networking.md, and `patchcord logs`.';
  return { state: 'fail', text: `${place}: ${says}, ${timeOf(atMs)}`, remedy };
}

/** What was tried at addresses that are not known any more, and a failure that belongs to no address. */
function strayFindings({ tried, addresses, lastError, refusedAtMs }: PeerFacts): Finding[] {
  const known = new Set(addresses.map(placeOf));
  const strays = tried.filter(({ address }) => !known.has(placeOf(address)));
  const findings = strays.map((one) => triedFinding(placeOf(one.address), one));
  if (tried.length > 0 || lastError === undefined || refusedAtMs !== undefined) return findings;
  return [
    ...findings,
    { state: 'warn', text: `the last attempt: ${lastError}`, remedy: 'It is tried again.' },
  ];
}

function waitingFinding({ queued }: PeerFacts): Finding[] {
  if (queued === 0) return [];
  return [
    { state: 'ok', text: `${queued} letter${queued === 1 ? '' : 's'} wait here for it; nothing is lost` },
  ];
}

function clockFinding({ clockAheadMs: ahead = 0 }: PeerFacts): Finding[] {
  if (Math.abs(ahead) < CLOCK_APART_MS) return [];
  const side = ahead > 0 ? 'ahead of' : 'behind';
  return [
    {
      state: 'warn',
      text: `its clock was ${durationText(Math.abs(ahead))} ${side} this one's when they linked last`,
      remedy: 'Set both by the network (NTP): expiry and shown times follow them; order and delivery do not.',
    },
  ];
}

function prekeyFinding({ prekey }: PeerFacts): Finding[] {
  if (prekey !== 'none') return [];
  const remedy = 'It is told with the first link, or by any member that knows it.';
  return [{ state: 'warn', text: 'its key is not known yet, so mail for it waits here unsealed', remedy }];
}

function durationText(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3_600)} h`;
}

function timeOf(atMs: number): string {
  return `at ${new Date(atMs).toISOString()}`;
}
