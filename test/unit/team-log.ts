import type { SignedStatement } from '../../protocol/membership/statement.ts';
import type { Signer } from '../../protocol/signing.ts';
import { admit, claim, forge, genesis, machine, remove, type Body } from './membership-fixture.ts';

export const MACHINES = 300;
const ADMINS = 8;
/** Statements that are made at the same time, again and again, before one knows them all. */
const ABREAST = 4;
/** A team's log: machines come and go, agents get their names, and much is said at once. */
export function teamLog(size: number): SignedStatement[] {
  const signers = Array.from({ length: MACHINES }, (_none, index) => machine(index + 1));
  const list: SignedStatement[] = [genesis];
  let known = [genesis.hash];
  const say = (...said: [by: Signer, body: Body][]) => {
    const made = said.map(([by, body]) => forge(by, body, known, { at: list.length }));
    list.push(...made);
    known = made.map(({ hash }) => hash);
  };
  for (let index = 1; index < MACHINES; index++) {
    say([signers[0]!, admit(signers[index]!, index < ADMINS ? 'admin' : 'member', `machine ${index}`)]);
  }
  for (let turn = 0; list.length < size; turn += ABREAST) {
    const claims = Array.from({ length: ABREAST }, (_none, index): [Signer, Body] => {
      const number = turn + index;
      return [signers[number % MACHINES]!, claim(number % 4_000, `agent-${number % 5_000}`)];
    });
    say(...claims);
    if (turn % 20 !== 0) continue;
    // One leaves while others talk, and comes back when all know of it.
    const [leaver, admin] = [signers[ADMINS + (turn % (MACHINES - ADMINS))]!, signers[turn % ADMINS]!];
    say([admin, remove(leaver)], ...claims.slice(1));
    say([admin, admit(leaver)]);
  }
  return list.slice(0, size);
}
