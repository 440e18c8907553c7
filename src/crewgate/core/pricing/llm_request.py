"""Reads how many tokens a request to a language model may cost at most, and writes that limit.

It knows three dialects: OpenAI's (chat and text completions, responses, embeddings, and compatible
servers), Anthropic's messages and Gemini's contents. `token_usage` reads what a response states.
"""

import re
from typing import NamedTuple

from crewgate import limits
from crewgate.core.pricing import llm_allowed_members
from crewgate.core.pricing.editable_json import EditableJSON, JSONPath, no_price
from crewgate.core.pricing.llm_allowed_members import SETTINGS, AllowedMembers
from crewgate.core.pricing.sources import amount
from crewgate.core.pricing.tariff import LLMDialect, ModelRates, UsagePricing


class RequestedUsage(NamedTuple):
    """What a request asks for: a model, its name, and the tokens that it may read and write.

    `read` and `written` are upper bounds; `written` counts for each of `choices`. `limits` are the
    places in the request that hold the limit of `written`, or where it must be put.
    """

    model: ModelRates
    name: str
    read: int
    written: int
    choices: int
    limits: tuple[JSONPath, ...]
    streams: bool


class _Shape(NamedTuple):
    """The members of a request of one API.

    `limits` are the places of an output limit; if a request has none, the first is written.
    `choices` are the places of the number of choices, `input` is the member with the input, and
    `members` are those that cost nothing.
    """

    limits: tuple[JSONPath, ...]
    choices: tuple[JSONPath, ...]
    input: str
    members: AllowedMembers


_CHOICES: tuple[JSONPath, ...] = (("n",), ("best_of",))
_CHAT = _Shape(
    (("max_completion_tokens",), ("max_tokens",)), _CHOICES, "messages", llm_allowed_members.CHAT
)
_TEXT = _Shape((("max_tokens",),), _CHOICES, "prompt", llm_allowed_members.TEXT)
_RESPONSES = _Shape((("max_output_tokens",),), (), "input", llm_allowed_members.RESPONSES)
# There is no output, and some servers reject a limit.
_EMBEDDINGS = _Shape((), (), "input", llm_allowed_members.EMBEDDINGS)
_MESSAGES = _Shape((("max_tokens",),), (), "messages", llm_allowed_members.MESSAGES)
# ProtoJSON accepts both spellings everywhere.
_CONTENTS = _Shape(
    tuple((top, name) for top in SETTINGS for name in ("maxOutputTokens", "max_output_tokens")),
    tuple((top, name) for top in SETTINGS for name in ("candidateCount", "candidate_count")),
    "contents",
    llm_allowed_members.CONTENTS,
)
_BY_PATH = {
    b"/chat/completions": _CHAT,
    b"/completions": _TEXT,
    b"/responses": _RESPONSES,
    b"/embeddings": _EMBEDDINGS,
}

# With these, the model reads what is not in the request, or what costs more tokens than it has
# bytes: images, files, pages, conversations, results of tools that its server calls. Servers
# written in Go accept any case, and an escaped letter could hide a name. Testing the first letter
# skips most texts.
_BEYOND = (
    re.compile(
        rb'"(?=[acdfgimpruvw])'
        rb"(?:(?:image|video|audio|file)_url|input_(?:audio|image|file|video)|"
        rb"file_?(?:id|data|uri)|inline_?data|cached_?content|previous_response_id|conversation|"
        rb"container|mcp_servers|mcp|item_reference|vector_store_ids|web_search_options|"
        rb"data_sources|file_?search\w*|retrieval|google_?search\w*|url_?context|"
        rb"code_?(?:execution|interpreter)\w*|web_(?:search|fetch)\w*|computer\w*|"
        rb'image_generation)"',
        re.IGNORECASE,
    ),
    re.compile(rb'"type"\s*:\s*"(?:url|image|document|base64|file)"', re.IGNORECASE),
    re.compile(rb"\\u00(?:4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9a])", re.IGNORECASE),
)
# Go folds the long s (U+017F) to s, and the kelvin sign (U+212A) to k.
_LONG_S = re.compile(rb"\xc5\xbf|\\u017f", re.IGNORECASE)
_KELVIN = re.compile(rb"\xe2\x84\xaa|\\u212a", re.IGNORECASE)
# "ttl": "1h", with any of its characters escaped.
_LONG_CACHE = re.compile(
    rb'"(?:(?:t|\\u00[57]4){2})(?:l|\\u00[46]c)"\s*:\s*"(?:1|\\u0031)(?:h|\\u00[46]8)"',
    re.IGNORECASE,
)
_GEMINI = re.compile(rb"/models/([A-Za-z0-9._-]{1,128}):(\w+)$")
_GENERATE = {b"generateContent", b"streamGenerateContent"}
_NO_ANSWER = {b"embedContent", b"countTokens"}
_OWN_PROMPTS = ("safe_prompt", "prompt_mode")  # with these, the server adds its own prompt
_NO_PROMPT = {None, b"null", b"false"}
_STREAM_OPTION = ("stream_options", "include_usage")


