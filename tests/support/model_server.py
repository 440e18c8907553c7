"""A server of language models, in OpenAI's, Anthropic's and Gemini's shapes: `model_server.py P`.

POST /told/… answers as its body says: {"status", "headers", "text" or "chunks", "trailers",
"pause"}. All else answers as many words as it is asked for, one token each, and states them. The
model's name says how else: `-rude` answers 400 words whatever is asked for, `-silent` states no
usage, `-plain` does not stream, `-slow` waits 10 ms before each event and each body, `-dear` states
a hundred times what it did. Prints "ready"; ends when its input does.
"""

import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORD = "word "
RUDE = 400
LATENCY = 0.01


class Call:
    """What is asked, as far as it matters here."""

    def __init__(self, path: str, body: dict[str, Any]) -> None:
        self.path = path
        self.body = body
        self.model = str(body.get("model") or path)
        limits = ("max_completion_tokens", "max_tokens", "max_output_tokens")
        given = [body[name] for name in limits if body.get(name)]
        given += [body.get("generationConfig", {}).get("maxOutputTokens") or 0]
        self.words = RUDE if "-rude" in self.model else given[0]
        self.read = len(json.dumps(body)) // 4
        self.pause = LATENCY if "-slow" in self.model else 0.0

    @property
    def stated(self) -> int:
        return self.words * (100 if "-dear" in self.model else 1)

    @property
    def silent(self) -> bool:
        return "-silent" in self.model


def chat_usage(call: Call) -> dict[str, Any]:
    return {
        "prompt_tokens": call.read,
        "completion_tokens": call.stated,
        "total_tokens": call.read + call.stated,
        "prompt_tokens_details": {"cached_tokens": call.read // 2},
    }


def chat(call: Call) -> dict[str, Any]:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": WORD * call.words},
        "finish_reason": "length",
    }
    head = {"id": "chat-1", "object": "chat.completion", "created": 1, "model": call.model}
    return head | {"choices": [choice]} | ({} if call.silent else {"usage": chat_usage(call)})


def chat_events(call: Call) -> Iterator[tuple[str, Any]]:
    head = {"id": "chat-1", "object": "chat.completion.chunk", "created": 1, "model": call.model}
    for _ in range(call.words):
        yield "", head | {"choices": [{"index": 0, "delta": {"content": WORD}}]}
    yield "", head | {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]}
    if call.body.get("stream_options", {}).get("include_usage") and not call.silent:
        yield "", head | {"choices": [], "usage": chat_usage(call)}
    yield "", "[DONE]"


def message_usage(call: Call) -> dict[str, Any]:
    return {
        "input_tokens": call.read,
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0,
        "output_tokens": call.stated,
    }


def message(call: Call) -> dict[str, Any]:
    return {
        "id": "message-1",
        "type": "message",
        "role": "assistant",
        "model": call.model,
        "content": [{"type": "text", "text": WORD * call.words}],
        "stop_reason": "max_tokens",
        "stop_sequence": None,
        "usage": message_usage(call),
    }


def message_events(call: Call) -> Iterator[tuple[str, Any]]:
    begun = message(call) | {"content": [], "stop_reason": None}
    begun["usage"] = message_usage(call) | {"output_tokens": 1}
    yield "message_start", {"type": "message_start", "message": begun}
    block = {"type": "text", "text": ""}
    yield "content_block_start", {"type": "content_block_start", "index": 0, "content_block": block}
    for _ in range(call.words):
        delta = {"type": "text_delta", "text": WORD}
        yield "content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta}
    yield "content_block_stop", {"type": "content_block_stop", "index": 0}
    delta = {"stop_reason": "max_tokens", "stop_sequence": None}
    usage = {"output_tokens": call.stated}
    yield "message_delta", {"type": "message_delta", "delta": delta, "usage": usage}
    yield "message_stop", {"type": "message_stop"}


def embeddings(call: Call) -> dict[str, Any]:
    vector = {"object": "embedding", "index": 0, "embedding": [0.5] * 8}
    usage = {"prompt_tokens": call.read, "total_tokens": call.read}
    return {"object": "list", "model": call.model, "data": [vector], "usage": usage}


