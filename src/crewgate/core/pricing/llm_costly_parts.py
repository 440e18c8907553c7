"""Finds the parts of a conversation that may cost extra: audio, tools and summaries.

Audio input costs more than text, and video contains audio. The search follows the structure that
the provider reads, so that neither a text nor the arguments of a call are mistaken for a part. Most
requests contain none of these names, and are not searched at all.
"""

import re
from collections.abc import Iterator

import msgspec

from crewgate.core.pricing.editable_json import EditableJSON, JSONPart, JSONPath

_ABSENT = b"null"
# All that is searched for below begins with one of these, in lower case. Any letter may be escaped,
# and Java folds the Turkish dotted and dotless i to i.
_HINTS = (
    *(b'"input_audio', b'"audio"', b'"audio_url', b'"inlinedata', b'"inline_data', b'"filedata'),
    *(b'"file_data', b'"additional_tools', b'"tool_search_output', b'"compaction_trigger'),
    *(b"\\u004", b"\\u005", b"\\u006", b"\\u007", b"\\u013", b"\xc4\xb0", b"\xc4\xb1"),
)
_SOUNDS = ("input_audio", "audio_url")
_BLOBS = ("inlineData", "inline_data", "fileData", "file_data")
_OUTERS = ("generateContentRequest", "generate_content_request")
_KINDS = ("mimeType", "mime_type")
# Media types without audio. A file without a type, such as a video by its URL, may have audio.
_SILENT = re.compile(
    r"(?:image|text)/.+|application/(?:pdf|json|xml|rtf|(?:x-)?(?:javascript|python|typescript))"
)
_ADD_TOOLS = ("additional_tools", "tool_search_output")
_text = msgspec.json.Decoder(str).decode
_SUMMARY = "compaction_trigger"


def is_plain(text: bytes) -> bool:
    """Return whether no part of a request can be one of these."""
    small = text.lower()
    return not any(hint in small for hint in _HINTS)


def sounds_of_messages(document: EditableJSON, holder: str) -> Iterator[str]:
    """Yield the name of each audio part in OpenAI's messages or input."""
    for message in _each(document, document.root, holder):
        if _has(document, message, "audio"):  # a spoken response, by its id
            yield "audio"
        for content in ("content", "output"):
            for part in _each(document, message, content):
                kind = _lower_text(document, part, "type")
                if kind in _SOUNDS or any(_has(document, part, each) for each in _SOUNDS):
                    yield "input_audio"


def sounds_of_contents(document: EditableJSON) -> Iterator[str]:
    """Yield the name of each audio part in Gemini's contents."""
    outers: list[JSONPart | None] = [document.root]
    outers += [document.inside(document.root, name) for name in _OUTERS]
    for outer in outers:
        for name in ("contents", "content", "systemInstruction", "system_instruction"):
            for content in _each(document, outer, name):
                for part in _each(document, content, "parts"):
                    yield from _blobs(document, part)
                    for answer in ("functionResponse", "function_response"):
                        for inner in _each(document, document.inside(part, answer), "parts"):
                            yield from _blobs(document, inner)


def tools_of_input(document: EditableJSON) -> Iterator[JSONPath]:
    """Yield the path of each item of OpenAI's input that adds tools to those of the request."""
    is_list = isinstance(document.inside(document.root, "input"), list)
    for at, item in enumerate(_each(document, document.root, "input")):
        if _lower_text(document, item, "type") in _ADD_TOOLS:
            yield ("input", str(at)) if is_list else ("input",)


def summaries(document: EditableJSON) -> Iterator[str]:
    """Yield the name of each item of OpenAI's input that has a model write a summary."""
    for item in _each(document, document.root, "input"):
        if _lower_text(document, item, "type") == _SUMMARY:
            yield _SUMMARY


def _blobs(document: EditableJSON, part: JSONPart | None) -> Iterator[str]:
    for name in _BLOBS:
        blob = document.inside(part, name)
        if blob is None or blob == _ABSENT:
            continue
        kinds = [each for each in _KINDS if _has(document, blob, each)]
        if not kinds or not all(_SILENT.fullmatch(_lower_text(document, blob, at)) for at in kinds):
            yield "audio"


def _each(document: EditableJSON, part: JSONPart | None, name: str) -> Iterator[JSONPart | None]:
    """Yield the items of the array `name`; or another value, which some servers accept as one."""
    found = document.inside(part, name)
    if isinstance(found, list):
        for at in range(len(found)):
            yield document.inside(found, str(at))
    elif found is not None and found != _ABSENT:
        yield found


def _has(document: EditableJSON, part: JSONPart | None, name: str) -> bool:
    return document.inside(part, name) not in (None, _ABSENT)


def _lower_text(document: EditableJSON, part: JSONPart | None, name: str) -> str:
    """Return the string `name` in lower case; "" if it is not a string."""
    found = document.inside(part, name)
    try:
        return _text(found).lower() if isinstance(found, bytes) else ""
    except ValueError:
        return ""
