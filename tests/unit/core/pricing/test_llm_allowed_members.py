"""A request has no price if a member, value, tool or sound in it may cost something of its own."""

import json
from typing import Any

import pytest

from crewgate.core.pricing import editable_json
from crewgate.core.pricing.editable_json import EditableJSON
from crewgate.core.pricing.llm_request import asked
from crewgate.core.pricing.tariff import MILLION, LLMDialect, ModelRates, UsagePricing
from crewgate.errors import InvalidRequestError

MODEL = ModelRates("m", MILLION, MILLION, MILLION, MILLION, context_tokens=1000, output_tokens=100)
CHAT, TEXT, RESPONSES = b"/v1/chat/completions", b"/v1/completions", b"/v1/responses"
EMBEDDINGS, MESSAGES = b"/v1/embeddings", b"/v1/messages"
CONTENTS = b"/v1beta/models/m:generateContent"
SHAPES: dict[bytes, tuple[LLMDialect, dict[str, Any]]] = {
    CHAT: ("openai", {"model": "m", "messages": []}),
    TEXT: ("openai", {"model": "m", "prompt": "a"}),
    RESPONSES: ("openai", {"model": "m", "input": "a"}),
    EMBEDDINGS: ("openai", {"model": "m", "input": "a"}),
    MESSAGES: ("anthropic", {"model": "m", "messages": [], "max_tokens": 9}),
    CONTENTS: ("gemini", {"contents": []}),
}


def price(path: bytes, more: dict[str, Any] | str, allow: tuple[str, ...] = ()) -> str:
    """Why a request has no price; "" if it has one. `more` is a text where spelling matters."""
    dialect, body = SHAPES[path]
    if isinstance(more, str):
        text = json.dumps(body)[:-1] + "," + more + "}"
    else:
        text = json.dumps({**body, **more})
    try:
        asked(
            UsagePricing(dialect, (MODEL,), allow=allow),
            EditableJSON(text.encode()),
            path,
            len(text),
        )
    except InvalidRequestError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("path", SHAPES)
def test_what_no_list_knows_is_refused_by_its_name(path: bytes) -> None:
    """The problem says what would allow it; null is refused, too, where the name is not known."""
    said = price(path, {"sing": True})
    assert said.startswith('"sing" may change what the call costs; ')
    assert said.endswith('allow = ["sing"]')
    assert not price(path, {"sing": True}, ("sing",))
    assert price(path, {"sing": None}) == said
    assert not price(path, {"sing": None}, ("sing",))
    assert "sing" in price(path, {"sing": False})


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        (CHAT, "", ""),
        (CONTENTS, '"generationConfig":{', "}"),
        (CONTENTS, '"tools":[{', "}]"),
    ],
)
def test_the_work_grows_no_faster_than_the_names(
    monkeypatch: pytest.MonkeyPatch, path: bytes, before: str, after: str
) -> None:
    """The names of an object are made caseless once each, also where each is allowed."""
    calls = 0
    folded = editable_json.folded

    def counted(name: str) -> str:
        nonlocal calls
        calls += 1
        return folded(name)

    def work(size: int) -> int:
        nonlocal calls
        calls = 0
        names = tuple(f"a{at}" for at in range(size))
        assert not price(path, before + ",".join(f'"{n}":1' for n in names) + after, names)
        return calls

    monkeypatch.setattr(editable_json, "folded", counted)
    assert work(1000) < 11 * work(100)


