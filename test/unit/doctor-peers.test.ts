import { describe, expect, test } from 'vitest';
import { peerFindings, type OwnFacts, type PeerFacts } from '../../daemon/doctor/peer-findings.ts';
import { findPeer, peerText } from '../../cli/peer-text.ts';
import type { PeerView } from '../../protocol/doctor-view.ts';
import { Team } from './team.ts';
import { admit, START_MS } from './wire.ts';

const LAN = '/ip4/192.0.2.7/tcp/4747';
const PEER = '12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5';
const OWN: OwnFacts = { listen: ['/ip4/192.0.2.1/tcp/4747'] };
const AWAY: PeerFacts = {
  machine: 'laptop',
  namespaces: ['myproject'],
  left: [],
  up: false,
  addresses: [`${LAN}/p2p/${PEER}`],
  tried: [],
  attempts: 0,
  prekey: 'fresh',
  queued: 0,
};
const failing = (error: string): Partial<PeerFacts> => ({
  attempts: 3,
  tried: [{ address: LAN, error, atMs: START_MS }],
});
const said = (more: Partial<PeerFacts>, own: Partial<OwnFacts> = {}) =>
  peerFindings({ ...AWAY, ...more }, { ...OWN, ...own })
    .map(({ state, text, remedy = '' }) => `${state}: ${text} > ${remedy}`)
    .join('\n');

