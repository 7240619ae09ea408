import { createInterface } from 'node:readline/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { Option, type Command } from 'commander';
import type { AdminClient } from '../../daemon/client/admin.ts';
import type { InviteView } from '../../protocol/admin-views.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import { inline } from '../../mcp/frame.ts';
import { cliOf, interruptible } from '../cli.ts';
import { connect } from '../connection.ts';
import { checksText, confirmJoins, parseCode, stranger } from '../join-check.ts';
import { durationMs } from '../options.ts';
import { notice } from '../output.ts';

interface InviteFlags {
  ttl?: number;
  role?: 'member' | 'admin' | 'keeper';
  confirm?: boolean;
  qr?: boolean;
}

/** `namespace invite`, and `namespace confirm` for the joins that people decide. */
export function addInviteCommands(namespace: Command): void {
  namespace
    .command('invite')
    .argument('<namespace>')
    .description('print a ticket that lets one machine join; keep it as secret as a password')
    .option('--ttl <duration>', 'how long the ticket holds, such as 10m, 1h, 7d (default: 10m)', durationMs)
    .addOption(
      new Option(
        '--role <role>',
        'what the machine may be; a keeper holds mail and has no agents (default: member)',
      ).choices(['member', 'admin', 'keeper']),
    )
    .option('--confirm', 'let the machine in only after six digits were compared on both sides')
    .option('--qr', 'also draw the ticket as a QR code on stderr')
    .action(invite);

  namespace
    .command('confirm')
    .argument('<namespace>')
    .argument('[code...]', 'the six digits; without them the joins that wait are listed')
    .description('let a machine in whose join waits because of `invite --confirm`')
    .option('--reject', 'turn it away instead')
    .action(confirm);
}

async function invite(name: string, flags: InviteFlags, command: Command): Promise<void> {
  const cli = cliOf(command);
  const { ttl: ttlMs, role, confirm = false, qr = false } = flags;
  const { admin } = await connect(cli);
  const { ticket, expires_at } = await admin.invite(name, { ttlMs, role, confirm });
  await cli.show({ json: { ticket, expires_at }, text: ticket });
  if (qr) await notice((await import('../ticket-qr.ts')).ticketQr(ticket, process.stderr.columns));
  if (!confirm) return;
  if (cli.json || !process.stdin.isTTY || !process.stderr.isTTY) {
    await notice(
      `When the other machine shows its digits, compare them: \`patchcord namespace confirm ${inline(name)}\` lists them here, and \`patchcord namespace confirm ${inline(name)} CODE\` lets it in.`,
    );
    return;
  }
  await confirmHere(admin, name, { ticket, expires_at });
}

/** Asks at this terminal until the machine is in. Throws `ticket_expired` and, interrupted, `stopping`. */
async function confirmHere(admin: AdminClient, name: string, { expires_at }: InviteView): Promise<void> {
  const later = `\`patchcord namespace confirm ${inline(name)}\``;
  await notice(`Waiting for the machine to join, until ${expires_at}. Ctrl-C ends this; ${later} goes on.`);
  const end = await interruptible(async (signal) => {
    const terminal = openTerminal(signal);
    try {
      return await confirmJoins(Date.parse(expires_at), {
        checks: () => admin.joinChecks(name),
        decide: (code, accept) => admin.decideJoin(name, code, accept),
        ask: terminal.ask,
        tell: notice,
        pause: (ms) => delay(ms, undefined, { signal }).catch(() => {}),
        now: Date.now,
        signal: AbortSignal.any([signal, terminal.ended]),
      });
    } finally {
      terminal.close();
    }
  });
  if (end === 'admitted') return;
  throw end === 'expired'
    ? new PatchcordError(
        'ticket_expired',
        'No machine was let in before the ticket expired.',
        'Invite again.',
      )
    : new PatchcordError('stopping', 'Interrupted: no machine was let in.', `Go on with ${later}.`);
}

/**
 * Questions on stderr, answers from stdin. Read without a break, so that a line which was typed before its question
 * stood there answers none. No raw mode: Ctrl-C stays a signal.
 */
function openTerminal(signal: AbortSignal): {
  ask: (question: string) => Promise<string | undefined>;
  ended: AbortSignal;
  close: () => void;
} {
  const lines = createInterface({ input: process.stdin, output: process.stderr, terminal: false });
  const ended = new AbortController();
  const closed = new Promise<undefined>((resolve) => {
    lines.once('close', () => {
      // Ctrl-D leaves the cursor behind the question.
      if (asking && !signal.aborted) process.stderr.write('\n');
      ended.abort();
      resolve(undefined);
    });
  });
  let asking = false;
  return {
    async ask(question) {
      asking = true;
      const answered = lines.question(question, { signal }).catch(() => undefined);
      const answer = await Promise.race([answered, closed]);
      asking = false;
      return answer;
    },
    ended: ended.signal,
    close: () => lines.close(),
  };
}

async function confirm(
  name: string,
  words: readonly string[],
  flags: { reject?: boolean },
  command: Command,
): Promise<void> {
  const cli = cliOf(command);
  const reject = flags.reject === true;
  if (words.length === 0) {
    if (reject) command.error("error: '--reject' needs the digits of the join");
    const joins = await (await connect(cli)).admin.joinChecks(name);
    await cli.show({ json: { joins }, text: checksText(name, joins) });
    return;
  }
  const code = parseCode(words.join(' '));
  if (code === undefined) command.error("error: the code is six digits, such as 123456 or '123 456'");
  const join = await (await connect(cli)).admin.decideJoin(name, code, !reject);
  await cli.show(
    reject
      ? { json: { rejected: join }, text: `${stranger(join)} was turned away.` }
      : { json: { admitted: join }, text: `${stranger(join)} may join ${inline(name)} now.` },
  );
}
