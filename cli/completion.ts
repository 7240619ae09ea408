/** What a shell can complete: a command, its options and the commands below it. */
export interface CommandTree {
  name: string;
  description: string;
  options: readonly { name: string; takesValue: boolean }[];
  /** What its argument may be, where that is a choice of few. */
  choices: readonly string[];
  commands: readonly CommandTree[];
}

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** A completion script for a shell, made of nothing but the command tree; pure. */
export function completionScript(shell: Shell, tree: CommandTree): string {
  return WRITERS[shell](tree);
}

const WRITERS: Record<Shell, (tree: CommandTree) => string> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
};

/** zsh can run bash's completion functions, and these words need no more. */
function zshScript(tree: CommandTree): string {
  return `#compdef ${tree.name}\nautoload -U +X bashcompinit && bashcompinit\n${bashScript(tree)}`;
}

/** Every command with the words that lead to it. */
function paths(
  tree: CommandTree,
  words: readonly string[] = [],
): [words: readonly string[], tree: CommandTree][] {
  return [[words, tree], ...tree.commands.flatMap((below) => paths(below, [...words, below.name]))];
}

function bashScript(tree: CommandTree): string {
  const cases = paths(tree).map(([words, command]) => {
    return `    '${words.join(' ')}') known='${knownWords(command).join(' ')}' ;;`;
  });
  const parents = paths(tree)
    .filter(([, command]) => command.commands.length > 0)
    .map(([words]) => `'${words.join(' ')}'`);
  const valued = paths(tree).flatMap(([, { options }]) => options.filter(({ takesValue }) => takesValue));
  const name = tree.name;
  return `_${name}() {
  local word path='' known='' value=''
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    if [ -n "$value" ]; then value=''; continue; fi
    case "$word" in
      ${[...new Set(valued.map((option) => option.name))].join('|')}) value=1; continue ;;
      -*) continue ;;
    esac
    # Words after the command itself are its arguments.
    case "$path" in ${parents.join('|')}) path="\${path:+$path }$word" ;; esac
  done
  case "$path" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$known" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _${name} ${name}
`;
}

function knownWords({ commands, choices, options }: CommandTree): string[] {
  return [...commands.map(({ name }) => name), ...choices, ...options.map(({ name }) => name)];
}

function fishScript(tree: CommandTree): string {
  const lines = paths(tree).flatMap(([words, command]) => {
    const below = command.commands.map(
      ({ name, description }) =>
        `complete -c ${tree.name} -f -n '${fishCondition(words, command)}' -a ${name} -d ${fishQuoted(description)}`,
    );
    const choices = command.choices.map(
      (word) => `complete -c ${tree.name} -f -n '${fishSeen(words)}' -a ${word}`,
    );
    const options = command.options.map(
      ({ name, takesValue }) =>
        `complete -c ${tree.name} -n '${fishSeen(words)}' -l ${name.slice(2)}${takesValue ? ' -r' : ''}`,
    );
    return below.concat(choices, options);
  });
  return `${lines.join('\n')}\n`;
}

/** Where the commands below are offered: after these words, while none of them is there yet. */
function fishCondition(words: readonly string[], command: CommandTree): string {
  const below = command.commands.map(({ name }) => name).join(' ');
  return `${fishSeen(words)}; and not __fish_seen_subcommand_from ${below}`;
}

function fishSeen(words: readonly string[]): string {
  return words.length === 0
    ? 'true'
    : words.map((word) => `__fish_seen_subcommand_from ${word}`).join('; and ');
}

function fishQuoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
