"""A gateway with two crews and a crossing between them, and clients that show certificates."""

import json
import ssl
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import trio
from installation import Installation

from crewgate.issuer.signing import SigningKey

_CREW = """
[crew.{crew}]
issuer = "https://{crew}.example"
jwks = "crews/{crew}.jwks.json"
signing_key = "crews/{crew}/signing.key"
tools = ["search.*", "finance.*", "bd.*", "hr.*"]
"""
_TOOL = """
[tool."{name}"]
method = "{method}"
path = "{path}"
upstream = "tools"
price = "{price}"
owner = "{owner}"
"""
_CROSSING = """
[[crossing]]
from = "bd"
to = "finance"
tools = {tools}
credits_per_hour = "{hour}"
credits_per_run = "{run}"
"""
TOOLS = (
    ("finance.quote", "POST", "/finance/quote", "finance"),
    ("finance.payout", "POST", "/finance/payout", "finance"),
    ("finance.stream", "GET", "/stream/finance", "finance"),
    ("bd.mail", "POST", "/bd/mail", "bd"),
    ("hr.file", "POST", "/hr/file", "hr"),
)


class TwoCrews(Installation):
    """BD's orchestrators may call what `crossing` names of Finance; HR is crossed to by nobody."""

    def __init__(
        self,
        folder: Path,
        *,
        price: str = "1",
        run: str = "50",
        hour: str = "1000",
        crossing: Sequence[str] = ("finance.quote", "finance.stream"),
        **options: Any,
    ) -> None:
        super().__init__(folder, price=price, **options)
        text = self.file.read_text()
        for crew in ("bd", "finance", "hr"):
            key = SigningKey.generate(f"{crew}-1")
            (self.folder / "crews" / crew).mkdir(mode=0o700)
            key.write(self.folder / "crews" / crew / "signing.key")
            jwks = self.folder / "crews" / f"{crew}.jwks.json"
            jwks.write_text(json.dumps({"keys": [key.jwk()]}))
            text += _CREW.format(crew=crew)
        for name, method, path, owner in TOOLS:
            text += _TOOL.format(name=name, method=method, path=path, price=price, owner=owner)
        tools = json.dumps(list(crossing))
        self.file.write_text(text + _CROSSING.format(tools=tools, hour=hour, run=run))

    def certificate(self, name: str = "bd-1", crew: str = "bd") -> Path:
        """A new process's certificate: the PEM file, its key beside it."""
        number = len(list(self.folder.glob("*.pem")))
        prefix = self.folder / f"{name}-{number}"
        asked = ["--role", "orchestrator", "--crew", crew, "--name", name, "--out", str(prefix)]
        self.run("ca", "issue", *asked)
        return prefix.with_name(f"{prefix.name}.pem")

    def serial(self, certificate: Path) -> str:
        """Its serial number, as the CA's register has it."""
        serial: str = self.ask("ca", "show", str(certificate))["serial"]
        return serial

    def crossing_client(
        self, certificate: Path | None, *, http2: bool = True, token: str = ""
    ) -> httpx.AsyncClient:
        """A stock client at the listener for other crews."""
        context = ssl.create_default_context(cafile=str(self.folder / "certs" / "ca.pem"))
        if certificate is not None:
            context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        return httpx.AsyncClient(
            verify=context,
            http2=http2,
            http1=not http2,
            base_url=f"https://127.0.0.1:{self.port + 1}",
            headers={"authorization": f"Bearer {token}"} if token else {},
            timeout=30,
            trust_env=False,
        )

    def calls(self, **wanted: Any) -> list[dict[str, Any]]:
        """The records of calls that have these values."""
        return [
            record
            for record in self.records()
            if record["kind"] == "call" and wanted.items() <= record.items()
        ]


@contextmanager
def two_crews(folder: Path, **options: Any) -> Iterator[TwoCrews]:
    """A serving installation of two crews that ends with the block."""
    site = TwoCrews(folder, **options)
    try:
        site.serve()
        yield site
    finally:
        site.end()


async def call_together(
    clients: Sequence[httpx.AsyncClient], path: str, calls: int
) -> Counter[int]:
    """`calls` POSTs at once, spread over the clients; how often each status came, 0: broken."""
    statuses: Counter[int] = Counter()

    async def call(number: int) -> None:
        try:
            answer = await clients[number % len(clients)].post(path, json={"q": number})
            statuses[answer.status_code] += 1
        except httpx.HTTPError:
            statuses[0] += 1

    async with trio.open_nursery() as nursery:
        for number in range(calls):
            nursery.start_soon(call, number)
    return statuses
