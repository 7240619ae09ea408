import { admit, claim, peer, promote, release, remove, rotate, Story, type LogCase, type Who } from './log-story.ts';
import { AT, NS, OTHER_NS, genesis, sha256 } from './material.ts';
import { hex, item } from './raw-cbor.ts';

/** Small logs and what follows from them, reasoned out by the rules of docs/protocol.md and not by the product. */

const FOUNDER: [Who, string, string] = ['alice', 'admin', 'desk'];
const BOB: [Who, string, string] = ['bob', 'admin', 'laptop'];
const CAROL: [Who, string, string] = ['carol', 'admin', 'ci'];
const DAVE: [Who, string, string] = ['dave', 'member', 'nas'];

/** 1 and 2: bob, then carol, are made admins by the founder. */
const admins = () => new Story().say('alice', admit('bob', 'admin', 'laptop')).say('alice', admit('carol', 'admin', 'ci'));
/** 1 and 2: bob and carol are members. */
const members = () => new Story().say('alice', admit('bob', 'member', 'laptop')).say('alice', admit('carol', 'member', 'ci'));
const MEMBERS: [Who, string, string][] = [FOUNDER, ['bob', 'member', 'laptop'], ['carol', 'member', 'ci']];

export function logVectors(): LogCase[] {
  return [linear(), ...removals(), ...ties(), ...names(), ...keys(), refusals(), checkpoints()];
}

function linear(): LogCase {
  return new Story()
    .say('alice', admit('bob', 'admin', 'laptop'))
    .say('alice', admit('carol', 'member', 'ci'))
    .say('bob', admit('dave', 'keeper', 'nas'))
    .say('carol', claim(1, 'backend'))
    .say('carol', claim(1, 'api'))
    .say('carol', claim(2, 'tester'))
    .say('carol', release(2))
    .say('carol', { k: 'rename', machine: peer('carol'), label: 'build' })
    .say('bob', { k: 'rename', machine: peer('dave'), label: 'shed' })
    .say('alice', { k: 'rename-namespace', name: 'ourproject' })
    .say('bob', promote('carol'))
    .say('bob', admit('dave', 'member', 'a label for one who has one'))
    .say('bob', admit('carol', 'member', 'a role below the one it has'))
    .say('alice', rotate(1))
    .end('a straight log', {
      namespace: 'ourproject',
      members: [FOUNDER, BOB, ['carol', 'admin', 'build'], ['dave', 'member', 'shed']],
      claims: [
        ['api', 1, 'carol'],
        ['backend', 1, 'carol'],
      ],
      key: { epoch: 1, statement: 14 },
    });
}

function removals(): LogCase[] {
  return [
    new Story()
      .say('alice', admit('bob', 'admin', 'laptop'))
      .say('alice', admit('carol', 'member', 'ci'))
      .say('alice', remove('bob'))
      .say('bob', admit('eve', 'admin', 'x'), [2])
      .say('eve', admit('dave', 'member', 'nas'))
      .say('carol', claim(1, 'backend'))
      .say('bob', claim(2, 'tester'))
      .end('a removal strikes what its machine said without knowing of it, and what rests on that', {
        void: [4, 5, 7],
        heads: [3, 7],
        members: [FOUNDER, ['carol', 'member', 'ci']],
        removed: [['bob', 3]],
        claims: [['backend', 1, 'carol']],
        rekey_due: true,
      }),
    admins()
      .say('alice', remove('bob'))
      .say('carol', admit('bob', 'admin', 'laptop'), [2])
      .end('an admission that did not know of the removal counts and admits nobody', {
        heads: [3, 4],
        members: [FOUNDER, CAROL],
        removed: [['bob', 3]],
        rekey_due: true,
      }),
    new Story()
      .say('alice', admit('bob', 'member', 'laptop'))
      .say('bob', claim(1, 'backend'))
      .say('alice', remove('bob'))
      .say('alice', admit('bob', 'keeper', 'new laptop'))
      .say('bob', claim(2, 'tester'), [2], { above: 4 })
      .end('who comes back has the role and label of the new admission, and no old claims', {
        void: [5],
        heads: [4, 5],
        members: [FOUNDER, ['bob', 'keeper', 'new laptop']],
        rekey_due: true,
      }),
    members()
      .say('bob', claim(1, 'backend'))
      .say('bob', remove('bob'))
      .say('bob', claim(2, 'tester'), [3])
      .say('alice', promote('bob'), [4], { above: 5 })
      .end('who leaves is out, and a promotion that knows of it counts for nothing', {
        void: [5, 6],
        heads: [5, 6],
        members: [FOUNDER, ['carol', 'member', 'ci']],
        removed: [['bob', 4]],
        rekey_due: true,
      }),
    admins()
      .say('bob', admit('dave', 'member', 'nas'))
      .say('carol', remove('bob'), [2])
      .say('alice', remove('carol'), [2], { above: 4 })
      .end('a removal whose author is removed strikes nothing', {
        order: [0, 1, 2, 4, 5, 3],
        void: [4],
        heads: [3, 4, 5],
        members: [FOUNDER, BOB, DAVE],
        removed: [['carol', 5]],
        rekey_due: true,
      }),
  ];
}