def asked(usage: UsagePricing, document: EditableJSON, path: bytes, size: int) -> RequestedUsage:
    """Return what a request of `size` bytes asks for.

    Raises InvalidRequestError, which says why there is no price.
    """
    if usage.dialect == "gemini":
        name, method = _gemini(path)
        streams, answers = method.startswith(b"stream"), method in _GENERATE
    else:
        name, answers = _model(document), True
        streams = document.find(("stream",)) == b"true"
    model = usage.model(name)
    if model is None:
        raise no_price(f'there is no price for the model "{name}"')
    text = document.written()
    shape = _shape(usage.dialect, document, path)
    given = {place: bound for place in shape.limits if (bound := _whole(document, place))}
    llm_allowed_members.check(document, text, shape.members, usage.allow)
    if "ttl" not in usage.allow and _LONG_CACHE.search(text):
        raise no_price('"ttl": "1h" costs more than the price of a cache write')
    read = _read(model, document, text, size)
    if not (model.output and answers and shape.limits):
        return RequestedUsage(model, name, read, 0, 1, (), streams)
    limit = tuple(given) or (_place_for_limit(document, shape),)
    known = [*given.values(), *([model.output_tokens] if model.output_tokens else [])]
    if not known:
        place = "/".join(limit[0])
        raise no_price(f'set "{place}", the limit of the output')
    choices = max((_whole(document, place) or 1 for place in shape.choices), default=1)
    return RequestedUsage(
        model, name, read, min(known), choices * _prompts(document, shape), limit, streams
    )


def _place_for_limit(document: EditableJSON, shape: _Shape) -> JSONPath:
    """Return where to put a limit: in an object that the request has already, if there is one."""
    existing = (place for place in shape.limits if place[:-1] and document.find(place[:-1]))
    return next(existing, shape.limits[0])


def bound(document: EditableJSON, request: RequestedUsage, tokens: int) -> None:
    """Limit the output to `tokens`, in every place where the request has or needs a limit."""
    for place in request.limits if request.written else ():
        document.put(place, b"%d" % tokens)


def ask_for_usage(document: EditableJSON, path: bytes) -> bool:
    """Have an OpenAI stream end with its usage; return True if the client had not asked for it."""
    if _shape("openai", document, path) not in (_CHAT, _TEXT):
        return False
    if document.find(_STREAM_OPTION) == b"true":
        return False
    document.put(_STREAM_OPTION, b"true")
    return True


def _gemini(path: bytes) -> tuple[str, bytes]:
    match = _GEMINI.search(path)
    if match is None or match[2] not in _GENERATE | _NO_ANSWER:
        methods = ", ".join(sorted(each.decode() for each in _GENERATE | _NO_ANSWER))
        raise no_price(f"the path does not end with /models/NAME: and one of {methods}")
    return match[1].decode(), match[2]


def _model(document: EditableJSON) -> str:
    text = document.find(("model",))
    if text is None:
        raise no_price('"model" is missing')
    name = text[1:-1]
    is_plain = b"\\" not in name and name.isascii() and name.decode().isprintable()
    if not text.startswith(b'"') or not is_plain:
        raise no_price('"model" is not a plain string of printable ASCII')
    if not 0 < len(name) <= limits.model_chars_max:
        raise no_price(f'"model" must have 1 to {limits.model_chars_max} characters')
    return name.decode()


def _shape(dialect: LLMDialect, document: EditableJSON, path: bytes) -> _Shape:
    """Return the shape of a request, by its path like its server.

    Raises InvalidRequestError if neither the path nor the members tell.
    """
    if dialect != "openai":
        return _MESSAGES if dialect == "anthropic" else _CONTENTS
    ending = next((each for each in _BY_PATH if path.endswith(each)), None)
    if ending is not None:
        return _BY_PATH[ending]
    found = [each for each in (_CHAT, _TEXT, _RESPONSES) if document.find((each.input,))]
    if len(found) != 1:
        raise no_price('send exactly one of "messages", "prompt" and "input"')
    return found[0]


def _prompts(document: EditableJSON, shape: _Shape) -> int:
    """Return how many prompts are completed: each item of an array of strings or arrays is one."""
    text = document.find(("prompt",)) if shape is _TEXT else None
    if text is None or not re.match(rb'\[\s*(?:null|["\[])', text):
        return 1
    return max(1, document.items(("prompt",)))


def _read(model: ModelRates, document: EditableJSON, text: bytes, size: int) -> int:
    """Return the most tokens that the model may read.

    A token stands for one byte or more (byte-level BPE); servers add a few of their own.
    """
    is_stored = (document.find(("prompt",)) or b"").startswith(b"{")
    own = limits.framing_tokens
    if any(document.find((name,)) not in _NO_PROMPT for name in _OWN_PROMPTS):
        own += limits.own_prompt_tokens
    if document.find(("tools",)) or document.find(("functions",)):
        own += limits.tools_tokens
    plain = _KELVIN.sub(b"k", _LONG_S.sub(b"s", text))
    if not is_stored and not any(beyond.search(plain) for beyond in _BEYOND):
        return min(size + own, model.context_tokens or size + own)
    if model.context_tokens:
        return model.context_tokens
    raise no_price("the model reads more than the request's text; give the model context_tokens")


def _whole(document: EditableJSON, place: JSONPath) -> int | None:
    text = document.find(place)
    if text is None or text == b"null":
        return None
    try:
        number = amount(text)
    except ValueError:
        number = -1
    if not isinstance(number, int) or not 1 <= number <= limits.tokens_max:
        name = "/".join(place)
        raise no_price(f'"{name}" is not a whole number of 1 or more')
    return number
