"""Refuses members of a request to a language model that may cost more than its tokens.

It lists the members that are known to cost nothing extra, for each API. Any other member is
refused, because its cost is not known (a second model, a search, audio, a service tier at a higher
price). Some members cost nothing with certain values only. A tool's configuration may allow others
by name.

The lists follow the providers' API references as of August 2026 (OpenAI: chat, completions,
responses, embeddings; Anthropic: messages; Gemini: models.generateContent; Mistral: chat, fim,
embeddings), and what the servers of open models (vLLM, llama.cpp) add that only steers the choice
of the next token.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import NamedTuple

import msgspec

from crewgate import limits
from crewgate.core.pricing import llm_costly_parts
from crewgate.core.pricing.editable_json import EditableJSON, JSONPath, no_price, printable_name
from crewgate.errors import InvalidRequestError

Values = frozenset[bytes]

_ABSENT = b"null"
# The values that mean the default, so that sending them changes nothing.
_USUAL: Values = frozenset({b"false", b'"auto"', b'"default"', b'"standard"', b'"standard_only"'})
_NONE: Values = frozenset()


class AllowedMembers(NamedTuple):
    """The members that cost nothing extra in an object of a request.

    `free` members may have any value, `usual` members only the values listed. `inner` has the same
    rules for the objects in members of these names.
    """

    free: frozenset[str]
    usual: Mapping[str, Values]
    inner: Mapping[str, "AllowedMembers"] = {}


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _spelled(names: frozenset[str]) -> frozenset[str]:
    """Return each name in both spellings that ProtoJSON accepts: camel case and snake case."""
    return names | {re.sub(r"[A-Z]", lambda upper: "_" + upper[0].lower(), name) for name in names}


# Sampling parameters: a server that does not know one rejects or ignores it.
_SAMPLING = _names(
    "temperature top_p top_k top_a min_p typical_p seed stop frequency_penalty presence_penalty "
    "repetition_penalty length_penalty logit_bias logprobs top_logprobs prompt_logprobs min_tokens "
    "ignore_eos stop_token_ids bad_words skip_special_tokens spaces_between_special_tokens "
    "include_stop_str_in_output truncate_prompt_tokens add_special_tokens add_generation_prompt "
    "continue_final_message echo chat_template_kwargs guided_json guided_regex guided_choice "
    "guided_grammar structured_outputs grammar json_schema response_format user random_seed"
)
_OF_ALL = _names("model stream stream_options metadata user store")
_CACHE = _names("prompt_cache_key prompt_cache_retention prompt_cache_options safety_identifier")
_TIER: Mapping[str, Values] = {"service_tier": _USUAL}
_OPENAI: Mapping[str, Values] = {
    **_TIER,
    **dict.fromkeys(("background", "prediction", "n_predict", "models", "route"), _USUAL),
}
# The reasoning effort, which the tokens reflect. In a mode other than "standard" the model reasons
# in several passes.
_REASONING = AllowedMembers(
    _names("effort summary generate_summary context max_tokens exclude enabled"),
    {"mode": frozenset({b'"standard"'})},
)
_INNER: Mapping[str, AllowedMembers] = {
    "reasoning": _REASONING,
    "prompt_cache_options": AllowedMembers(_names("mode"), {"ttl": frozenset({b'"30m"'})}),
}
_TOOLS = _names("tools tool_choice parallel_tool_calls")

CHAT = AllowedMembers(
    _OF_ALL | _SAMPLING | _CACHE | _TOOLS
    | _names("messages max_tokens max_completion_tokens n best_of functions function_call "
             "reasoning_effort reasoning thinking enable_thinking thinking_budget verbosity "
             "safe_prompt prompt_mode cache_prompt repeat_penalty mirostat samplers "
             "id_slot timings_per_token allowed_token_ids guided_decoding_backend priority "
             "request_id reasoning_format include_reasoning do_sample"),
    {**_OPENAI, "modalities": frozenset({b'["text"]'}), "audio": _NONE,
     "web_search_options": _NONE},
    _INNER,
)  # fmt: skip
TEXT = AllowedMembers(
    _OF_ALL | _SAMPLING | _CACHE | _names("prompt suffix max_tokens n best_of"), _OPENAI
)
RESPONSES = AllowedMembers(
    _OF_ALL | _SAMPLING | _CACHE | _TOOLS
    | _names("input instructions max_output_tokens max_tool_calls previous_response_id "
             "conversation reasoning text truncation include client_metadata"),
    {**_OPENAI, "modalities": frozenset({b'["text"]'}), "audio": _NONE, "prompt": _NONE},
    _INNER,
)  # fmt: skip
EMBEDDINGS = AllowedMembers(
    _names(
        "model input user dimensions encoding_format input_type truncate truncation metadata "
        "truncate_prompt_tokens output_dimension output_dtype task normalized embedding_type"
    ),
    _OPENAI,
)
MESSAGES = AllowedMembers(
    _names("model messages system max_tokens stream metadata stop_sequences temperature top_p "
           "top_k thinking tools tool_choice output_config output_format cache_control "
           "context_management anthropic_version"),
    {**_TIER, "speed": _USUAL, "container": _NONE, "mcp_servers": frozenset({b"[]"}),
     "inference_geo": frozenset({b'"global"'})},
)  # fmt: skip
_GENERATION = AllowedMembers(
    _spelled(_names(
        "stopSequences responseMimeType responseSchema responseJsonSchema candidateCount "
        "maxOutputTokens temperature topP topK seed presencePenalty frequencyPenalty "
        "responseLogprobs logprobs thinkingConfig mediaResolution audioTimestamp "
        "enableEnhancedCivicAnswers"
    )),
    dict.fromkeys(_spelled(_names("responseModalities")),
                  frozenset({b'["TEXT"]', b'["text"]', b'["Text"]', b"[]"})),
)  # fmt: skip
SETTINGS = ("generationConfig", "generation_config")
CONTENTS = AllowedMembers(
    _spelled(_names(
        "contents model systemInstruction safetySettings tools toolConfig generationConfig "
        "cachedContent labels content taskType title outputDimensionality autoTruncate "
        "generateContentRequest"
    )),
    dict.fromkeys(("serviceTier", "service_tier"), _USUAL),
    dict.fromkeys(SETTINGS, _GENERATION),
)  # fmt: skip

# Tools that the client runs: they cost only the tokens of their descriptions and results.
_CLIENTS_TOOLS = re.compile(
    "function|custom|local_shell|shell|apply_patch|computer|computer_use_preview|"
    "(?:bash|computer|memory|text_editor)_[0-9]{8}"
)
_HOSTED = ("environment", "type")  # says whether OpenAI's `shell` runs at the client
_DECLARED = _spelled(frozenset({"functionDeclarations", "computerUse"}))
# Edits of these types remove old parts of a conversation; others have a model write a summary.
_EDITS = ("context_management", "edits")
_CLEARS = re.compile(rb'"clear_[a-z0-9_]+"')
_NAMESPACE = "namespace"  # OpenAI's type for a group of the client's tools


def check(
    document: EditableJSON, text: bytes, members: AllowedMembers, allow: tuple[str, ...]
) -> None:
    """Raise InvalidRequestError for the first member, tool or part that may cost extra.

    `text` is the text of `document`; `allow` names what passes nevertheless.
    """
    for name in _unknown(document, members, ()):
        if name not in allow:
            raise unpriced(f'"{printable_name(name)}"', name)
    if "tools" in members.free:
        _check_tools(_tools(document, (), is_gemini=members is CONTENTS), allow)
    if members is MESSAGES and _EDITS[0] not in allow and not _only_clears(document):
        raise unpriced(f'"{_EDITS[0]}"', _EDITS[0])
    if not llm_costly_parts.is_plain(text):
        _check_parts(document, members, allow)


def _check_tools(kinds: Iterator[str], allow: tuple[str, ...]) -> None:
    for kind in kinds:
        if kind not in allow:
            raise unpriced(f'the tool "{printable_name(kind)}"', kind)


def _check_parts(document: EditableJSON, members: AllowedMembers, allow: tuple[str, ...]) -> None:
    if members is CONTENTS:
        found = llm_costly_parts.sounds_of_contents(document)
    elif members is RESPONSES:
        for item in llm_costly_parts.tools_of_input(document):
            _check_tools(_tools(document, item), allow)
        found = chain(
            llm_costly_parts.sounds_of_messages(document, "input"),
            llm_costly_parts.summaries(document),
        )
    else:
        found = llm_costly_parts.sounds_of_messages(document, "messages")
    for name in found:
        if name not in allow:
            raise unpriced(f'"{name}"', name)


def _unknown(document: EditableJSON, members: AllowedMembers, within: JSONPath) -> Iterator[str]:
    """Yield the names of members that are not known to be free with their value."""
    for name, value in document.members(within):
        if name in members.inner:
            yield from _unknown(document, members.inner[name], (*within, name))
        if name in members.free:
            continue
        usual = members.usual.get(name)
        if usual is None or _compact(value) not in {_ABSENT, *usual}:
            yield name


def _compact(value: bytes) -> bytes:
    """Return a short JSON text without whitespace; a long one unchanged."""
    if len(value) > limits.usual_value_bytes_max:
        return value
    try:
        return msgspec.json.encode(msgspec.json.decode(value))
    except (ValueError, RecursionError):
        return value


def _tools(document: EditableJSON, within: JSONPath, *, is_gemini: bool = False) -> Iterator[str]:
    """Yield the types of the tools that the provider runs, which may cost extra per call."""
    tools = (*within, "tools")
    found = document.find(tools)
    if found is None or found == _ABSENT:
        return
    if not found.startswith(b"["):
        raise no_price('"tools" is not an array')
    for at in range(document.items(tools)):
        place = (*tools, str(at))
        if is_gemini:
            yield from (name for name, _ in document.members(place) if name not in _DECLARED)
            continue
        kind = document.find((*place, "type"))
        if kind is None or kind == _ABSENT:
            continue
        if not kind.startswith(b'"') or b"\\" in kind:
            raise no_price('the "type" of a tool is not a plain string')
        name = kind[1:-1].decode(errors="replace")
        if name == _NAMESPACE and "tools" not in within:
            yield from _tools(document, place)
        elif not _CLIENTS_TOOLS.fullmatch(name) or (
            name == "shell" and _is_hosted(document, place)
        ):
            yield name


def _is_hosted(document: EditableJSON, tool: JSONPath) -> bool:
    """Return whether a shell may run at the provider, in a container that costs by the hour."""
    return document.find((*tool, _HOSTED[0])) not in (None, _ABSENT) and (
        document.find((*tool, *_HOSTED)) != b'"local"'
    )


def _only_clears(document: EditableJSON) -> bool:
    """Return whether all edits of the conversation are known to cost nothing."""
    if document.find(_EDITS[:1]) in (None, _ABSENT):
        return True
    if [name for name, _ in document.members(_EDITS[:1])] != ["edits"]:
        return False
    return (document.find(_EDITS) or b"").startswith(b"[") and all(
        _CLEARS.fullmatch(document.find((*_EDITS, str(at), "type")) or b"")
        for at in range(document.items(_EDITS))
    )


def unpriced(what: str, name: str) -> InvalidRequestError:
    """Return the refusal of `what`, which `name` in the tool's `allow` would let pass."""
    return no_price(
        f"{what} may change what the call costs; leave it out, or set this "
        f'in the price of the tool: allow = ["{printable_name(name)}"]'
    )
