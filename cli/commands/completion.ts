import { Argument, type Command } from 'commander';
import { cliOf } from '../cli.ts';
import { completionScript, SHELLS, type CommandTree, type Shell } from '../completion.ts';

/** `completion bash|zsh|fish`: a script for the shell, made from the commands themselves. */
export function addCompletionCommand(program: Command): void {
  program
    .command('completion')
    .addArgument(new Argument('<shell>').choices(SHELLS))
    .description('print a completion script, such as for `source <(patchcord completion bash)`')
    .action(async (shell: Shell, _options: unknown, command: Command) => {
      const script = completionScript(shell, commandTree(program));
      await cliOf(command).show({ json: { shell, script }, text: script });
    });
}

/** The commands and options that help shows; the options of the program itself belong to every command. */
export function commandTree(program: Command): CommandTree {
  const shared = optionsOf(program).filter(({ name }) => name !== '--version');
  const top = program.createHelp().visibleCommands(program);
  const below = (command: Command): CommandTree => {
    const own = optionsOf(command);
    return {
      name: command.name(),
      description: command.description(),
      options: [...own, ...shared.filter(({ name }) => own.every((option) => option.name !== name))],
      choices: command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []),
      commands: command.createHelp().visibleCommands(command).map(below),
    };
  };
  const commands = top.map((command) => {
    const tree = below(command);
    return tree.name === 'help' ? { ...tree, choices: top.map((other) => other.name()) } : tree;
  });
  return { ...below(program), options: optionsOf(program), commands };
}

function optionsOf(command: Command): { name: string; takesValue: boolean }[] {
  return command
    .createHelp()
    .visibleOptions(command)
    .map((option) => ({ name: option.long ?? '', takesValue: option.required || option.optional }))
    .filter(({ name }) => name !== '');
}
