import { systemRandom } from '../../daemon/clock.ts';
import type { Log } from '../../daemon/log.ts';
import type { Session } from '../../mcp/messenger.ts';
import { sealEnvelope } from '../../protocol/envelope.ts';
import type { FrameOf } from '../../protocol/frame.ts';
import type { Letter, Message, Party } from '../../protocol/letter.ts';
import type { Prekey } from '../../protocol/prekey.ts';
import type { Signer } from '../../protocol/signing.ts';
import { HandPeer } from './hand-peer.ts';
import { countingRandom, HandClock, startMachine, turn, Wire, type TestMachine } from './wire.ts';

export const id = (number: number): string =>
  `019a5b00-1234-7abc-8def-${number.toString(16).padStart(12, '0')}`;
export const malParty: Party = { id: id(0xf0), name: 'mal' };

/**
 * The desk is in two namespaces: ada@myproject and sec@secret live on it. Mal is a member of myproject whose
 * machine says whatever the test wants.
 */
export interface HostileWorld {
  wire: Wire;
  clock: HandClock;
  desk: TestMachine;
  mal: HandPeer;
  ada: Session;
  ns: string;
  secretNs: string;
  adaParty: Party;
  secParty: Party;
  /** Says that these agents live on mal's machine, and no others. */
  announce(parties: readonly Party[]): void;
  /** A message of mal to ada, unless told otherwise. */
  message(number: number, more?: Partial<Message>): Message;
  sealed(letter: Letter, route?: { ns?: string; to?: Prekey }, signer?: Signer): Uint8Array;
  /** What the desk answers to an envelope of mal's machine. */
  answerTo(envelope: Uint8Array, n?: number): Promise<FrameOf<'ack'> | FrameOf<'refuse'>>;
}

export async function hostileWorld(log?: Log): Promise<HostileWorld> {
  const wire = new Wire();
  const clock = new HandClock();
  const options = { seed: 1, label: 'desk', clock, random: countingRandom(1) };
  const desk = await startMachine(wire, { ...options, ...(log ? { log } : {}) });
  const { id: ns } = await desk.admin.createNamespace('myproject');
  const { id: secretNs } = await desk.admin.createNamespace('secret');
  const ada = await desk.messenger.open({ agent: 'ada@myproject', client: 'test 1' });
  await desk.admin.addAgent('sec@secret');
  const agents = await desk.admin.agents();
  const partyOf = (agent: string): Party => ({
    id: agents.find((one) => one.agent === agent)!.id,
    name: agent.split('@')[0]!,
  });
  const adaParty = partyOf('ada@myproject');
  const mal = new HandPeer(wire, 9);
  const world: HostileWorld = {
    wire,
    clock,
    desk,
    mal,
    ada,
    ns,
    secretNs,
    adaParty,
    secParty: partyOf('sec@secret'),
    announce: (parties) => mal.host(ns, parties),
    message: (number, more = {}) => ({
      k: 'message',
      id: id(number),
      seq: number,
      from: malParty,
      to: adaParty,
      content: `evil ${number}`,
      sent_at: 1,
      ...more,
    }),
    sealed: (letter, route = {}, signer = mal.signer) =>
      sealEnvelope(route.ns ?? ns, route.to ?? mal.prekeyOf(desk.peerId), letter, {
        signer,
        randomBytes: systemRandom.bytes,
        bootSecret: new Uint8Array(32).fill(0xbb),
      }),
    answerTo(envelope, n = 1) {
      mal.say(desk.peerId, { t: 'parcel', n, envelope });
      return mal.answer(n);
    },
  };
  await mal.start();
  await mal.join((await desk.admin.invite('myproject')).ticket);
  world.announce([malParty]);
  await turn();
  return world;
}
