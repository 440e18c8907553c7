"""The completion script of bash. It needs bash 4.4, and no package `bash-completion`."""

from collections.abc import Iterable

from crewgate import limits
from crewgate.cli.completion.command_tree import HEADING_SED, CompletedCommand, Value, ValueKind

_SCRIPT = r"""# Completion of `crewgate` for bash. `crewgate completion bash` prints this script.

# Sets `kind` and `choices` for the value of an option: COMMAND OPTION. Fails for a flag.
_crewgate_option() {
    choices=
    case "$1 $2" in
@OPTIONS@
        *) return 1 ;;
    esac
}

# Sets `kind` and `choices` for an argument of a command: COMMAND NUMBER.
_crewgate_argument() {
    choices=
    case "$1 $2" in
@ARGUMENTS@
        *) kind=nothing ;;
    esac
}

# Sets `commands` and `options` to what a command has: COMMAND.
_crewgate_command() {
    commands= options=
    case $1 in
@COMMANDS@
    esac
}

# Prints the names of the tables [TABLE.NAME] of a configuration: TABLE FILE.
_crewgate_names() {
    local file=${2/#\~\//$HOME/}
    [[ -f $file ]] && head -c @BYTES@ -- "$file" 2>/dev/null |
        sed -nE "@SED@"
}

_crewgate() {
    local cur=${COMP_WORDS[COMP_CWORD]} command= option= config= is_ended=
    local kind=choice choices= commands= options= before= word
    local -i number arguments=0
    COMPREPLY=()
    [[ $cur == = ]] && cur=
    for ((number = 1; number < ${#COMP_WORDS[@]}; number++)); do
        word=${COMP_WORDS[number]}
        # Bash splits --config=FILE at the sign.
        [[ $word == = ]] && continue
        [[ $before == -c || $before == --config ]] && config=$word
        before=$word
        if ((number >= COMP_CWORD)); then
            continue
        elif [[ $option ]]; then
            option=
        elif [[ $is_ended ]]; then
            arguments+=1
        elif [[ $word == -- ]]; then
            is_ended=yes
        elif [[ $word == -* ]]; then
            _crewgate_option "$command" "$word" && option=$word
        else
            _crewgate_command "$command"
            if [[ " $commands " == *" $word "* ]]; then
                command=${command:+$command }$word
            else
                arguments+=1
            fi
        fi
    done
    _crewgate_command "$command"
    kind=choice choices=$commands
    if [[ $option ]]; then
        _crewgate_option "$command" "$option"
    elif [[ $cur == -* && ! $is_ended ]]; then
        choices=$options
    elif [[ ! $commands ]]; then
        _crewgate_argument "$command" "$arguments"
    fi
    case $kind in
        crew | tool | mcp | alert) choices=$(_crewgate_names "$kind" "$config") ;;
        file) compopt -o default ;;
        folder) compopt -o dirnames ;;
        command-line)
            compopt -o default
            ((arguments)) || mapfile -t COMPREPLY < <(compgen -c -- "$cur")
            return ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$cur")
}

complete -F _crewgate crewgate
"""


def script(commands: Iterable[CompletedCommand]) -> str:
    """Return the script."""
    options: list[tuple[str, Value]] = []
    arguments: list[tuple[str, Value]] = []
    words: list[str] = []
    for command in commands:
        for option in command.options:
            if option.value is not None:
                value = option.value
                options += [(f'"{command.path} {name}"', value) for name in option.names]
        for number, value in enumerate(command.arguments):
            is_rest = value.kind is ValueKind.COMMAND_LINE
            place = f'"{command.path} "*' if is_rest else f'"{command.path} {number}"'
            arguments.append((place, value))
        names = " ".join(name for name, _ in command.commands)
        flags = " ".join(name for option in command.options for name in option.names)
        words.append(f'        "{command.path}") commands="{names}" options="{flags}" ;;')
    parts = {
        "@OPTIONS@": _cases(options),
        "@ARGUMENTS@": _cases(arguments),
        "@COMMANDS@": "\n".join(words),
        "@BYTES@": str(limits.config_bytes_max),
        "@SED@": HEADING_SED.replace("TABLE", "$1"),
    }
    text = _SCRIPT
    for name, part in parts.items():
        text = text.replace(name, part)
    return text


def _cases(values: Iterable[tuple[str, Value]]) -> str:
    """Return a branch of `case` for each sort of value, with the places that have it."""
    places: dict[tuple[ValueKind, tuple[str, ...]], list[str]] = {}
    for place, value in values:
        places.setdefault((value.kind, value.choices), []).append(place)
    return "\n".join(
        f"        {' | '.join(found)})\n"
        f'            kind={kind.value} choices="{" ".join(choices)}" ;;'
        for (kind, choices), found in places.items()
    )
