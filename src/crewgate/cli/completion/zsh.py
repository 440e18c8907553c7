"""The completion script of zsh, for its function `compinit`."""

from collections.abc import Iterable, Iterator

from crewgate import limits
from crewgate.cli.completion.command_tree import (
    HEADING_SED,
    CompletedCommand,
    CompletedOption,
    Value,
    ValueKind,
)

_SCRIPT = r"""#compdef crewgate
# Completion of `crewgate` for zsh. `crewgate completion zsh` prints this script.

# Offers the names of the tables [TABLE.NAME] of the configuration after -c: TABLE.
_crewgate_names() {
    local file word before
    local -a names
    for word in "${words[@]}"; do
        [[ $before == (-c|--config) ]] && file=${(Q)word}
        [[ $word == --config=* ]] && file=${(Q)word#--config=}
        before=$word
    done
    file=${file/#\~\//$HOME/}
    [[ -f $file ]] || return 1
    names=(${(f)"$(head -c @BYTES@ -- "$file" 2>/dev/null |
        sed -nE "@SED@")"})
    _wanted names expl $1 compadd -a names
}
@FUNCTIONS@
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _crewgate "$@"
else
    compdef _crewgate crewgate
fi
"""
_KINDS = {
    ValueKind.NOTHING: "",
    ValueKind.FILE: "_files",
    ValueKind.FOLDER: "_files -/",
    # With a blank before it, `_arguments` adds no arguments to an action.
    ValueKind.CREW: " _crewgate_names crew",
    ValueKind.TOOL: " _crewgate_names tool",
    ValueKind.MCP_ENDPOINT: " _crewgate_names mcp",
    ValueKind.ALERT_RECEIVER: " _crewgate_names alert",
    ValueKind.COMMAND_LINE: "_normal",
}


def script(commands: Iterable[CompletedCommand]) -> str:
    """Return the script."""
    functions = "\n".join("\n".join(_function(command)) for command in commands)
    sed = HEADING_SED.replace("TABLE", "$1")
    text = _SCRIPT.replace("@FUNCTIONS@", functions)
    return text.replace("@BYTES@", str(limits.config_bytes_max)).replace("@SED@", sed)


def _function(command: CompletedCommand) -> Iterator[str]:
    name = _name(command.path)
    yield f"\n{name}() {{"
    if command.commands:
        yield "    local curcontext=$curcontext state line ret=1"
        yield "    typeset -A opt_args"
        yield "    local -a commands=("
        yield from (f"        {_quoted(f'{each}:{text}')}" for each, text in command.commands)
        yield "    )"
        yield "    _arguments -C \\"
        yield from (f"        {_option(option)} \\" for option in command.options)
        yield "        '1: :->command' '*:: :->rest' && ret=0"
        yield "    case $state in"
        yield "        command) _describe command commands && ret=0 ;;"
        yield "        rest)"
        yield "            case $line[1] in"
        yield from (
            f"                {each}) {_name(f'{command.path} {each}'.strip())} && ret=0 ;;"
            for each, _ in command.commands
        )
        yield "            esac ;;"
        yield "    esac"
        yield "    return ret"
    else:
        yield "    _arguments -s \\"
        yield from (f"        {_option(option)} \\" for option in command.options)
        yield from (f"        {_argument(value)} \\" for value in command.arguments)
        yield "        && return"
    yield "}"


def _name(path: str) -> str:
    return "_".join(("_crewgate", *path.replace("-", "_").split()))


def _option(option: CompletedOption) -> str:
    """Return a specification of `_arguments`."""
    text = f"[{_escaped(option.summary)}]"
    if option.value is not None:
        text += f":{_escaped(option.value.name)}:{_action(option.value)}"
    if option.is_repeatable:
        return " ".join(_quoted(f"*{name}{_joint(name, option)}{text}") for name in option.names)
    others = "(- *)" if "--help" in option.names else f"({' '.join(option.names)})"
    return " ".join(_quoted(f"{others}{name}{_joint(name, option)}{text}") for name in option.names)


def _joint(name: str, option: CompletedOption) -> str:
    """Return how the value follows: `--name=VALUE` as well as `--name VALUE`."""
    return "=" if option.value is not None and name.startswith("--") else ""


def _argument(value: Value) -> str:
    if value.kind is ValueKind.COMMAND_LINE:
        return _quoted(f"*::{_escaped(value.name)}:{_action(value)}")
    return _quoted(f":{_escaped(value.name)}:{_action(value)}")


def _action(value: Value) -> str:
    if value.kind is ValueKind.CHOICE:
        return f"({' '.join(value.choices)})"
    return _KINDS[value.kind] or " "


def _escaped(text: str) -> str:
    """Return `text` as a message of `_arguments`."""
    return text.translate({ord(each): f"\\{each}" for each in "\\[]:"})


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
