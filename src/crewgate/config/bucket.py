"""The place of an archive in an S3-compatible service: a bucket, and how names in it begin."""

import re

import msgspec

from crewgate.config import values
from crewgate.config.toml_table_reader import ValueParser

# A bucket: the rules of Amazon, and the longer alphabet of buckets that are older than they.
# The beginning of names: what needs no escape in a URL or a shell, so no segment is "." or "..".
_BUCKET = re.compile(
    r"s3://([A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9])"
    r"((?:/[A-Za-z0-9_][A-Za-z0-9_.=-]*)*)/?",
    re.ASCII,
)
_CHARS_MAX = 512  # names have 1,024 bytes at most, and those of the export are below 512


class Bucket(msgspec.Struct, frozen=True):
    """A bucket, and what its names begin with: empty, or segments with a slash after each."""

    name: str
    prefix: str = ""

    def __str__(self) -> str:
        return f"s3://{self.name}/{self.prefix}".removesuffix("/")


def _bucket(value: object) -> Bucket:
    text = values.matching(_BUCKET, _CHARS_MAX)(value)
    match = _BUCKET.fullmatch(text)
    if match is None:
        raise ValueError
    prefix = match[2].removeprefix("/")
    return Bucket(match[1], f"{prefix}/" if prefix else "")


BUCKET = ValueParser(
    'a place such as "s3://company-audit" or "s3://company-audit/crewgate"',
    _bucket,
    values.text_schema(_BUCKET, _CHARS_MAX),
    spell=str,
)
