import type { Command } from 'commander';
import { BundleReader } from '../../protocol/bundle.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import { checkTarget, readBundleFile, writeBundleFile } from '../bundle-file.ts';
import { exportText, importText, type BundleExportView } from '../bundle-text.ts';
import { cliOf, interruptible } from '../cli.ts';
import { connect } from '../connection.ts';
import { notice, writeBytes } from '../output.ts';
import { withProgress } from '../progress.ts';

const STDIO = '-';

const ABOUT = `
A bundle carries sealed mail, receipts and the namespace log in a file, between machines that no network joins.
Export on one, carry the file, import on the other; then the other way round, so that receipts come back. Both can
be repeated as often as you like, a file may be imported by any member, and members hold what is for others.

The mail is sealed to its recipient's machine. The log is not: whoever finds the file reads the names of the
namespace, its machines and its agents. To hide those too, encrypt the file:
  patchcord bundle export NS - | age -r KEY > FILE

Keys age: a machine that has heard nothing from another for 33 days seals no more mail to it.`;

/** `bundle export|import`: mail on a stick. */
export function addBundleCommands(program: Command): void {
  const bundle = program
    .command('bundle')
    .description('carry mail in a file, between machines that no network joins')
    .addHelpText('after', ABOUT);

  bundle
    .command('export')
    .argument('<namespace>')
    .argument('<file>', 'where to write it; - is stdout')
    .description('write sealed mail, receipts and the log of a namespace into a file; changes nothing here')
    .option('--force', 'replace a file of that name')
    .addHelpText('after', ABOUT)
    .action(exportTo);

  bundle
    .command('import')
    .argument('<file>', 'a bundle; - is stdin')
    .description('take what a bundle brings: the mail for this machine, and what it can hold for others')
    .addHelpText('after', ABOUT)
    .action(async (file: string, _options: unknown, command: Command) => {
      const cli = cliOf(command);
      const { chunks, sizeBytes } =
        file === STDIO ? { chunks: process.stdin, sizeBytes: undefined } : await readBundleFile(file);
      const view = await untilInterrupted('what was imported before counts', async (signal) => {
        const { bundles } = await connect(cli);
        return bundles.import(withProgress(chunks, notice, sizeBytes), signal);
      }).finally(() => {
        // Whoever writes there may never stop.
        if (file === STDIO) process.stdin.destroy();
      });
      await cli.show({ json: view, text: importText(view), refused: view.ending !== 'whole' });
    });
}

async function exportTo(
  namespace: string,
  file: string,
  options: { force?: boolean },
  command: Command,
): Promise<void> {
  const cli = cliOf(command);
  const { force = false } = options;
  const toStdout = file === STDIO;
  if (toStdout && cli.json)
    command.error("error: '-' puts the bundle on stdout, where '--json' puts its document");
  if (toStdout && process.stdout.isTTY)
    command.error('error: a bundle is no text: name a file, or pipe it on');
  if (!toStdout) await checkTarget(file, force);
  const view: BundleExportView = {
    namespace,
    file,
    size_bytes: 0,
    statements: 0,
    prekeys: 0,
    letters: 0,
    unsealed: 0,
    left_out: 0,
  };
  await untilInterrupted('no file was written', async (signal) => {
    const { bundles } = await connect(cli);
    const begin = async () => countedIn(view, withProgress(await bundles.export(namespace, signal), notice));
    if (!toStdout) return writeBundleFile(file, begin, force);
    for await (const chunk of await begin()) await writeBytes(process.stdout, chunk);
  });
  if (toStdout) await notice(exportText(view));
  else await cli.show({ json: view, text: exportText(view) });
}

/** Runs until it is done or Ctrl-C; then it throws `stopping`, which says where that leaves things. */
function untilInterrupted<T>(state: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  return interruptible(async (signal) => {
    try {
      return await work(signal);
    } catch (error) {
      if (!signal.aborted) throw error;
      throw new PatchcordError('stopping', `Interrupted: ${state}.`, 'Run it again.', { cause: error });
    }
  });
}

/** Counts what goes by, and throws when that ends before the bundle does. */
async function* countedIn(
  view: BundleExportView,
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const reader = new BundleReader();
  const places = { statement: 'statements', prekey: 'prekeys', mail: 'letters' } as const;
  for await (const chunk of chunks) {
    for (const { t } of reader.push(chunk)) view[places[t]] += 1;
    view.size_bytes += chunk.length;
    yield chunk;
  }
  if (reader.finish() !== 'whole') {
    throw new PatchcordError(
      'daemon_unreachable',
      'The daemon went away before the bundle was whole.',
      'Try again.',
    );
  }
  view.unsealed = reader.end!.unsealed;
  view.left_out = reader.end!.left_out;
}
