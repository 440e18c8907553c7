"""A whole gateway before a recording server, and what must hold of whatever reaches that server.

`faults` knows nothing of how the gateway works: it has the routes as regular expressions, the
fields that a client sent, and what the server saw.
"""

import base64
import json
import re
import ssl
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from urllib.parse import unquote_to_bytes

from installation import Premises, wait_until
from lenient_servers import matched, served
from raw_http import Client1, Client2
from recording_server import Recorder, Seen

from crewgate.core.policy.routing import RoutePattern

Field = tuple[bytes, bytes]
TOOLS = (
    ("tool.items-any", "GET", "/items/*", ""),
    ("tool.items-one", "GET", "/items/{id}", ""),
    ("tool.items-new", "GET", "/items/new", ""),
    ("tool.items-put", "PUT", "/items/{id}", ""),
    ("tool.search-web", "POST", "/search", ""),
    ("tool.admin-read", "GET", "/admin/*", ""),
    ("tool.admin-write", "POST", "/admin/*", ""),
    ("tool.models-run", "POST", "/v1/models/{model}", ""),
    ("tool.models-generate", "POST", "/v1/models/m:generate", ""),
    ("tool.judged-body", "POST", "/judged", 'decide_on = "body"'),
    ("tool.keyed-call", "POST", "/keyed", 'carriers = ["authorization", "x-api-key"]'),
    (
        "tool.trusting-call",
        "POST",
        "/trusting",
        'allow_fields = ["x_session", "x-http-method-override", "x-forwarded-for"]',
    ),
)
# Tools whose path is another one at the server, and what it begins with there.
MOVED = (
    ("tool.moved-one", "GET", "/moved/{id}", 'rewrite = "/deep/v2/{id}"'),
    ("tool.moved-any", "GET", "/far/*", 'rewrite = "/deep/*"'),
    ("tool.moved-new", "GET", "/elsewhere", 'rewrite = "/deep/v2/new"'),
    ("tool.based-any", "GET", "/based/*", 'rewrite = "/*"'),
)
# Tools of one path, each on hosts of its own, and with a server of its own.
HOSTED = (
    ("tool.hosted-one", "GET", "/hosted/{id}", 'hosts = ["one.example", "one.test:8443"]'),
    ("tool.hosted-two", "GET", "/hosted/{id}", 'hosts = ["two.example", "two.test:8443"]'),
)
# Upstreams with a base path, and which tools are on them.
BASES = {"based": "/base", "one": "/one", "two": "/two"}
UPSTREAMS = {"tool.based-any": "based", "tool.hosted-one": "one", "tool.hosted-two": "two"}
THERE = {b"moved": b"/deep/v2", b"far": b"/deep", b"elsewhere": b"/deep/v2/new", b"based": b"/base"}
# As the server has them.
ROUTES = [
    *[RoutePattern(method, path, name) for name, method, path, _ in TOOLS],
    RoutePattern("GET", "/deep/v2/{id}", "tool.moved-one"),
    RoutePattern("GET", "/deep/*", "tool.moved-any"),
    RoutePattern("GET", "/deep/v2/new", "tool.moved-new"),
    RoutePattern("GET", "/base/*", "tool.based-any"),
    RoutePattern("GET", "/one/hosted/{id}", "tool.hosted-one"),
    RoutePattern("GET", "/two/hosted/{id}", "tool.hosted-two"),
]
KEY = b"Key s3cret"
TRUSTING = b"tool.trusting-call"
ALLOWED = {b"x_session", b"x-http-method-override", b"x-forwarded-for"}  # of the trusting tool

