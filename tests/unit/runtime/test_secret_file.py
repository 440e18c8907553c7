"""Why the file of a secret cannot be read, when the name of the file may be the secret."""

from pathlib import Path

import pytest

from crewgate.runtime.secret_file import shown_path, unreadable


def _error(path: Path) -> OSError:
    with pytest.raises(OSError, match=r".") as caught:
        path.read_bytes()
    return caught.value


@pytest.mark.parametrize(
    "secret", ["s3cret", "s3cret/s3cret", "other/s3cret", "s3cret" * 1000], ids=len
)
def test_a_name_of_no_file_is_not_shown(tmp_path: Path, secret: str) -> None:
    """The error names the nearest folder that exists."""
    (tmp_path / "other").write_bytes(b"")
    path = tmp_path / secret
    text = unreadable(path, _error(path))
    assert text.startswith(f"no file below {tmp_path} has the configured name")
    assert "s3cret" not in text
    assert shown_path(path) == f"a file below {tmp_path}"


def test_the_name_of_a_file_is_shown(tmp_path: Path) -> None:
    """Here it is a folder, which nobody can read as a file."""
    assert unreadable(tmp_path, _error(tmp_path)).startswith(f"{tmp_path}: Is a directory")
    assert shown_path(tmp_path) == str(tmp_path)
