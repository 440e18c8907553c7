r"""Encodes an audit record as one line of JSON in printable ASCII, and decodes it.

msgspec escapes only what JSON requires (below U+0020). DEL, C1 controls and bidirectional overrides
would reach the terminal of a person who runs `tail -f`. So a line with any of them is encoded again
with `\u` escapes. The texts of a grant are plain ASCII by the rules of tokens, so most lines need
no second encoding.
"""

import json

import msgspec

from crewgate.core.audit.records import Record

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


def encode(record: Record) -> bytes:
    r"""Return the line of a record, with one newline, at its end. It accepts every text.

    A lone surrogate, which UTF-8 cannot encode, becomes U+FFFD; `decode` restores all other texts.
    """
    try:
        line = _encoder.encode(record)
    except UnicodeEncodeError:
        return _escaped(record)
    if line.isascii() and b"\x7f" not in line:
        return line + b"\n"
    return _escaped(record)


def decode(line: bytes) -> Record:
    """Return the record of a line. Raises msgspec.DecodeError (a ValueError) for any other line."""
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
