"""The completion script of fish. It needs fish 3.1."""

from collections.abc import Iterable, Iterator

from crewgate import limits
from crewgate.cli.completion.command_tree import (
    HEADING_SED,
    CompletedCommand,
    CompletedOption,
    Value,
    ValueKind,
)

_SCRIPT = r"""# Completion of `crewgate` for fish. `crewgate completion fish` prints this script.

# Prints the command on the line, without the program, then the number of its arguments.
function __crewgate_command
    set -l command
    set -l arguments 0
    set -l option
    set -l ended
    for word in (commandline -opc)[2..-1]
        if test -n "$option"
            set option
        else if test -n "$ended"
            set arguments (math $arguments + 1)
        else if test "$word" = --
            set ended yes
        else if string match -q -- '-*' $word
            contains -- "$command $word" $__crewgate_valued && set option yes
        else if contains -- (string trim -- "$command $word") $__crewgate_commands
            set command (string trim -- "$command $word")
        else
            set arguments (math $arguments + 1)
        end
    end
    printf '%s\n' "$command" $arguments
end

# Whether the line is at this command, and at this argument if NUMBER is given: COMMAND NUMBER.
function __crewgate_at
    set -l found (__crewgate_command)
    test "$found[1]" = "$argv[1]"; and begin
        test (count $argv) -eq 1; or test "$found[2]" = "$argv[2]"
    end
end

# Prints the names of the tables [TABLE.NAME] of the configuration after -c: TABLE.
function __crewgate_names
    set -l file
    set -l before
    for word in (commandline -op)
        contains -- "$before" -c --config && set file $word
        string match -q -- '--config=*' $word && set file (string replace -- '--config=' '' $word)
        set before $word
    end
    set file (string replace -r '^~/' "$HOME/" -- "$file")
    test -f "$file" && head -c @BYTES@ -- "$file" 2>/dev/null | sed -nE \
        "@SED@"
end

set -g __crewgate_commands @COMMANDS@
set -g __crewgate_valued @VALUED@

complete -c crewgate -e
complete -c crewgate -f
@COMPLETIONS@
"""
_KINDS = {
    ValueKind.NOTHING: "-x",
    ValueKind.FILE: "-r -F",
    ValueKind.FOLDER: "-x -a '(__fish_complete_directories)'",
    ValueKind.CREW: "-x -a '(__crewgate_names crew)'",
    ValueKind.TOOL: "-x -a '(__crewgate_names tool)'",
    ValueKind.MCP_ENDPOINT: "-x -a '(__crewgate_names mcp)'",
    ValueKind.ALERT_RECEIVER: "-x -a '(__crewgate_names alert)'",
    ValueKind.COMMAND_LINE: "-x -a '(__fish_complete_command)'",
}


def script(commands: Iterable[CompletedCommand]) -> str:
    """Return the script."""
    every = list(commands)
    valued = [
        f"{command.path} {name}"
        for command in every
        for option in command.options
        if option.value is not None
        for name in option.names
    ]
    parts = {
        "@COMMANDS@": " ".join(_quoted(command.path) for command in every if command.path),
        "@VALUED@": " ".join(map(_quoted, valued)),
        "@COMPLETIONS@": "\n".join(line for command in every for line in _completions(command)),
        "@BYTES@": str(limits.config_bytes_max),
        "@SED@": HEADING_SED.replace("TABLE", "$argv[1]"),
    }
    text = _SCRIPT
    for name, part in parts.items():
        text = text.replace(name, part)
    return text


def _completions(command: CompletedCommand) -> Iterator[str]:
    at = f"complete -c crewgate -n {_quoted(f'__crewgate_at {_quoted(command.path)}')}"
    for name, summary in command.commands:
        yield f"{at} -a {name} -d {_quoted(summary)}"
    for option in command.options:
        yield f"{at} {_option(option)} -d {_quoted(option.summary)}"
    for number, value in enumerate(command.arguments):
        place = "" if value.kind is ValueKind.COMMAND_LINE else f" {number}"
        condition = _quoted(f"__crewgate_at {_quoted(command.path)}{place}")
        if value.kind is not ValueKind.NOTHING:
            yield f"complete -c crewgate -n {condition} {_value(value)}"


def _option(option: CompletedOption) -> str:
    names = [
        f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names
    ]
    return " ".join([*names, *([_value(option.value)] if option.value is not None else ())])


def _value(value: Value) -> str:
    if value.kind is ValueKind.CHOICE:
        return f"-x -a {_quoted(' '.join(value.choices))}"
    return _KINDS[value.kind]


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
