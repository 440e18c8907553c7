"""Reads a configuration file into a `Config`, or reports every problem of the file at once.

`load` opens only this file, and none of the files that it names.
"""

import tomllib
from pathlib import Path

from crewgate import limits
from crewgate.config.model import CONFIG, Config
from crewgate.config.rules import RULES_FILE, loop_rules, rule_problems
from crewgate.config.toml_table_reader import TOMLTableReader
from crewgate.config.validate import validate
from crewgate.core.rules.rule import LoopRules
from crewgate.errors import ConfigurationError

_NO_RULE = 'no rule is on: write mode = "enforce" into [loops], or add a [rule.NAME]'


def load(path: str | Path) -> Config:
    """Read the configuration in the file at `path`.

    Raises:
        ConfigurationError: The file cannot be used. The message has a line for each problem, with
            the file, the key, the value and what was expected.
    """
    file = Path(path).absolute()
    problems: list[str] = []
    top = TOMLTableReader(_document(file, path), "", problems, file.parent)
    config = CONFIG.read(top, {}, path=file)
    if not problems:
        problems = validate(config)
    if problems:
        raise ConfigurationError("\n".join(f"{path}: {problem}" for problem in problems))
    return config


def load_rules(path: str | Path) -> LoopRules:
    """Read the rules on branches in the file at `path`: it has only [loops] and [rule.NAME].

    Raises:
        ConfigurationError: The file cannot be used, as for `load`, or no rule in it is on.
    """
    file = Path(path).absolute()
    problems: list[str] = []
    document = _document(file, path, "write [loops] or [rule.NAME] into it, as in a configuration")
    top = TOMLTableReader(document, "", problems, file.parent)
    found = RULES_FILE.read(top, {})
    if not problems:
        rules = loop_rules(found.loops, found.rules)
        problems = list(rule_problems(rules)) if rules.rules else [_NO_RULE]
    if problems:
        raise ConfigurationError("\n".join(f"{path}: {problem}" for problem in problems))
    return rules


def _document(
    file: Path, shown: str | Path, mend: str = "`crewgate init` writes a new one"
) -> dict[str, object]:
    try:
        with file.open("rb") as stream:
            data = stream.read(limits.config_bytes_max + 1)
        if len(data) > limits.config_bytes_max:
            raise ConfigurationError(
                f"{shown}: larger than {limits.config_bytes_max} bytes; is it a configuration file?"
            )
        return tomllib.loads(data.decode())
    except OSError as error:
        raise ConfigurationError(f"{shown}: cannot be read ({error.strerror}); {mend}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{shown}: not UTF-8 at byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{shown}: not TOML: {error}") from error
