"""The values of keys that say where a secret is: in which file, or in which environment variable.

A person may write the secret itself there, so no error shows such a value.
"""

import re
from pathlib import Path
from typing import Annotated, Final

from crewgate.config import values
from crewgate.config.toml_table_reader import ValueParser

# A secret of webhooks, a URL, or a key of 32 or more letters and digits.
_SECRET: Final = re.compile(r"whsec_[A-Za-z0-9+/=]{24,}|https?:/.*|[A-Za-z0-9]{32,}", re.ASCII)
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def _is_name(path: Path) -> bool:
    return not _SECRET.fullmatch(str(path))


SECRET_FILE: Final = ValueParser(
    "the name of a file with the secret, and not the secret; write the secret into a file that "
    "only the gateway's user can read",
    values.passing(values.PATH.read, _is_name),
    values.PATH.schema,
    resolve=values.PATH.resolve,
    is_secret=True,
)
VARIABLE: Final = ValueParser(
    "the name of an environment variable, and not the secret",
    values.matching(_VARIABLE, 128),
    values.text_schema(_VARIABLE, 128),
    is_secret=True,
)

SecretFile = Annotated[Path, SECRET_FILE]
