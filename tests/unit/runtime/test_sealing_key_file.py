"""The file of sealing keys is made once, for its owner only, and read strictly."""

from pathlib import Path

import pytest

from crewgate import limits
from crewgate.errors import ConfigurationError
from crewgate.runtime.sealing_key_file import make_sealing_keys, read_sealing_keys

ONE, TWO = "01" * 32, "0A" * 32


def test_a_new_file_has_one_key_and_is_kept(tmp_path: Path) -> None:
    """Ids that a key has sealed must open after the next start."""
    path = tmp_path / "sealing.keys"
    assert make_sealing_keys(path)
    first = read_sealing_keys(path)
    assert len(first) == 1
    assert len(first[0]) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert not make_sealing_keys(path)
    assert read_sealing_keys(path) == first
    assert make_sealing_keys(tmp_path / "other")
    assert read_sealing_keys(tmp_path / "other") != first


def test_the_order_of_the_keys_is_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "sealing.keys"
    path.write_text(f"# the next one\n\n {TWO} \r\n{ONE}")
    assert read_sealing_keys(path) == (bytes.fromhex(TWO), bytes.fromhex(ONE))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "expected 1 to 4 sealing keys"),
        ("# none\n", "expected 1 to 4 sealing keys"),
        ("\n".join(f"{each:064x}" for each in range(5)), "expected 1 to 4 sealing keys"),
        (f"{ONE}\n{TWO}\n{TWO.lower()}\n", "a sealing key is repeated"),
        (f"{ONE}\n{TWO[:-2]}\n", "line 2: expected a sealing key of 64 hexadecimal digits"),
        (f"{ONE[:-1]} 1", "line 1: expected a sealing key"),
        (" ".join([ONE[:32], ONE[32:]]), "line 1: expected a sealing key"),
        ("é" * 64, "line 1: expected a sealing key"),
        (f"{ONE}\n" + "#" * limits.key_file_bytes_max, "expected 1 to 4 sealing keys"),
    ],
)
def test_another_content_is_refused_and_not_shown(tmp_path: Path, content: str, why: str) -> None:
    path = tmp_path / "sealing.keys"
    path.write_text(content)
    with pytest.raises(ConfigurationError) as refused:
        read_sealing_keys(path)
    assert str(refused.value).startswith(f"{path}: {why}")
    assert "0101" not in str(refused.value)
    assert "0A0A" not in str(refused.value)


def test_a_missing_file_is_an_error_that_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"No such file.*openssl rand -hex 32"):
        read_sealing_keys(tmp_path / "sealing.keys")