DEAR: list[tuple[bytes, str, Any]] = [
    (CHAT, "modalities", ["text", "audio"]),
    (CHAT, "modalities", ["audio"]),
    (CHAT, "audio", {"voice": "alloy", "format": "wav"}),
    (CHAT, "prediction", {"type": "content", "content": "a"}),
    (CHAT, "web_search_options", {}),
    (CHAT, "service_tier", "priority"),
    (CHAT, "service_tier", "flex"),
    (CHAT, "use_beam_search", True),
    (CHAT, "Modalities", ["audio"]),
    (TEXT, "models", ["dear"]),
    (RESPONSES, "background", True),
    (RESPONSES, "prompt", {"id": "stored"}),
    (RESPONSES, "modalities", ["image"]),
    (EMBEDDINGS, "service_tier", "priority"),
    (MESSAGES, "speed", "fast"),
    (MESSAGES, "inference_geo", "us"),
    (MESSAGES, "mcp_servers", [{"url": "https://a"}]),
    (MESSAGES, "container", "c"),
    (MESSAGES, "anthropic_beta", ["context-1m-2025-08-07"]),
    (CHAT, "chat_template", "{% for _ in range(9999) %}a{% endfor %}"),
    (MESSAGES, "context_management", {"edits": [{"type": "compact_20260112"}]}),
    (MESSAGES, "context_management", {"edits": [{"type": "clear_a"}, {"type": "compact_1"}]}),
    (MESSAGES, "context_management", {"edits": [{}]}),
    (MESSAGES, "context_management", {"edits": {"type": "clear_a"}}),
    (MESSAGES, "context_management", {"edits": [], "more": 1}),
    (MESSAGES, "context_management", []),
    (CONTENTS, "serviceTier", "priority"),
    (CONTENTS, "service_tier", "priority"),
]


@pytest.mark.parametrize(("path", "name", "value"), DEAR, ids=str)
def test_what_is_known_to_cost_more_is_allowed_by_name_only(
    path: bytes, name: str, value: object
) -> None:
    """Sound, searches, second models, dearer lanes and places."""
    assert price(path, {name: value}).startswith(f'"{name}" may change what the call costs')
    assert not price(path, {name: value}, (name,))


@pytest.mark.parametrize(
    ("path", "more"),
    [
        (CHAT, {"modalities": ["text"], "audio": None, "n": 2, "temperature": 0.5, "stop": ["a"]}),
        (CHAT, {"response_format": {"type": "json_object"}, "reasoning_effort": "low", "seed": 1}),
        (CHAT, {"service_tier": "auto", "background": False, "user": "u", "top_k": 5, "min_p": 0}),
        (CHAT, {"stream": True, "stream_options": {"include_usage": True}, "logprobs": True}),
        (TEXT, {"suffix": "b", "best_of": 2, "echo": True}),
        (RESPONSES, {"instructions": "a", "text": {"format": {"type": "text"}}, "store": False}),
        (RESPONSES, {"reasoning": {"effort": "low"}, "truncation": "auto", "include": []}),
        (CHAT, {"safe_prompt": True, "cache_prompt": True, "priority": 1, "do_sample": False}),
        (RESPONSES, {"client_metadata": {"a": "b"}}),
        (EMBEDDINGS, {"output_dimension": 256, "task": "a", "normalized": True}),
        (MESSAGES, {"anthropic_version": "bedrock-2023-05-31", "context_management": None}),
        (MESSAGES, {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}),
        (EMBEDDINGS, {"dimensions": 256, "encoding_format": "base64"}),
        (MESSAGES, {"system": "a", "thinking": {"type": "enabled", "budget_tokens": 5}}),
        (MESSAGES, {"service_tier": "standard_only", "top_k": 3, "inference_geo": "global"}),
        (CONTENTS, {"systemInstruction": {"parts": []}, "safety_settings": []}),
        (CONTENTS, {"generationConfig": {"topK": 3, "response_modalities": ["TEXT"]}}),
        (CONTENTS, {"generation_config": {"thinking_config": {"thinkingBudget": 5}}}),
    ],
    ids=str,
)
def test_what_steers_an_answer_is_free(path: bytes, more: dict[str, Any]) -> None:
    """Tokens are what is paid for, however they are chosen."""
    assert not price(path, more)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"responseModalities": ["TEXT", "AUDIO"]}, "responseModalities"),
        ({"response_modalities": ["IMAGE"]}, "response_modalities"),
        ({"speechConfig": {}}, "speechConfig"),
        ({"modelSelectionConfig": {}}, "modelSelectionConfig"),
    ],
)
@pytest.mark.parametrize("outer", ["generationConfig", "generation_config"])
def test_geminis_settings_are_looked_into(outer: str, config: dict[str, Any], name: str) -> None:
    """In either spelling."""
    assert price(CONTENTS, {outer: config}).startswith(f'"{name}" may change')
    assert not price(CONTENTS, {outer: config}, (name,))


