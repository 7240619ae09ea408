import type { Command } from 'commander';
import { cliOf, interruptible } from '../cli.ts';
import { clientOf, runningDaemon } from '../connection.ts';
import { showLive } from '../live-screen.ts';
import { topLines, topText } from '../top-text.ts';

/** `top`: who is here and what waits, as it changes. */
export function addTopCommand(program: Command): void {
  program
    .command('top')
    .description('show agents, machines and what waits for them, live; q ends it')
    .option('--once', 'print it once; without a terminal, or with --json, always')
    .action(async ({ once = false }: { once?: boolean }, command: Command) => {
      const cli = cliOf(command);
      const { top } = await clientOf(cli, await runningDaemon(cli));
      const { stdin: input, stdout: output } = process;
      if (once || cli.json || !input.isTTY || !output.isTTY) {
        const view = await top.look();
        return cli.show({ json: view, text: topText(view) });
      }
      await interruptible((signal) =>
        showLive({ input, output }, signal, (ended) => top.follow(ended), topLines),
      );
    });
}