function ties(): LogCase[] {
  return [
    admins()
      .say('carol', remove('bob'))
      .say('bob', remove('carol'), [2], { above: 3 })
      .end('of two admins who remove each other, who was made one earlier stays, though its hash is higher', {
        void: [3],
        heads: [3, 4],
        members: [FOUNDER, BOB],
        removed: [['carol', 4]],
        rekey_due: true,
      }),
    admins()
      .say('bob', admit('dave', 'member', 'nas'))
      .say('bob', remove('carol'))
      .say('carol', remove('bob'), [2])
      .end('a removed admin who backdates a removal of its remover wins nothing', {
        order: [0, 1, 2, 5, 3, 4],
        void: [5],
        heads: [4, 5],
        members: [FOUNDER, BOB, DAVE],
        removed: [['carol', 4]],
        rekey_due: true,
      }),
    admins()
      .say('alice', remove('bob'))
      .say('bob', remove('carol'), [2], { above: 3 })
      .say('carol', remove('alice'), [2], { above: 4 })
      .end('in a circle of three, the earliest admin stays, and whom it did not remove', {
        void: [4, 5],
        heads: [3, 4, 5],
        members: [FOUNDER, CAROL],
        removed: [['bob', 3]],
        rekey_due: true,
      }),
    new Story()
      .say('alice', admit('bob', 'admin', 'laptop'))
      .say('alice', remove('bob'))
      .say('bob', remove('alice'), [1], { above: 2 })
      .say('recovery', remove('alice'), [1], { above: 3 })
      .end('nothing denies a removal of the genesis key', {
        void: [2],
        heads: [2, 3, 4],
        members: [BOB],
        removed: [['alice', 4]],
        rekey_due: true,
      }),
  ];
}

function names(): LogCase[] {
  const both = () =>
    members()
      .say('bob', claim(1, 'backend'))
      .say('carol', claim(2, 'backend'), [2], { below: 3 });
  const rest = { members: MEMBERS };
  return [
    both().end('of two who claim a name, the lower hash holds it', {
      ...rest,
      order: [0, 1, 2, 4, 3],
      heads: [3, 4],
      claims: [['backend', 2, 'carol']],
      lost: [['backend', 1, 'bob', 'carol']],
    }),
    both()
      .say('carol', release(2), [3, 4])
      .end('a name that is let go of is nobody\u2019s until it is claimed again', {
        ...rest,
        order: [0, 1, 2, 4, 3, 5],
        lost: [['backend', 1, 'bob', 'carol']],
      }),
    both()
      .say('carol', release(2), [3, 4])
      .say('bob', claim(1, 'backend'))
      .end('whoever lost a name may claim it again', {
        ...rest,
        order: [0, 1, 2, 4, 3, 5, 6],
        claims: [['backend', 1, 'bob']],
      }),
    members()
      .say('bob', claim(1, 'backend'))
      .say('carol', claim(1, 'api'))
      .say('carol', release(1))
      .end('an agent has one home, and another machine cannot release it', {
        ...rest,
        claims: [['backend', 1, 'bob']],
      }),
    members()
      .say('bob', claim(1, 'backend'))
      .say('alice', release(1))
      .say('carol', claim(2, 'backend'))
      .end('an admin releases any agent', { ...rest, claims: [['backend', 2, 'carol']] }),
  ];
}