# What no client's field may be upstream, whatever its spelling.
NEVER = set(
    b"authorization cookie host connection keep-alive proxy-connection te transfer-encoding "
    b"upgrade http2-settings expect proxy-authorization content-length x-api-key x-goog-api-key "
    b"x-http-method x-http-method-override x-method-override x-original-url x-original-uri "
    b"x-rewrite-url x-forwarded-prefix x-forwarded-path x-forwarded-host x-forwarded-for "
    b"x-forwarded-proto x-forwarded-port x-real-ip forwarded x-host".split()
)
TOKEN = b"{token}"  # stands for the caller's, in a variant
ENCODED = b"{encoded}"  # the same with each byte percent-encoded
DOTTED = b"{dotted}"  # the same with its dots percent-encoded
_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+: ?[\t\x20-\x7e\x80-\xff]*")
_TARGET = re.compile(rb"/[!-~]*")
# Whose of `HOSTED` an authority is (RFC 3986, section 3.2; RFC 9110, section 4.2.3).
_WHOSE = re.compile(
    rb"(one|two)(?:\.example\.?(?::[0-9]*)?|\.test\.?:8443)", re.ASCII | re.IGNORECASE
)


@dataclass
class Sent:
    """What a client asked for, in the one reading that a strict server has of it."""

    method: bytes
    target: bytes
    fields: Sequence[Field] = ()
    body: bytes = b""
    trailers: Sequence[Field] = ()
    version: bytes = b"1.1"  # of HTTP
    authority: bytes | None = b"a"  # None: HTTP/2 without `:authority`
    hosts: Sequence[bytes] | None = None  # what Host says beside it; HTTP/1.1 says the same

    @property
    def named(self) -> Sequence[bytes]:
        """What stands in Host over HTTP/1.1."""
        return (self.authority or b"",) if self.hosts is None else self.hosts


class Stand:
    """A serving gateway, a token for all its tools, and the server behind it."""

    def __init__(self, premises: Premises, recorder: Recorder, token: str) -> None:
        self.port = premises.port
        self.seen = recorder.seen
        self.token = token.encode()
        self.authority = b"127.0.0.1:%d" % recorder.port
        trust = premises.folder / "certs" / "ca.pem"
        self.http1 = Client1(self.port, _speaking("http/1.1", trust))
        self.http2 = Client2(self.port, _speaking("h2", trust))
        self.identity = _identity(token)
        self._premises = premises

    def judged(self, seen: Sequence[Seen]) -> dict[str, str]:
        """The tools in the audit records of these requests, by the requests' ids."""
        ids = {request.decode() for one in seen for request in one.values(b"x-crewgate-request")}

        def calls() -> dict[str, str]:
            return {
                record["request"]: record["tool"]
                for record in self._premises.records()
                if record["kind"] == "call" and record["request"] in ids
            }

        found: dict[str, str] = {}

        def all_are_there() -> bool:
            found.update(calls())
            return ids <= found.keys()

        wait_until(all_are_there)
        return found


def _speaking(protocol: str, trust: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(trust))
    context.set_alpn_protocols([protocol])
    return context


@contextmanager
def standing(folder: Path, kind: type[Recorder] = Recorder) -> Iterator[Stand]:
    """A gateway that serves `TOOLS`, from a server of this kind."""
    premises = Premises(folder)
    with kind() as recorder:
        head, _, _ = premises.file.read_text().partition("[upstream.tools]")
        head = head.replace("workers = 2", "workers = 1")
        head = re.sub(r"(?m)^tools = .*$", 'tools = ["tool.*"]', head)
        credential = '{ header = "x-upstream-key", prefix = "Key ", env = "RECORDER_KEY" }'
        text = f'{head}[upstream.tools]\nurl = "http://127.0.0.1:{recorder.port}"\n'
        text += f'protocol = "{kind.protocol}"\ncredential = {credential}\n'
        for name, base in BASES.items():
            text += f'[upstream.{name}]\nurl = "http://127.0.0.1:{recorder.port}{base}"\n'
            text += f'protocol = "{kind.protocol}"\ncredential = {credential}\n'
        for name, method, path, more in (*TOOLS, *MOVED, *HOSTED):
            text += f'[tool."{name}"]\nmethod = "{method}"\npath = "{path}"\n'
            text += f'upstream = "{UPSTREAMS.get(name, "tools")}"\n'
            text += f'price = "0.001"\n{more}\n'
        premises.file.write_text(text)
        try:
            premises.serve({"RECORDER_KEY": "s3cret"})
            arguments = (
                "--crew",
                "article",
                "--role",
                "tester",
                "--tools",
                "tool.*",
                "--credits",
                "500",
            )
            stand = Stand(premises, recorder, premises.run("mint", *arguments).strip())
            with closing(stand.http1), closing(stand.http2):
                yield stand
        finally:
            premises.end()