@pytest.mark.parametrize(
    ("path", "tools", "name"),
    [
        (RESPONSES, [{"type": "function"}, {"type": "web_search"}], "web_search"),
        (RESPONSES, [{"type": "image_generation"}], "image_generation"),
        (RESPONSES, [{"type": "code_interpreter", "container": "c"}], "code_interpreter"),
        (RESPONSES, [{"type": "shell", "environment": {"type": "container_auto"}}], "shell"),
        (RESPONSES, [{"type": "shell", "environment": {}}], "shell"),
        (CHAT, [{"type": "builtin_search"}], "builtin_search"),
        (MESSAGES, [{"name": "a"}, {"type": "web_search_20250305"}], "web_search_20250305"),
        (MESSAGES, [{"type": "code_execution_20250825"}], "code_execution_20250825"),
        (CONTENTS, [{"functionDeclarations": []}, {"googleSearch": {}}], "googleSearch"),
        (CONTENTS, [{"function_declarations": [], "google_maps": {}}], "google_maps"),
    ],
)
def test_a_tool_that_the_provider_runs_is_allowed_by_its_kind(
    path: bytes, tools: list[Any], name: str
) -> None:
    """A search is paid for by the call; what the client runs is text."""
    assert price(path, {"tools": tools}).startswith(f'the tool "{name}" may change')
    assert not price(path, {"tools": tools}, (name,))


@pytest.mark.parametrize(
    ("path", "tools"),
    [
        (CHAT, [{"type": "function", "function": {"name": "f"}}, {"type": "custom"}]),
        (MESSAGES, [{"name": "f", "input_schema": {}}, {"type": "bash_20250124", "name": "bash"}]),
        (MESSAGES, [{"type": "text_editor_20250728"}, {"type": "custom", "name": "f"}]),
        (CONTENTS, [{"functionDeclarations": [{"name": "f"}]}]),
        (CHAT, None),
        (MESSAGES, [{"type": "computer_20250124", "name": "computer"}]),
        (RESPONSES, [{"type": "local_shell"}, {"type": "apply_patch"}, {"type": "shell"}]),
        (RESPONSES, [{"type": "shell", "environment": {"type": "local"}}]),
        (RESPONSES, [{"type": "computer_use_preview"}, {"type": "computer"}]),
        (CONTENTS, [{"computerUse": {}}, {"computer_use": {}}]),
    ],
)
def test_tools_of_the_client_are_free(path: bytes, tools: Any) -> None:
    """They are counted as text."""
    assert not price(path, {"tools": tools})


@pytest.mark.parametrize(
    "tools",
    [
        '"tools":[{"type":"function","type":"web_search"}]',
        '"tools":[{"type":"web\\u005fsearch"}]',
        '"tools":[{"\\u0074ype":"web_search"}]',
        '"tools":[{"Type":"web_search","type":"function"}]',
        '"tools":{"type":"web_search"}',
        '"tools":[{"type":["web_search"]}]',
        '"tools":"web_search"',
        '"tools":[{"type":"shell","Environment":{"type":"container_auto"}}]',
    ],
)
def test_no_spelling_hides_a_tools_kind(tools: str) -> None:
    """Doubled, escaped, in another case, or in another form."""
    assert price(RESPONSES, tools)


