"""What language models' servers are asked for and state afterwards, in the field's three shapes.

OpenAI's (chat and text completions, responses, embeddings, and whoever is compatible), Anthropic's
messages and Gemini's contents. Decides how many tokens a request may cost at most, and reads how
many an answer did. Knows neither rates nor credits.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from crewgate import limits
from crewgate.core.document import UNPRICED, Document
from crewgate.core.prices import Dialect, Model, Usage, amount
from crewgate.errors import RequestRefusedError

Steps = tuple[str, ...]


class Asked(NamedTuple):
    """What a request asks for: a model, tokens that it may read, and write for each of `choices`.

    `limits` is where the request says that bound, or where it is to be said.
    """

    model: Model
    name: str
    read: int
    written: int
    choices: int
    limits: tuple[Steps, ...]
    streams: bool


class Counts(NamedTuple):
    """Tokens: read afresh, read from a cache, written into one, and answered."""

    fresh: int = 0
    cached: int = 0
    stored: int = 0
    answered: int = 0

    def charges(self, model: Model) -> list[tuple[int, int]]:
        """Rates and units."""
        rates = model.input, model.cached, model.written, model.output
        return list(zip(rates, self, strict=True))


class _Shape(NamedTuple):
    """Where a dialect writes what; where it has no limit, the first of them is written."""

    limits: tuple[Steps, ...]
    choices: tuple[Steps, ...]


_CHAT = _Shape((("max_completion_tokens",), ("max_tokens",)), (("n",),))
_TEXT = _Shape((("max_tokens",),), (("n",), ("best_of",)))
_RESPONSES = _Shape((("max_output_tokens",),), ())
_MESSAGES = _Shape((("max_tokens",),), ())
_CONTENTS = _Shape(
    (("generationConfig", "maxOutputTokens"), ("generation_config", "max_output_tokens")),
    (("generationConfig", "candidateCount"), ("generation_config", "candidate_count")),
)

# What a model reads because of these is not in the request: files, pages, conversations, results of
# tools that its server calls. An escaped letter could hide one of the names.
_BEYOND = re.compile(
    rb'"(?:image_url|file_id|file_url|url|fileUri|file_uri|fileData|file_data|cachedContent|'
    rb"cached_content|previous_response_id|conversation|container|mcp_servers|"
    rb"vector_store_ids|web_search_options|googleSearch\w*|google_search\w*|urlContext|url_context|"
    rb'codeExecution|code_execution|(?:web_|file_)search\w*|web_fetch\w*|computer\w*|mcp)"'
    rb'|"(?:code_(?:interpreter|execution)|web_(?:search|fetch))|\\u00[2-7]'
)
_PATH_MODEL = re.compile(rb"/models/([A-Za-z0-9._-]{1,128}):(\w+)$")
_STREAM_OPTION = ("stream_options", "include_usage")


def asked(usage: Usage, document: Document, path: bytes, size: int) -> Asked:
    """What a request of `size` bytes asks for. RequestRefusedError: what keeps it from a price."""
    name, stream_path = _model(usage.dialect, document, path)
    model = usage.model(name)
    if model is None:
        raise RequestRefusedError(UNPRICED, f'there is no price for the model "{name}"')
    shape = _shape(usage.dialect, document)
    given = {place: bound for place in shape.limits if (bound := _whole(document, place))}
    choices = max((_whole(document, place) or 1 for place in shape.choices), default=1)
    streams = stream_path or document.find(("stream",)) == b"true"
    limit = tuple(given) or shape.limits[:1]
    read = _read(model, document, size)
    if not model.output:
        return Asked(model, name, read, 0, 1, limit, streams)
    known = [*given.values(), *([model.output_tokens] if model.output_tokens else [])]
    if not known:
        place = "/".join(limit[0])
        raise RequestRefusedError(UNPRICED, f'say how much may be answered: "{place}"')
    return Asked(model, name, read, min(known), choices, limit, streams)


def lower(document: Document, request: Asked, tokens: int) -> None:
    """Bound what may be answered."""
    for place in request.limits:
        document.put(place, b"%d" % tokens)


def ask_for_usage(dialect: Dialect, document: Document) -> bool:
    """Have a stream end with its usage; True if the client had not asked for that itself."""
    if dialect != "openai" or _shape(dialect, document) not in {_CHAT, _TEXT}:
        return False
    if document.find(_STREAM_OPTION) == b"true":
        return False
    if document.find(_STREAM_OPTION[:1]) in {None, b"null"}:
        document.put(_STREAM_OPTION[:1], b"{}")
    document.put(_STREAM_OPTION, b"true")
    return True


def counts(dialect: Dialect, answer: object, before: Counts | None) -> Counts | None:
    """The usage that an answer, or an event of one, states; None if it states none.

    `before` is what earlier events stated: later ones may repeat a part of it only. ValueError for
    what is no number of tokens.
    """
    if not isinstance(answer, Mapping):
        return None
    if dialect == "gemini":
        stated = answer.get("usageMetadata")
        return _gemini(stated) if isinstance(stated, Mapping) else None
    inside = answer.get("message") if dialect == "anthropic" else answer.get("response")
    stated = answer.get("usage")
    if stated is None and isinstance(inside, Mapping):
        stated = inside.get("usage")
    if not isinstance(stated, Mapping):
        return None
    return _anthropic(stated, before or Counts()) if dialect == "anthropic" else _openai(stated)


def text_bytes(event: object) -> int:
    """Bytes of the text that an event of a stream brings, as far as one can tell."""
    if not isinstance(event, Mapping):
        return 0
    return sum(
        _texts(event.get(name)) for name in ("delta", "choices", "content_block", "candidates")
    )


def is_usage_only(event: object) -> bool:
    """Whether a client that did not ask for usage would not have been sent this event."""
    return isinstance(event, Mapping) and event.get("choices") == [] and bool(event.get("usage"))


def _model(dialect: Dialect, document: Document, path: bytes) -> tuple[str, bool]:
    """The model's name, and whether the path asks for a stream."""
    if dialect == "gemini":
        match = _PATH_MODEL.search(path)
        if match is None:
            raise RequestRefusedError(UNPRICED, "the path names no model: /models/NAME:METHOD")
        return match[1].decode(), match[2].startswith(b"stream")
    text = document.find(("model",)) or b""
    name = text[1:-1]
    if not text.startswith(b'"') or b"\\" in name or not _is_plain(name):
        raise RequestRefusedError(UNPRICED, '"model" is not a plain text')
    if not 0 < len(name) <= limits.model_chars_max:
        raise RequestRefusedError(UNPRICED, f'"model" has 1 to {limits.model_chars_max} characters')
    return name.decode(), False


