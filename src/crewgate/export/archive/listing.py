"""What a place answers to the question what is in a folder."""

from typing import NamedTuple


class StoredObject(NamedTuple):
    """An object: its name in the folder, and when it was stored (Unix time).

    `is_file`: it is not a link, a pipe or another thing in the place of a file.
    """

    name: str
    stored: float
    is_file: bool = True


class Listing(NamedTuple):
    """The folders in a folder, each with a final slash, and its objects, both sorted by name.

    `now` is the time of the place's own clock (Unix time).
    """

    folders: list[str]
    objects: list[StoredObject]
    now: float