def test_of_a_doubled_kind_only_the_one_that_was_read_goes_on() -> None:
    """A server that takes the first would see the search otherwise."""
    text = b'{"model":"m","input":"a","tools":[{"type":"web_search","type":"function"}]}'
    editable_json = EditableJSON(text)
    asked(UsagePricing("openai", (MODEL,)), editable_json, RESPONSES, len(text))
    assert json.loads(editable_json.written())["tools"] == [{"type": "function"}]
    assert b"web_search" not in editable_json.written()


def _part(part: str, dialect: bytes = CHAT) -> str:
    """A part of a conversation where a provider reads it."""
    if dialect == CONTENTS:
        return f'"contents":[{{"parts":[{{"text":"a"}},{part}]}}]'
    return f'"{"input" if dialect == RESPONSES else "messages"}":[{{"content":[{part}]}}]'


SOUNDS = [
    (CHAT, _part('{"type":"input_audio","input_audio":{"data":"a"}}'), "input_audio"),
    (CHAT, _part('{"type":"input\\u005fAudio"}'), "input_audio"),
    (CHAT, _part('{"input_audio":{"data":"a"}}'), "input_audio"),
    (CHAT, '"messages":{"content":{"type":"audio_url"}}', "input_audio"),
    (CHAT, '"messages":[{"role":"assistant","audio":{"id":"a"}}]', "audio"),
    (RESPONSES, _part('{"type":"input_audio"}', RESPONSES), "input_audio"),
    *[
        (CONTENTS, _part(part, CONTENTS), "audio")
        for part in (
            '{"inlineData":{"mimeType":"audio/wav"}}',
            '{"inline_data":{"mime_type" : "AUDIO/wav"}}',
            '{"fileData":{"mimeTyp\\u0065":"\\u0061udio/wav"}}',
            '{"file\\u0044ata":{"fileUri":"https://a"}}',
            '{"fileData":{"fileUri":"https://a/film"}}',
            '{"fileData":{"mimeType":null}}',
            '{"fileData":{"mimeType":"video/mp4"}}',
            '{"inlineData":{"mimeType":"application/octet-stream"}}',
            '{"inlineData":{"mimeType":"image/png","mime_type":"video/mp4"}}',
            '{"functionResponse":{"parts":[{"inlineData":{"mimeType":"audio/mp3"}}]}}',
        )
    ],
    (CONTENTS, '"systemInstruction":{"parts":{"fileData":{"mimeType":"video/mp4"}}}', "audio"),
    (CONTENTS, '"generateContentRequest":{' + _part('{"fileData":{}}', CONTENTS) + "}", "audio"),
]


@pytest.mark.parametrize(("path", "more", "name"), SOUNDS)
def test_sound_that_is_read_is_dearer_than_text(path: bytes, more: str, name: str) -> None:
    """Wherever a provider reads it, however it is spelled; not where a text speaks of it."""
    assert price(path, more).startswith(f'"{name}" may change')
    assert not price(path, more, (name,))
    assert not price(path, {"labels" if path == CONTENTS else "user": more})


@pytest.mark.parametrize(
    "part",
    [
        '{"inlineData":{"mimeType":"image/png","data":"a"}}',
        '{"fileData":{"mime_type":"application/pdf","fileUri":"https://a"}}',
        '{"fileData":{"mimeType":"text/x-python"}}',
        '{"inlineData":null}',
    ],
)
def test_pictures_and_texts_are_no_sound(part: str) -> None:
    """Their tokens are what they cost."""
    assert not price(CONTENTS, _part(part, CONTENTS))


@pytest.mark.parametrize(
    ("path", "more"),
    [
        (CHAT, '"messages":[{"tool_calls":[{"input":{"type":"input_audio"}}]}]'),
        (CHAT, '"tools":[{"type":"function","function":{"parameters":{"type":"input_audio"}}}]'),
        (RESPONSES, '"input":[{"arguments":{"type":"input_audio"}}]'),
        (CONTENTS, _part('{"functionCall":{"args":{"fileData":{"a":1}}}}', CONTENTS)),
        (CONTENTS, _part('{"functionResponse":{"response":{"inlineData":{}}}}', CONTENTS)),
        (MESSAGES, _part('{"type":"tool_use","input":{"type":"input_audio"}}')),
    ],
)
def test_an_argument_of_a_call_is_no_sound(path: bytes, more: str) -> None:
    """It is data of the client, whatever it is called."""
    assert not price(path, more)