def _shape(dialect: Dialect, document: Document) -> _Shape:
    if dialect == "anthropic":
        return _MESSAGES
    if dialect == "gemini":
        return _CONTENTS
    if document.find(("messages",)) is not None:
        return _CHAT
    prompt = document.find(("prompt",))
    return _RESPONSES if prompt is None or prompt.startswith(b"{") else _TEXT


def _is_plain(name: bytes) -> bool:
    return name.isascii() and name.decode().isprintable()


def _read(model: Model, document: Document, size: int) -> int:
    """A token stands for one byte or more (byte-level BPE), and what frames a message is JSON."""
    stored = (document.find(("prompt",)) or b"").startswith(b"{")  # by the server
    if not stored and not _BEYOND.search(document.written()):
        return min(size, model.context_tokens or size)
    if model.context_tokens:
        return model.context_tokens
    raise RequestRefusedError(
        UNPRICED,
        "the request makes the model read what is not in it; give the model context_tokens",
    )


def _whole(document: Document, place: Steps) -> int | None:
    text = document.find(place)
    if text is None or text == b"null":
        return None
    try:
        number = amount(text)
    except ValueError:
        number = -1
    if not isinstance(number, int) or not 1 <= number <= limits.tokens_max:
        raise RequestRefusedError(
            UNPRICED, f'"{"/".join(place)}" is not a whole number of 1 or more'
        )
    return number


def _tokens(stated: Mapping[str, object], *names: str) -> int:
    for name in names:
        value = stated.get(name)
        if value is None:
            continue
        if type(value) is not int or not 0 <= value <= limits.tokens_max:
            raise ValueError(f"{name} is no number of tokens")
        return value
    return 0


def _part(stated: Mapping[str, object], *names: str) -> Mapping[str, object]:
    for name in names:
        value = stated.get(name)
        if isinstance(value, Mapping):
            return value
    return {}


def _openai(stated: Mapping[str, object]) -> Counts:
    """Cached tokens are among the input's, reasoning tokens among the output's."""
    read = _tokens(stated, "prompt_tokens", "input_tokens")
    details = _part(stated, "prompt_tokens_details", "input_tokens_details")
    cached = min(read, _tokens(details, "cached_tokens"))
    return Counts(read - cached, cached, 0, _tokens(stated, "completion_tokens", "output_tokens"))


def _anthropic(stated: Mapping[str, object], before: Counts) -> Counts:
    """Totals so far; what an event does not repeat stands. Cached tokens are beside the input's."""
    names = (
        "input_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "output_tokens",
    )
    return Counts(
        *(
            _tokens(stated, name) if stated.get(name) is not None else known
            for name, known in zip(names, before, strict=True)
        )
    )


def _gemini(stated: Mapping[str, object]) -> Counts:
    """Cached tokens are among the prompt's, thoughts beside the candidates'."""
    read = _tokens(stated, "promptTokenCount")
    cached = min(read, _tokens(stated, "cachedContentTokenCount"))
    answered = _tokens(stated, "candidatesTokenCount") + _tokens(stated, "thoughtsTokenCount")
    return Counts(read - cached + _tokens(stated, "toolUsePromptTokenCount"), cached, 0, answered)


def _texts(value: object, depth: int = 8) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "replace"))
    if depth and isinstance(value, Mapping):
        return sum(_texts(each, depth - 1) for each in value.values())
    if depth and isinstance(value, list):
        return sum(_texts(each, depth - 1) for each in value)
    return 0
