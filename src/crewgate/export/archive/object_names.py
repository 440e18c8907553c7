"""The names of the objects in an archive; all of a machine are below one folder.

    machine=gw-1/day=2026-12-01/worker-0-20261201T120000.000000Z.000000000000-000000345678.parquet
    machine=gw-1/checkpoints/checkpoints-20261201T120000.000000Z.log.000000000000-000000004567
    machine=gw-1/written-by-0f1e….txt

A name says what is in the object, so an object that is stored twice is one object. If somebody else
has put an object under such a name, a random `variant` follows the numbers. The folders are
partitions as Hive has them, so a query reads only the days and machines that it is about.
"""

import re
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

from crewgate.audit.checkpoints.log import is_log_file
from crewgate.audit.file_part import FilePart, read_object_name

_MACHINE: Final = "machine="
_DAY = re.compile(r"day=(\d{4}-\d{2}-\d{2})/", re.ASCII)
_LOG_PART = re.compile(
    r"(?P<file>[^/]+)\.(?P<begin>\d{12})-(?P<end>\d{12})(?:\.(?P<variant>[0-9a-f]{16}))?", re.ASCII
)
_WRITER = re.compile(r"written-by-([0-9a-f]{32})\.txt", re.ASCII)
CHECKPOINTS: Final = "checkpoints/"


class LogPart(NamedTuple):
    """The bytes from `begin` to before `end` of a file of the checkpoints.

    See `FilePart` about `variant`.
    """

    file: str
    begin: int
    end: int
    variant: str = ""

    @property
    def object_name(self) -> str:
        """The name of its object. Names sort by their offsets."""
        variant = f".{self.variant}" if self.variant else ""
        return f"{self.file}.{self.begin:012d}-{self.end:012d}{variant}"


def machine_folder(machine: str) -> str:
    """Return the folder of a machine, with a final slash, as all folders here have it."""
    return f"{_MACHINE}{quote(machine, safe='')}/"


def machine_of(folder: str) -> str | None:
    """Return the machine of such a folder; None for another one."""
    machine = unquote(folder.removesuffix("/").removeprefix(_MACHINE))
    return machine if folder == machine_folder(machine) and machine else None


def is_like(folder: str, machine: str) -> bool:
    """Whether a query takes another folder, or what stands in its place, for that of a machine."""
    name = folder.removesuffix("/")
    return unquote(name) == f"{_MACHINE}{machine}" and f"{name}/" != machine_folder(machine)


def day_folder(part: FilePart) -> str:
    """Return the folder of a part, below that of its machine."""
    return f"day={part.day}/"


def day_of(folder: str) -> str | None:
    """Return the day of such a folder, such as `2026-12-01`; None for another one."""
    match = _DAY.fullmatch(folder)
    return match[1] if match is not None else None


def part_of(folder: str, name: str) -> FilePart | None:
    """Return what an object in the folder of a day holds; None if the export writes no such."""
    part = read_object_name(name)
    is_ours = part is not None and part.object_name == name and day_folder(part) == folder
    return part if is_ours else None


def log_part_of(name: str) -> LogPart | None:
    """Return what an object in the folder of the checkpoints holds; None for another object."""
    match = _LOG_PART.fullmatch(name)
    if match is None or not is_log_file(match["file"]):
        return None
    begin, end = int(match["begin"]), int(match["end"])
    part = LogPart(match["file"], begin, end, match["variant"] or "")
    return part if part.begin < part.end and part.object_name == name else None


def writer_name(identifier: str) -> str:
    """Return the name of the object that says who writes to the folder of a machine."""
    return f"written-by-{identifier}.txt"


def writer_of(name: str) -> str | None:
    """Return the identifier in such a name; None for another one."""
    match = _WRITER.fullmatch(name)
    return match[1] if match is not None else None