def _identity(token: str) -> dict[bytes, bytes]:
    """What the tool must hear of the caller, from the token itself."""
    part = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return {
        b"x-crewgate-crew": claims["crew"].encode(),
        b"x-crewgate-orchestrator": claims["client_id"].encode(),
        b"x-crewgate-process": claims["process_id"].encode(),
        b"x-crewgate-role": claims["agent_role"].encode(),
        b"x-crewgate-branch": claims["execution_branch_id"].encode(),
        b"x-crewgate-grant": claims["jti"].encode(),
        b"x-crewgate-subject": claims["sub"].encode(),
    }


def faults(stand: Stand, seen: Seen, sent: Sent | None = None) -> list[str]:
    """What is wrong with a request that reached the server; nothing if it is what was judged."""
    found = _malformed(stand, seen) + _misrouted(seen) + _mistaken(stand, seen)
    if sent is not None:
        found += _changed(seen, with_token(sent, None))
    return found


def with_token(sent: Sent, token: bytes | None) -> Sent:
    """The same with a token where it is asked for; with None, without what would hold it."""

    def told(fields: Sequence[Field]) -> list[Field]:
        kept = [field for field in fields if token is not None or TOKEN not in field[1]]
        return [(name, value.replace(TOKEN, token or b"")) for name, value in kept]

    given = token or b""
    target = sent.target.replace(TOKEN, given).replace(DOTTED, given.replace(b".", b"%2E"))
    target = target.replace(ENCODED, b"".join([b"%%%02x" % octet for octet in given]))
    return replace(sent, target=target, fields=told(sent.fields), trailers=told(sent.trailers))


def _malformed(stand: Stand, seen: Seen) -> list[str]:
    lines = seen.raw.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    found = [f"a malformed line {line!r}" for line in lines if not _LINE.fullmatch(line)]
    if not _TARGET.fullmatch(seen.target) or seen.version not in (b"HTTP/1.1", b"HTTP/2"):
        found.append(f"a malformed request line {seen.target!r} {seen.version!r}")
    if seen.values(b"host") != [stand.authority]:
        found.append("Host is not the server's")
    framing = seen.values(b"content-length") + seen.values(b"transfer-encoding")
    if len(framing) > 1 or (seen.values(b"transfer-encoding") not in ([], [b"chunked"])):
        found.append(f"a body framed by {framing}")
    if seen.version == b"HTTP/2":
        fields = (*seen.fields, *seen.trailers)
        found += [f"not HTTP/2: {name!r}" for name, _ in fields if name != name.lower()]
        found += ["not HTTP/2: a transfer coding"] * bool(seen.values(b"transfer-encoding"))
    return found


def _misrouted(seen: Seen) -> list[str]:
    """Whether any server could take it for another tool than the one that was judged."""
    tools = [value.decode() for value in seen.values(b"x-crewgate-tool")]
    method, path = seen.method.decode(), seen.target.partition(b"?")[0]
    plain = re.sub(rb"%([0-9A-Fa-f]{2})", lambda m: bytes.fromhex(m[1].decode()), path)
    strict = matched(ROUTES, method, plain)
    found = [] if tools == [strict] else [f"judged as {tools}, but it is {strict!r}"]
    others = _served(method, path) - set(tools)
    return found + [f"a server could take it for {other}" for other in sorted(others)]


@cache
def _served(method: str, path: bytes) -> frozenset[str]:
    return frozenset(served(ROUTES, method, path))


def _mistaken(stand: Stand, seen: Seen) -> list[str]:
    """Whether the caller is told exactly once, and nothing of his passes for the gateway's."""
    found = []
    if stand.token in seen.raw or stand.token in unquote_to_bytes(seen.target):
        found.append("the token is in it")
    for name, value in stand.identity.items():
        if seen.values(name) != [value]:
            found.append(f"{name.decode()} is {seen.values(name)}")
    if seen.values(b"x-upstream-key") != [KEY] or len(seen.values(b"x-crewgate-request")) != 1:
        found.append("the credential, or the request's id, is not there once")
    told = {*stand.identity, b"x-crewgate-tool", b"x-crewgate-request", b"x-upstream-key"}
    for name, _ in (*seen.fields, *seen.trailers):
        plain = plainly(name)
        if name not in told and (plain.startswith(b"x-crewgate") or plain == b"x-upstream-key"):
            found.append(f"{name!r} could pass for the gateway's")
    for name, _ in seen.trailers:
        if plainly(name) in NEVER:
            found.append(f"the trailer {name!r}")
    return found


