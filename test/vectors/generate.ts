import { writeFile } from 'node:fs/promises';
import { datagramVectors, recordVectors, whereaboutsVectors } from './discovery-vectors.ts';
import { envelopeVectors } from './envelope-vectors.ts';
import { frameVectors } from './frame-vectors.ts';
import { joinCheckVectors } from './join-check-vectors.ts';
import { letterVectors } from './letter-vectors.ts';
import { logVectors } from './log-vectors.ts';
import { seeds } from './material.ts';
import { prekeyVectors } from './prekey-vectors.ts';
import { meetAnswerVectors, meetRequestVectors, punchAnswerVectors, punchRequestVectors } from './punch-vectors.ts';
import { relayAnswerVectors, relayRequestVectors } from './relay-vectors.ts';
import { sealVectors } from './seal-vectors.ts';
import { sharedVectors } from './shared-vectors.ts';
import { receiptVectors } from './signed-vectors.ts';
import { statementVectors } from './statement-vectors.ts';
import { joinAnswerVectors, joinVectors, ticketVectors } from './ticket-vectors.ts';
import { addressVectors, idVectors } from './typed.ts';
import type { VectorFile } from './vector.ts';

/**
 * Writes the vectors next to it: `node test/vectors/generate.ts`. Run once for each change of the wire that is
 * meant; tests only read what it wrote. Everything is fixed, so the same source writes the same files.
 */

const FILES: Record<string, Omit<VectorFile, 'cases'> & { cases: object[] }> = {
  frame: { about: 'protocol/frame.ts: one frame on a link, its length in front', cases: frameVectors() },
  letter: { about: 'protocol/letter.ts: what travels inside an envelope', cases: letterVectors() },
  envelope: {
    about: 'protocol/envelope.ts: a letter sealed to its recipient\u2019s machine; see envelope-by-hand.ts',
    seeds,
    cases: envelopeVectors(),
  },
  prekey: {
    about: 'protocol/prekey.ts: the key that others seal to, signed; `held` is the one known before',
    seeds,
    cases: prekeyVectors(),
  },
  receipt: { about: 'protocol/receipt.ts: how far a message came, signed', seeds, cases: receiptVectors() },
  statement: {
    about: 'protocol/membership/statement.ts: one entry of a namespace log, signed',
    seeds,
    cases: statementVectors(),
  },
  'membership-log': {
    about: 'protocol/membership: small namespace logs and what follows from them; see log-story.ts for the fields',
    seeds,
    cases: logVectors(),
  },
  shared: {
    about: 'protocol/shared.ts: what the members of a namespace are told, under the namespace key',
    cases: sharedVectors(),
  },
  whereabouts: {
    about: 'protocol/discovery/whereabouts.ts: where a machine can be reached, signed',
    seeds,
    cases: whereaboutsVectors(),
  },
  datagram: {
    about: 'protocol/discovery/datagram.ts and announcement.ts: what a machine calls out on its LAN',
    cases: datagramVectors(),
  },
  record: {
    about:
      'protocol/discovery/record.ts: where alice is, as members keep it for each other; `place` is the key of the record',
    seeds,
    cases: recordVectors(),
  },
  ticket: { about: 'protocol/ticket.ts: the invite as people paste it', cases: ticketVectors() },
  'join-request': { about: 'protocol/ticket.ts: what is asked outside of links', cases: joinVectors() },
  'join-answer': { about: 'protocol/ticket.ts: what is answered', cases: joinAnswerVectors() },
  'relay-request': { about: 'protocol/relaying.ts: what is asked of a relay, and by one', cases: relayRequestVectors() },
  'relay-answer': { about: 'protocol/relaying.ts: what is answered', cases: relayAnswerVectors() },
  'meet-request': { about: 'protocol/punching.ts: what a machine asks a relay about itself', cases: meetRequestVectors() },
  'meet-answer': { about: 'protocol/punching.ts: what is answered', cases: meetAnswerVectors() },
  'punch-request': { about: 'protocol/punching.ts: what one machine asks the other', cases: punchRequestVectors() },
  'punch-answer': { about: 'protocol/punching.ts: what is answered', cases: punchAnswerVectors() },
  'join-check': {
    about: 'protocol/join-check.ts: `bytes` is the joiner\u2019s nonce; its commitment, and the digits to compare',
    cases: joinCheckVectors(),
  },
  'message-id': { about: 'protocol/ids.ts: a message id as it is typed', cases: idVectors() },
  address: { about: 'protocol/address.ts: an agent address as it is typed', cases: addressVectors() },
  'record-seal': { about: 'daemon/store/record-seal.ts: one stored record', cases: sealVectors() },
};

for (const [name, file] of Object.entries(FILES)) {
  const { cases, ...rest } = file;
  const lines = cases.map((one) => `    ${JSON.stringify(one)}`).join(',\n');
  const text = `${JSON.stringify(rest, undefined, 2).slice(0, -2)},\n  "cases": [\n${lines}\n  ]\n}\n`;
  await writeFile(new URL(`${name}.json`, import.meta.url), text);
}
