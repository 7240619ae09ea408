import { AT, CONTEXT, alice, bob, carol, dave, eve, genesis, hexOf, id, NS, recovery, sha256 } from './material.ts';
import { item } from './raw-cbor.ts';
import { signed } from './signed-vectors.ts';

/** A small namespace log, told statement by statement; each is known by its place in the telling. */

const MACHINES = { alice, bob, carol, dave, eve, recovery };
export type Who = keyof typeof MACHINES;
export type Body = Record<string, unknown>;

/** What is expected of a log, written down by hand. Statements are named by their place in `statements`. */
export interface LogCase {
  name: string;
  /** Signed statements in hex; the first is the genesis. They are offered at once. */
  statements: string[];
  /** Those that are not stored, with the code; what follows one of them is `statement_invalid`. */
  refused?: [place: number, code: string][];
  /** Those that name a predecessor which is not there. */
  waiting?: number[];
  /** The agreed order of what is stored. */
  order: number[];
  /** Stored, and of no effect: its author had no authority left. */
  void: number[];
  /** The heads, by place. */
  heads: number[];
  namespace: string;
  members: [machine: string, role: string, label: string][];
  /** Machines that were members and are none, and the statement that says so. */
  removed: [machine: string, statement: number][];
  claims: [name: string, agent: string, machine: string][];
  /** Claims of what others hold, and who. */
  lost: [name: string, agent: string, machine: string, heldBy: string][];
  key: { epoch: number; statement: number } | null;
  rekey_due: boolean;
  /** Checkpoints, and whether they say of their past what is found there. */
  checkpoints?: [statement: number, holds: boolean][];
}

export const peer = (who: Who) => MACHINES[who].peerId;
const agent = (number: number) => id(0xa0 + number);
export const admit = (who: Who, role: string, label: string): Body => ({ k: 'admit', machine: peer(who), role, label });
export const remove = (who: Who): Body => ({ k: 'remove', machine: peer(who) });
export const promote = (who: Who): Body => ({ k: 'promote', machine: peer(who) });
export const claim = (number: number, name: string): Body => ({ k: 'claim', agent: agent(number), name });
export const release = (number: number): Body => ({ k: 'release', agent: agent(number) });
export const rotate = (epoch: number): Body => ({ k: 'rotate', epoch, key_hash: new Uint8Array(32).fill(epoch) });

/** What a test expects when nothing special happened; alice founded the namespace. */
type Expected = Partial<Omit<LogCase, 'name' | 'statements' | 'members' | 'removed' | 'claims' | 'lost'>> & {
  members: [Who, role: string, label: string][];
  removed?: [Who, statement: number][];
  claims?: [name: string, agent: number, Who][];
  lost?: [name: string, agent: number, Who, heldBy: Who][];
};

export class Story {
  readonly #statements: Uint8Array[] = [item(signed(item(genesis), recovery, CONTEXT.statement))];
  readonly hashes: string[] = [NS];

  /** One statement after those at the places `after`. With `above` or `below`, of a hash higher or lower than that one's. */
  say(
    by: Who,
    body: Body,
    after: readonly number[] = [this.hashes.length - 1],
    { above, below, more = {} }: { above?: number; below?: number; more?: Body } = {},
  ): this {
    const prev = after.map((place) => this.hashes[place]!).sort();
    for (let at = AT + this.hashes.length; ; at++) {
      const bytes = item({ v: 1, ns: NS, prev, by: peer(by), at, ...body, ...more });
      const hash = sha256(bytes);
      if (above !== undefined && hash < this.hashes[above]!) continue;
      if (below !== undefined && hash > this.hashes[below]!) continue;
      this.hashes.push(hash);
      this.#statements.push(item(signed(bytes, MACHINES[by], CONTEXT.statement)));
      return this;
    }
  }

  /** A genesis of another namespace, or anything else that is signed. */
  put(by: Who, body: Body): this {
    const bytes = item(body);
    this.hashes.push(sha256(bytes));
    this.#statements.push(item(signed(bytes, MACHINES[by], CONTEXT.statement)));
    return this;
  }

  end(name: string, expected: Expected): LogCase {
    const { members, removed = [], claims = [], lost = [], ...rest } = expected;
    const places = [...this.hashes.keys()];
    return {
      name,
      statements: this.#statements.map(hexOf),
      order: places,
      void: [],
      heads: [places.at(-1)!],
      namespace: 'myproject',
      ...rest,
      members: [...members].map(([who, role, label]) => [peer(who), role, label]),
      removed: removed.map(([who, statement]) => [peer(who), statement]),
      claims: claims.map(([text, number, who]) => [text, agent(number), peer(who)]),
      lost: lost.map(([text, number, who, holder]) => [text, agent(number), peer(who), peer(holder)]),
      key: rest.key ?? null,
      rekey_due: rest.rekey_due ?? false,
    };
  }
}
