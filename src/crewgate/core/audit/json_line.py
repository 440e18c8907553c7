r"""A record as one line of JSON, and back: printable ASCII, whatever the texts hold.

msgspec escapes what JSON demands (below U+0020), which keeps a line whole but not a terminal:
DEL, C1 controls and bidirectional overrides would pass. Lines with any of those are written again
with `\u` escapes, so that even `tail -f` shows what it should. Texts of a grant are plain ASCII
by the rules of tokens, so that this costs the usual line nothing.
"""

import json

import msgspec

from crewgate.core.audit.records import Record

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


def encode(record: Record) -> bytes:
    r"""One line, newline included; never raises for any text, and holds no other newline.

    A lone surrogate (which UTF-8 cannot carry) becomes U+FFFD; any other text comes back equal.
    """
    try:
        line = _encoder.encode(record)
    except UnicodeEncodeError:
        return _escaped(record)
    if line.isascii() and b"\x7f" not in line:
        return line + b"\n"
    return _escaped(record)


def decode(line: bytes) -> Record:
    """The record of one line; msgspec.DecodeError (a ValueError) for a torn or foreign line."""
    return _decoder.decode(line)


def _escaped(record: Record) -> bytes:
    plain = _without_surrogates(msgspec.to_builtins(record))
    return json.dumps(plain, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def _without_surrogates(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {key: _without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_surrogates(item) for item in value]
    return value
