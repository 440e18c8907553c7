"""What within the parts of a conversation may cost something of its own: sound, and tools.

Sound that is read is dearer than text, and a film has it too. Looks where a provider reads parts,
so that neither a text nor the arguments of a call are taken for one. Most requests have no word of
it, and are not looked into.
"""

import re
from collections.abc import Iterator

import msgspec

from crewgate.core.document import Document, Steps

_ABSENT = b"null"
# Any spelling of what is looked for below: the letters may be escaped, and Java takes an i with a
# dot, or one without, for an i.
_HINT = re.compile(
    rb"input_audio|audio_url|\"audio\"|inline_?data|file_?data|_tools\"|tool_search_output|"
    rb"compaction_trigger|\\u00[4-7]|\\u013[01]|\xc4[\xb0\xb1]",
    re.IGNORECASE,
)
_SOUNDS = ("input_audio", "audio_url")
_BLOBS = ("inlineData", "inline_data", "fileData", "file_data")
_KINDS = ("mimeType", "mime_type")
# What has no sound. Of a file without a kind, such as a film by its address, nobody knows.
_SILENT = re.compile(
    r"(?:image|text)/.+|application/(?:pdf|json|xml|rtf|(?:x-)?(?:javascript|python|typescript))"
)
_ADD_TOOLS = ("additional_tools", "tool_search_output")
_text = msgspec.json.Decoder(str).decode
_SUMMARY = "compaction_trigger"


def is_plain(text: bytes) -> bool:
    """Whether no part of a request can be any of this."""
    return not _HINT.search(text)


def sounds_of_messages(document: Document, holder: str) -> Iterator[str]:
    """The names of what is sound in OpenAI's messages or input; others have none."""
    for message in _each(document, (holder,)):
        if _has(document, (*message, "audio")):  # an answer that was spoken, by its id
            yield "audio"
        for content in ("content", "output"):
            for part in _each(document, (*message, content)):
                kind = _said(document, (*part, "type"))
                if kind in _SOUNDS or any(_has(document, (*part, each)) for each in _SOUNDS):
                    yield "input_audio"


def sounds_of_contents(document: Document) -> Iterator[str]:
    """The same in Gemini's contents, wherever they stand."""
    for outer in ((), ("generateContentRequest",), ("generate_content_request",)):
        for name in ("contents", "content", "systemInstruction", "system_instruction"):
            for content in _each(document, (*outer, name)):
                for part in _each(document, (*content, "parts")):
                    yield from _blobs(document, part)
                    for answer in ("functionResponse", "function_response"):
                        for inner in _each(document, (*part, answer, "parts")):
                            yield from _blobs(document, inner)


def tools_of_input(document: Document) -> Iterator[Steps]:
    """Where OpenAI's input adds tools to those of the request."""
    for item in _each(document, ("input",)):
        if _said(document, (*item, "type")) in _ADD_TOOLS:
            yield item


def summaries(document: Document) -> Iterator[str]:
    """What of OpenAI's input has a model write a summary."""
    for item in _each(document, ("input",)):
        if _said(document, (*item, "type")) == _SUMMARY:
            yield _SUMMARY


def _blobs(document: Document, part: Steps) -> Iterator[str]:
    for name in _BLOBS:
        if _has(document, (*part, name)):
            places = [(*part, name, each) for each in _KINDS if _has(document, (*part, name, each))]
            if not places or not all(_SILENT.fullmatch(_said(document, at)) for at in places):
                yield "audio"


def _each(document: Document, place: Steps) -> Iterator[Steps]:
    """The places of an array's items; that of another value, which some servers take for one."""
    found = document.find(place)
    if found is None or found == _ABSENT:
        return
    if not found.startswith(b"["):
        yield place
        return
    for at in range(document.items(place)):
        yield (*place, str(at))


def _has(document: Document, place: Steps) -> bool:
    return document.find(place) not in (None, _ABSENT)


def _said(document: Document, place: Steps) -> str:
    """The text that stands there, in lower case; none of anything else."""
    found = document.find(place)
    try:
        return _text(found).lower() if found else ""
    except ValueError:
        return ""
