"""Reads the keys of a bucket from a file, as the tools of Amazon write it; never shows them."""

import configparser
from pathlib import Path

from crewgate import limits
from crewgate.errors import UnusableKeysError
from crewgate.export.archive.s3_signature import S3Keys
from crewgate.runtime.secret_file import why_unreadable

_SECTION = "default"


def read_keys(owner: str, path: Path) -> S3Keys:
    """Return the keys in `path`, which belong to `owner`, such as `export archive`.

    Raises UnusableKeysError, which shows nothing of the file.
    """
    where = f"{owner}: the file {path} of `credentials`"
    try:
        with path.open("rb") as file:
            data = file.read(limits.archive_credentials_bytes_max)
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_string(data.decode())
    except OSError as error:
        why, mend = why_unreadable(path, error)
        why = f"{owner}: `credentials` cannot be read: {why}"
        raise UnusableKeysError(why, mend or "correct `credentials`") from None
    except (configparser.Error, UnicodeDecodeError):
        raise UnusableKeysError(
            f"{where} is not as the tools of Amazon write it",
            f"write lines NAME = VALUE below [{_SECTION}] into the file",
        ) from None
    found = parser[_SECTION] if parser.has_section(_SECTION) else {}
    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    values = [found.get(name, "").strip() for name in names]
    for name, value in zip(names, values, strict=True):
        if not value and name != names[-1]:
            raise UnusableKeysError(
                f"{where} has no {name} below [{_SECTION}]", f"write a line {name} = VALUE there"
            )
        if not value.isascii() or not value.isprintable() or " " in value:
            raise UnusableKeysError(
                f"{where}: {name} is no key", "write it in printable ASCII, without blanks"
            )
    return S3Keys(*values)