@pytest.mark.parametrize(
    ("item", "name"),
    [
        ('{"type":"additional_tools","tools":[{"type":"web_search"}]}', "web_search"),
        ('{"type":"addition\\u0061l_tools","tools":[{"type":"mcp"}]}', "mcp"),
        ('{"type":"tool_search_output","tools":[{"type":"image_generation"}]}', "image_generation"),
    ],
)
def test_tools_that_the_input_adds_are_looked_at(item: str, name: str) -> None:
    """They cost what those of the request cost."""
    more = f'"input":[{{"role":"user"}},{item}]'
    assert price(RESPONSES, more).startswith(f'the tool "{name}" may change')
    assert not price(RESPONSES, more, (name,))
    clients = item.replace(name, "function")
    assert not price(RESPONSES, f'"input":[{clients}]')
    assert price(RESPONSES, f'"input":{item}').startswith(f'the tool "{name}" may change')


def test_a_summary_that_the_input_asks_for_is_allowed_by_name_only() -> None:
    """A model writes it."""
    more = '"input":[{"type":"compaction_trigger"}]'
    assert price(RESPONSES, more).startswith('"compaction_trigger" may change')
    assert not price(RESPONSES, more, ("compaction_trigger",))


@pytest.mark.parametrize(
    ("tools", "name"),
    [
        ([{"type": "function"}, {"type": "custom"}], ""),
        ([{"type": "function"}, {"type": "web_search"}], "web_search"),
        ([{"type": "namespace", "tools": []}], "namespace"),
    ],
)
def test_a_namespace_costs_what_its_tools_cost(tools: list[Any], name: str) -> None:
    """One within another is none that is known."""
    said = price(RESPONSES, {"tools": [{"type": "namespace", "name": "a", "tools": tools}]})
    assert said.startswith(f'the tool "{name}" may change') if name else not said


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
def test_how_a_model_thinks_is_free_but_in_several_passes(path: bytes) -> None:
    """Its tokens are what it costs; in another mode some of them are not said."""
    assert not price(path, {"reasoning": {"effort": "high", "summary": "auto", "mode": "standard"}})
    assert not price(path, {"prompt_cache_options": {"mode": "explicit", "ttl": "30m"}})
    assert price(path, {"reasoning": {"mode": "pro"}}).startswith('"mode" may change')
    assert price(path, {"prompt_cache_options": {"ttl": "24h"}}).startswith('"ttl" may change')


@pytest.mark.parametrize("value", ['[ "text" ]', '[\n"\\u0074ext"]', "null", '["text"]'])
def test_blanks_and_escapes_change_no_value(value: str) -> None:
    """A list is compared by what it says."""
    assert not price(CHAT, f'"modalities":{value}')
    assert price(CHAT, f'"modalities":{value}'.replace("]", ',"audio"]').replace("null", "[]"))
    assert not price(CONTENTS, '"generationConfig":{"responseModalities":[ "TEXT" ]}')


def test_a_text_that_speaks_of_sound_is_text() -> None:
    """A message of that word alone, and a past call of a tool with a file's kind."""
    assert not price(CHAT, {"messages": [{"role": "user", "content": "input_audio"}]})
    used = {"type": "tool_use", "id": "a", "name": "play", "input": {"mimeType": "audio/mp3"}}
    assert not price(MESSAGES, {"messages": [{"role": "assistant", "content": [used]}]})


def test_a_name_is_shown_as_it_may_be() -> None:
    """Cut, and without what drives a terminal."""
    said = price(CHAT, {"\x1b[31m" + "a" * 100: 1})
    assert said.startswith('"\\x1b[31m' + "a" * 59 + '" may')