describe('why a machine is not reached', () => {
  test.each<[why: string, facts: Partial<PeerFacts>, says: RegExp, own?: Partial<OwnFacts>]>([
    [
      'nobody listens',
      failing('connect ECONNREFUSED 192.0.2.7:4747'),
      /fail: \/ip4\/192.0.2.7\/tcp\/4747: the host is there and nothing listens.* > Start it there/,
    ],
    [
      'no answer',
      failing('no answer in 6000 ms'),
      /no answer.*at 2026-.* > It is off or asleep, or a firewall drops/,
    ],
    ['the system gave up', failing('connect ETIMEDOUT'), /fail: .*no answer/],
    [
      'no route',
      failing('connect EHOSTUNREACH 192.0.2.7'),
      /no route to there.* > Bring both into one network/,
    ],
    ['network down', failing('connect ENETUNREACH'), /no route to there/],
    ['no such name', failing('getaddrinfo ENOTFOUND nas.local'), /does not resolve/],
    [
      'somebody else',
      failing('Payload identity key does not match expected remote static identity key'),
      /another machine answers there/,
    ],
    [
      'hung up',
      failing('read ECONNRESET'),
      /it answered and hung up.* > It may not know this machine as a member/,
    ],
    ['anything else', failing('strange'), /fail: \S+: strange, at .* > See docs\/networking.md/],
    [
      'it refused',
      { refusedAtMs: START_MS },
      /fail: it was reached and refused this machine, at 2026-.* > It does not know/,
    ],
    ['no address', { addresses: [] }, /fail: no address of it is known > Start it, or name an address/],
    ['no address, and it was looked for', { addresses: [] }, /looked for by multicast/, { mdns: 'on' }],
    ['no address, and nobody looks', { addresses: [] }, /Multicast is off here/, { mdns: 'off' }],
    ['not tried yet', {}, /warn: \S+: not tried yet/],
    ['another was tried', { attempts: 2 }, /warn: \S+: not tried in the last attempt/],
    [
      'loopback there',
      { addresses: ['/ip4/127.0.0.1/tcp/4747'] },
      /fail: it listens on loopback only.* > Unless it runs on this host/,
    ],
    [
      'loopback here',
      {},
      /warn: this machine listens on loopback only > Others cannot dial it/,
      { listen: ['/ip6/::1/tcp/1'] },
    ],
    ['nowhere here', {}, /warn: this machine listens nowhere/, { listen: [] }],
    [
      'an address of yesterday',
      { addresses: ['/ip4/198.51.100.1/tcp/1'], ...failing('connect ECONNREFUSED') },
      /fail: \/ip4\/192.0.2.7\/tcp\/4747: the host is there/,
    ],
    [
      'an attempt that came to no address',
      { lastError: 'Could not connect: given up.' },
      /warn: the last attempt: Could not connect/,
    ],
    [
      'seen through others',
      { isHere: true },
      /^ok: a member of myproject > \nok: it is here: seen through other members, and mail goes through them > $/,
    ],
    ['mail waits', { queued: 2 }, /ok: 2 letters wait here for it; nothing is lost/],
    ['its clock is ahead', { clockAheadMs: 90_000 }, /warn: its clock was 90 s ahead of this one's/],
    ['its clock is behind', { clockAheadMs: -7 * 3_600_000 }, /warn: its clock was 7 h behind this one's/],
    ['no prekey', { prekey: 'none' }, /warn: its key is not known yet/],
    ['never met', { namespaces: [] }, /^fail: it shares no namespace with this machine > Invite it/],
    [
      'it was removed',
      {
        namespaces: [],
        left: [{ namespace: 'myproject', who: 'there', text: 'it was removed from myproject' }],
      },
      /^fail: it was removed from myproject > To let it in again: `patchcord namespace invite myproject`/,
    ],
    [
      'this one was removed',
      { namespaces: [], left: [{ namespace: 'myproject', who: 'here', text: 'This machine was removed' }] },
      /^fail: This machine was removed > Ask an admin of myproject/,
    ],
  ])('%s', (_why, facts, says, own) => {
    expect(said(facts, own)).toMatch(says);
  });

  test.each<[facts: Partial<PeerFacts>]>([[{ clockAheadMs: 59_000 }], [{ clockAheadMs: -59_000 }], [{}]])(
    'a clock that is close is no finding: %j',
    (facts) => {
      expect(said(facts)).not.toContain('clock');
    },
  );

  test('a linked one is well, whatever failed before', () => {
    const up = { up: true, address: LAN, ...failing('connect ECONNREFUSED'), refusedAtMs: START_MS };
    expect(said(up)).toBe(`ok: a member of myproject > \nok: linked directly, at ${LAN} > `);
    expect(said({ up: true, address: LAN, punched: true })).toContain(
      'linked directly, punched through NAT, at',
    );
    expect(said({ up: true, address: LAN, relay: 'nas' })).toContain('linked through the relay nas, at');
  });
});

describe('a machine in the doctor', () => {
  const view: PeerView = {
    machine: 'lap\u001b[2Jtop',
    peer_id: PEER,
    member: true,
    linked: false,
    online: false,
    agents: ['bob@myproject'],
    attempts: 4,
    tried: [],
    findings: [{ state: 'fail', text: 'at \u001b]0;x\u0007 there', remedy: 'do\nthis' }],
  };

  test('is found by label, peer id and agent, and shown without anything that moves the cursor', () => {
    for (const name of [view.machine, PEER, 'Bob@myproject']) expect(findPeer([view], name)).toBe(view);
    expect(() => findPeer([view], 'bub@myproject')).toThrow(/No other machine/);
    expect(() => findPeer([view, { ...view, peer_id: 'x' }], view.machine)).toThrow(/Several machines/);
    const text = peerText(view);
    expect(text).toContain('not linked, 4 attempts since');
    // oxlint-disable-next-line no-control-regex -- that is what is looked for
    expect(text.replaceAll('\n', '')).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/u);
    expect(text.split('\n')).toHaveLength(3);
  });

  test('is told by a whole machine: linked, cut off, removed', async () => {
    const team = new Team();
    try {
      const desk = await team.start(1, 'desk');
      const laptop = await team.start(2, 'laptop');
      await desk.admin.createNamespace('myproject');
      await admit(desk, laptop);
      await team.open(laptop, 'bob');
      const look = async () => (await desk.doctor.peers())[0]!;
      expect(await look()).toMatchObject({ machine: 'laptop', linked: true, agents: ['bob@myproject'] });
      team.cut(desk, laptop);
      expect(await look()).toMatchObject({ linked: false, member: true });
      await desk.admin.removeMember('myproject', 'laptop');
      expect(await look()).toMatchObject({
        member: false,
        findings: [{ state: 'fail', text: 'it was removed from myproject' }],
      });
    } finally {
      await team.stopAll();
    }
  });
});
