"""The control process as a process: what it cannot have is one line and status 2."""

from pathlib import Path

import pytest

from crewgate.config import Config
from crewgate.control.main import main


def test_without_a_ca_it_says_what_to_add(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    """The section, and where."""
    text = config.path.read_text()
    begin, end = text.index("[ca]"), text.index("# The listener for agents")
    text = text[:begin] + text[end:]
    begin, end = text.index("# The listener for other crews"), text.index("# A crew: its keys")
    config.path.write_text(text[:begin] + text[end:])
    assert main(["-c", str(config.path)]) == 2
    said = capsys.readouterr().err
    assert said.endswith(f" ERROR control: {config.path}: there is no [ca]; add the section\n")


def test_a_file_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As for every other process."""
    assert main(["-c", str(tmp_path / "none.toml")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
