"""A whole gateway whose tools' prices are not fixed, before a server of language models."""

import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
from installation import Premises
from shared_ledger_gateways import branch_of

from crewgate.config import load
from crewgate.issuer import Orchestrator
from crewgate.ledger.factory import open_session
from crewgate.ledger.sql import SQLLedger

TOOLS = """
[upstream.models]
url = "http://127.0.0.1:{port}"

[tool."llm.chat"]
method = "POST"
path = "/v1/chat/completions"
upstream = "models"
price = {{ usage = "openai", allow = ["told"], max = "10", model = {models} }}

[tool."llm.responses"]
method = "POST"
path = "/v1/responses"
upstream = "models"
price = {{ usage = "openai", max = "10", model = {models} }}

[tool."llm.embeddings"]
method = "POST"
path = "/llm/embeddings"
upstream = "models"
price = {{ usage = "openai", max = "10", model = {models} }}

[tool."llm.refusing"]
method = "POST"
path = "/refusing/chat/completions"
upstream = "models"
price = {{ usage = "openai", max = "10", on_short_credit = "refuse", model = {models} }}

[tool."llm.steps"]
method = "POST"
path = "/steps/chat/completions"
upstream = "models"
price = {{ usage = "openai", max = "10", step = "0.01", bytes_per_token = 5, model = {models} }}

[tool."llm.cancelled"]
method = "POST"
path = "/cancelled/chat/completions"
upstream = "models"
price = {{ usage = "openai", max = "10", on_disconnect = "cancel", model = {models} }}

[tool."llm.messages"]
method = "POST"
path = "/v1/messages"
upstream = "models"
carriers = ["authorization", "x-api-key"]
price = {{ usage = "anthropic", max = "10", model = {models} }}

[tool."llm.message-steps"]
method = "POST"
path = "/steps/v1/messages"
upstream = "models"
carriers = ["authorization", "x-api-key"]
price = {{ usage = "anthropic", max = "10", step = "0.01", model = {models} }}

[tool."llm.gemini"]
method = "POST"
path = "/v1beta/models/*"
upstream = "models"
price = {{ usage = "gemini", max = "10", model = {models} }}
"""
MODELS = (
    '{ "m-*" = { input = "10", cached = "5", output = "1000", output_tokens = 4000 }, '
    '"m-embed" = { input = "10", output = "0" } }'
)
TOLD = {  # answer as they are told
    "header": '{ max = "1", call = "0.01", response = [{ header = "x-cost", each = "1" }] }',
    "charged": """{ max = "1", on_overrun = "charge",
        response = [{ header = "x-cost", each = "1" }] }""",
    "number": '{ max = "1", response = [{ number = "/usage/pages", each = "0.002" }] }',
    "items": '{ max = "1", response = [{ items = "/found", each = "0.1" }] }',
    "trailer": '{ max = "1", response = [{ trailer = "x-units", per_thousand = "0.5" }] }',
    "bytes": '{ max = "0.05", response = [{ bytes = true, per_thousand = "0.01" }] }',
    "flow": '{ max = "5", step = "0.01", response = [{ bytes = true, per_thousand = "0.01" }] }',
    "sent": '{ max = "1", request = [{ bytes = true, per_thousand = "0.1" }] }',
    "asked": """{ max = "1", call = "0.001", request = [
        { number = "/pages", each = "0.01" }, { items = "/input", each = "0.02" }] }""",
}
TOLD_TOOL = """
[tool."told.{name}"]
method = "POST"
path = "/told/{name}"
upstream = "models"
price = {price}
"""


class Priced(Premises):
    """Language models at /v1/… and the like, and tools that answer as they are told at /told/…."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        text = self.file.read_text()
        tools = 'tools = ["search.*", "embeddings.*", "publish.*"]'
        assert tools in text
        text = text.replace(tools, f'{tools[:-1]}, "llm.*", "told.*"]')
        text += TOOLS.format(port=self.port + 10, models=MODELS)
        for name, price in TOLD.items():
            text += TOLD_TOOL.format(name=name, price=" ".join(price.split()))
        self.file.write_text(text)
        self.models = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("model_server.py")), str(self.port + 10)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self.models.stdout is not None
        assert self.models.stdout.readline() == b"ready\n"

    def end(self) -> None:
        super().end()
        assert self.models.stdin is not None
        assert self.models.stdout is not None
        self.models.stdin.close()
        self.models.wait(10)
        self.models.stdout.close()

    def mint(self, credits_: str) -> str:
        """The token of a new run that may spend so much."""
        tools = ["llm.*", "told.*"]
        return self._article.start_run(role="writer", credits=credits_, tools=tools).token()

    @cached_property
    def _article(self) -> Orchestrator:
        return self.orchestrator(name="article-2")  # a test may use the first

    def post(self, token: str, path: str, body: Any) -> httpx.Response:
        """One call."""
        with self.stream(token, path, body) as answer:
            answer.read()
            return answer

    @contextmanager
    def stream(self, token: str, path: str, body: Any) -> Iterator[httpx.Response]:
        """One call whose answer is read while the block lasts."""
        context = ssl.create_default_context(cafile=str(self.folder / "certs" / "ca.pem"))
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {token}"}
        url = f"https://127.0.0.1:{self.port}{path}"
        with (
            httpx.Client(verify=context, timeout=30, trust_env=False) as client,
            client.stream("POST", url, content=content, headers=headers) as answer,
        ):
            yield answer

    def spent(self, token: str) -> int:
        """Micro-credits that the ledger has settled for a token's run, once it is quiet."""
        with closing(open_session(load(self.file).ledger, readonly=True)) as session:
            statements = SQLLedger(session).report()
        (found,) = [each.settled for each in statements if each.name == branch_of(token)]
        return found

    def report(self) -> list[dict[str, Any]]:
        """The ledger's lines, by run."""
        rows: list[dict[str, Any]] = self.ask("ledger", "report", "--by", "run")["rows"]
        return rows

    def calls(self, token: str) -> list[dict[str, Any]]:
        """The audit's lines of a token's calls."""
        branch = branch_of(token)
        found = [r for r in self.records() if r["kind"] == "call" and r["branch"] == branch]
        return sorted(found, key=lambda record: str(record["time"]))


@contextmanager
def priced(folder: Path) -> Iterator[Priced]:
    """A serving one that ends with the block."""
    premises = Priced(folder)
    try:
        premises.serve()
        yield premises
    finally:
        premises.end()
