import type { Command } from 'commander';
import { backupOf } from '../../daemon/backup/backup.ts';
import { BACKUP_SECRET_SIZE_BYTES, sealed } from '../../daemon/backup/sealed.ts';
import { systemClock, systemRandom } from '../../daemon/clock.ts';
import { recoveryWords, secretOfWords } from '../../daemon/directory/recovery-words.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import { checkTarget, readBundleFile, writeBundleFile } from '../bundle-file.ts';
import { cliOf, interruptible } from '../cli.ts';
import { connect } from '../connection.ts';
import { notice } from '../output.ts';
import { sizeText, withProgress } from '../progress.ts';
import { PHRASE_SIZE_BYTES_MAX, readPhrase, untilComplete, wordRows } from '../recovery-words.ts';
import { readText } from '../stdin.ts';

const ABOUT = `
A backup holds everything of this machine: its key, its namespaces and agents, its mail. It is sealed with 24 words
that are printed once, and belong to that file alone. Whoever has both can be this machine and read its mail.

Restore it where this machine does not run any more: two machines with one key take each other's mail. A restored
machine knows what it knew at the backup; the machines it talks with send it again what it has not read since, and
tell what it has, so that nothing is shown twice. Until they have, for a day at most, what was unread stays unseen.`;

/** `backup` and `restore`: a home in a file. */
export function addBackupCommands(program: Command): void {
  program
    .command('backup')
    .argument('<file>', 'where to write it')
    .description(
      'write everything of this machine into a sealed file, while it runs; prints its 24 words once',
    )
    .option('--force', 'replace a file of that name')
    .addHelpText('after', ABOUT)
    .action(backup);

  program
    .command('restore')
    .argument('<file>', 'a backup')
    .description('make a new home from a backup; its 24 words are read from stdin')
    .addHelpText('after', ABOUT)
    .action(restore);
}

async function backup(file: string, options: { force?: boolean }, command: Command): Promise<void> {
  const cli = cliOf(command);
  const { force = false } = options;
  await checkTarget(file, force);
  const secret = systemRandom.bytes(BACKUP_SECRET_SIZE_BYTES);
  const view = { file, size_bytes: 0, records: 0 };
  await interruptible(async (signal) => {
    const client = await connect(cli);
    const begin = async () => {
      const plain = backupOf(cli.paths, await client.storeCopy(signal), systemClock.now(), () => {
        view.records += 1;
      });
      return counted(view, withProgress(sealed(secret, plain), notice));
    };
    await writeBundleFile(file, begin, force).catch((cause: unknown) => {
      if (!signal.aborted) throw cause;
      throw new PatchcordError('stopping', 'Interrupted: no file was written.', 'Run it again.', { cause });
    });
  });
  const phrase = recoveryWords(secret);
  if (!cli.json) {
    await notice(
      `These words open the backup, and nothing else does. They are shown this once and kept nowhere: write them on paper.\n\n${wordRows(phrase)}\n`,
    );
  }
  await cli.show({
    json: { ...view, recovery_phrase: phrase },
    text: `Wrote ${file}: ${view.records} records, ${sizeText(view.size_bytes)}.`,
  });
}

/** The words are a secret: never an argument, which every user of the computer can read. */
async function restore(file: string, _options: unknown, command: Command): Promise<void> {
  const cli = cliOf(command);
  const { home } = cli.paths;
  // Other commands need not load what opens a store.
  const { checkPlace, restoreHome } = await import('../../daemon/backup/restore.ts');
  // Before anybody types words in vain.
  await checkPlace(home);
  const { stdin } = process;
  if (stdin.isTTY) await notice('Type or paste the 24 words of the backup, then Enter:');
  const typed = await readText('-', PHRASE_SIZE_BYTES_MAX, stdin.isTTY ? untilComplete(stdin) : stdin);
  const secret = secretOfWords(readPhrase(typed, 'patchcord backup'), 'patchcord backup');
  const { chunks, sizeBytes } = await readBundleFile(file, 'backup');
  const { peerId, records, madeAtMs } = await restoreHome(
    home,
    secret,
    withProgress(chunks, notice, sizeBytes),
    { random: systemRandom, log: cli.log },
  );
  const madeAt = new Date(madeAtMs).toISOString();
  await cli.show({
    json: { home, peer_id: peerId, records, made_at: madeAt },
    text: `Restored ${home} as it was at ${madeAt}: ${records} records. Start it with \`patchcord up\`.`,
  });
}

async function* counted(
  view: { size_bytes: number },
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    view.size_bytes += chunk.length;
    yield chunk;
  }
}