function keys(): LogCase[] {
  const blind = () => admins().say('alice', rotate(1)).say('alice', remove('carol')).say('bob', rotate(2), [3]);
  const rest = { members: [FOUNDER, BOB], removed: [['carol', 4]] as [Who, number][] };
  return [
    blind().end('a key made without knowledge of a removal is due to be changed', {
      ...rest,
      heads: [4, 5],
      key: { epoch: 2, statement: 5 },
      rekey_due: true,
    }),
    blind()
      .say('bob', rotate(3), [4, 5])
      .end('a key made after the removal is not', { ...rest, key: { epoch: 3, statement: 6 } }),
    admins()
      .say('bob', rotate(1))
      .say('carol', rotate(1), [2], { below: 3 })
      .end('of two keys of one epoch, the lower hash holds', {
        order: [0, 1, 2, 4, 3],
        heads: [3, 4],
        members: [FOUNDER, BOB, CAROL],
        key: { epoch: 1, statement: 4 },
      }),
  ];
}

function refusals(): LogCase {
  const unknown = sha256(hex('00'));
  return new Story()
    .say('alice', admit('bob', 'member', 'laptop'))
    .say('alice', admit('dave', 'keeper', 'nas'))
    .say('bob', admit('carol', 'member', 'ci'))
    .say('carol', claim(1, 'backend'))
    .say('dave', claim(2, 'tester'), [2])
    .say('carol', claim(3, 'x'), [2])
    .say('carol', remove('bob'), [2])
    .say('alice', rotate(2), [2])
    .say('alice', remove('eve'), [2])
    .say('alice', admit('recovery', 'admin', 'x'), [2])
    .say('recovery', claim(4, 'y'), [2])
    .say('alice', admit('carol', 'member', 'ci'), [2], { more: { ns: OTHER_NS } })
    .put('recovery', { ...genesis, at: AT + 1 })
    .say('alice', admit('eve', 'member', 'x'), [2], { more: { prev: [unknown] } })
    .say('bob', claim(5, 'backend'), [2])
    .say('bob', promote('bob'), [15])
    .say('dave', { k: 'rename', machine: peer('dave'), label: 'shed' }, [15])
    .end('what is not stored: by whoever never had the authority, or does not fit', {
      refused: [
        [3, 'not_admin'],
        [4, 'statement_invalid'],
        [5, 'not_member'],
        [6, 'not_member'],
        [7, 'not_admin'],
        [8, 'statement_invalid'],
        [9, 'statement_invalid'],
        [10, 'statement_invalid'],
        [11, 'statement_invalid'],
        [12, 'statement_invalid'],
        [13, 'statement_invalid'],
        [16, 'not_admin'],
      ],
      waiting: [14],
      order: [0, 1, 2, 15, 17],
      heads: [17],
      members: [FOUNDER, ['bob', 'member', 'laptop'], ['dave', 'keeper', 'shed']],
      claims: [['backend', 5, 'bob']],
    });
}

/** The digest is over the hashes, ascending; the members over [peer id, role, label], by peer id. */
function checkpoints(): LogCase {
  const story = new Story().say('alice', admit('bob', 'admin', 'laptop'));
  const digest = (count: number) => sha256(hex(story.hashes.slice(0, count).sort().join('')));
  const people = [
    [peer('alice'), 'admin', 'desk'],
    [peer('bob'), 'admin', 'laptop'],
  ].sort(([a], [b]) => (a! < b! ? -1 : 1));
  const found = sha256(item(people));
  return story
    .say('alice', { k: 'checkpoint', digest: digest(2), members: found })
    .say('bob', { k: 'checkpoint', digest: digest(2), members: found })
    .say('bob', { k: 'checkpoint', digest: digest(4), members: NS })
    .say('bob', { k: 'checkpoint', digest: digest(5), members: found })
    .end('checkpoints: right, and wrong in what was stored and in who is in', {
      members: [FOUNDER, BOB],
      checkpoints: [
        [2, true],
        [3, false],
        [4, false],
        [5, true],
      ],
    });
}