def plainly(name: bytes) -> bytes:
    """A name as the sloppiest framework keeps it."""
    return re.sub(rb"[^a-z0-9]", b"-", name.strip().lower())


def _changed(seen: Seen, sent: Sent) -> list[str]:
    found = []
    if any(host.lower() != (sent.authority or b"").lower() for host in sent.hosts or ()):
        found.append(f"Host {sent.hosts} is not {sent.authority!r}")
    for what, here, there in (
        ("method", seen.method, sent.method),
        ("target", seen.target, forwarded(sent)),
        ("body", seen.body, sent.body),
    ):
        if here != there:
            found.append(f"the {what} is {here[:80]!r}, sent was {there[:80]!r}")
    passed = [
        (name.lower(), value)
        for name, value in seen.fields
        if not name.lower().startswith(b"x-crewgate-")
        and name.lower()
        not in (b"x-upstream-key", b"host", b"content-length", b"transfer-encoding")
    ]
    allowed = ALLOWED if seen.values(b"x-crewgate-tool") == [TRUSTING] else set()
    expected = expected_fields(sent.fields, allowed)
    expected = _with_origin(expected, sent, joined=bool(allowed))
    said = [value for name, value in sent.fields if name.lower() == b"te"]
    if seen.version == b"HTTP/2" and any(b"trailers" in value for value in said):
        expected.append((b"te", b"trailers"))  # RFC 9113 §8.2.2: nothing else may stand there
    if passed != expected:
        found.append(f"the fields are {passed}, not {expected}")
    trailers = [(name.lower(), value) for name, value in seen.trailers]
    if trailers != expected_fields(sent.trailers, allowed):
        found.append(f"the trailers are {trailers}")
    return found


def forwarded(sent: Sent) -> bytes:
    """The target at the server: another beginning, and all the rest byte for byte."""
    path, mark, query = sent.target.partition(b"?")
    first, slash, rest = path[1:].partition(b"/")
    there = THERE.get(unquote_to_bytes(first))
    if unquote_to_bytes(first) == b"hosted":
        whose = _WHOSE.fullmatch(sent.authority or b"")
        there = b"/%b/hosted" % (whose[1].lower() if whose else b"none")
    return sent.target if there is None else there + slash + rest + mark + query


def expected_fields(fields: Sequence[Field], allowed: Collection[bytes]) -> list[Field]:
    """Those of a client's fields that its call may bring to the server."""
    fields = [(name.lower(), value.strip(b" \t")) for name, value in fields]
    options = [value for name, value in fields if name == b"connection"]
    named = {part.strip().lower() for value in options for part in value.split(b",")}
    return [
        (name, value)
        for name, value in fields
        if name not in named
        and (name in allowed or (re.fullmatch(rb"[a-z0-9-]+", name) and plainly(name) not in NEVER))
    ]


def _with_origin(fields: list[Field], sent: Sent, *, joined: bool) -> list[Field]:
    """The fields, then the gateway's word on where the request came from.

    `joined`: behind what the client says in the same field.
    """
    authority = sent.authority or b""
    host = b'"%b"' % authority if b":" in authority else authority  # RFC 7239, section 4
    ours = {
        b"via": sent.version + b" crewgate",
        b"forwarded": b"for=127.0.0.1;host=%b;proto=https" % host,
        b"x-forwarded-for": b"127.0.0.1",
        b"x-forwarded-host": authority,
        b"x-forwarded-proto": b"https",
    }
    if not joined:
        return [*fields, *ours.items()]
    said = {name: [value for key, value in fields if key == name and value] for name in ours}
    rest = [field for field in fields if field[0] not in ours]
    return [*rest, *[(name, b", ".join([*said[name], value])) for name, value in ours.items()]]