def responses(call: Call) -> dict[str, Any]:
    text = {"type": "output_text", "text": WORD * call.words, "annotations": []}
    item = {
        "type": "message",
        "id": "item-1",
        "role": "assistant",
        "status": "completed",
        "content": [text],
    }
    return {
        "id": "response-1",
        "object": "response",
        "created_at": 1,
        "model": call.model,
        "status": "completed",
        "output": [item],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": call.read,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": call.stated,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": call.read + call.stated,
        },
    }


def response_events(call: Call) -> Iterator[tuple[str, Any]]:
    whole = responses(call)
    begun = whole | {"status": "in_progress", "output": [], "usage": None}
    yield "response.created", {"type": "response.created", "sequence_number": 0, "response": begun}
    for number in range(call.words):
        yield (
            "response.output_text.delta",
            {
                "type": "response.output_text.delta",
                "sequence_number": number + 1,
                "item_id": "item-1",
                "output_index": 0,
                "content_index": 0,
                "delta": WORD,
                "logprobs": [],
            },
        )
    last = {"type": "response.completed", "sequence_number": call.words + 1, "response": whole}
    yield "response.completed", last


def contents(call: Call, words: int | None = None) -> dict[str, Any]:
    answered = call.words if words is None else words
    return {
        "candidates": [{"content": {"role": "model", "parts": [{"text": WORD}]}}],
        "usageMetadata": {
            "promptTokenCount": call.read,
            "candidatesTokenCount": answered,
            "totalTokenCount": call.read + answered,
        },
        "modelVersion": call.model,
    }


def content_events(call: Call) -> Iterator[tuple[str, Any]]:
    for words in range(1, call.words + 1):
        yield "", contents(call, words)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["content-length"]))
        path, _, query = self.path.partition("?")
        if path.startswith("/told"):
            self.tell(json.loads(text))
            return
        call = Call(path, json.loads(text))
        if "told" in call.body:
            self.tell(call.body["told"])
            return
        if path.endswith(("/messages", "/responses", "/chat/completions")):
            streams = bool(call.body.get("stream"))
        else:
            streams = ":stream" in path and "alt=sse" in query
        whole, events = {
            "messages": (message, message_events),
            "completions": (chat, chat_events),
            "responses": (responses, response_events),
            "embeddings": (embeddings, chat_events),
        }.get(path.rsplit("/", 1)[-1], (contents, content_events))
        if streams and "-plain" not in call.model:
            self.stream(call, events(call))
        else:
            self.answer(whole(call), call.pause)

    def answer(self, whole: dict[str, Any], pause: float) -> None:
        text = json.dumps(whole).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        time.sleep(pause)
        self.wfile.write(text)

    def stream(self, call: Call, events: Iterator[tuple[str, Any]]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        try:
            for name, data in events:
                time.sleep(call.pause)
                line = data if isinstance(data, str) else json.dumps(data)
                event = (f"event: {name}\n" if name else "") + f"data: {line}\n\n"
                self.wfile.write(f"{len(event):x}\r\n{event}\r\n".encode())
            self.wfile.write(b"0\r\n\r\n")
        except OSError:  # cut, as it should be where credit ends
            self.close_connection = True

    def tell(self, told: dict[str, Any]) -> None:
        self.send_response(told.get("status", 200))
        for name, value in told.get("headers", {}).items():
            self.send_header(name, value)
        if "chunks" not in told:
            text = told.get("text", "").encode()
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)
            return
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        trailers = "".join(
            f"{name}: {value}\r\n" for name, value in told.get("trailers", {}).items()
        )
        try:
            for chunk in told["chunks"]:
                time.sleep(told.get("pause", 0))
                self.wfile.write(f"{len(chunk):x}\r\n{chunk}\r\n".encode())
            self.wfile.write(f"0\r\n{trailers}\r\n".encode())
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name there
        """Say nothing."""


def main(port: int) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()
    server.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]))
