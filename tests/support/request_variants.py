"""Hundreds of requests that servers read in different ways, as products of what, where and how.

Each names itself. Nothing here says what must become of it: differential.py does.
"""

from collections.abc import Iterator, Sequence
from itertools import product

from differential import DOTTED, ENCODED, TOKEN, Sent

BASES = (
    (b"GET", b"/items/new"),
    (b"POST", b"/admin/users"),
    (b"POST", b"/v1/models/m:generate"),
)
INSERTED = (
    b"/", b"//", b"/./", b"/../", b"/.../", b"/..", b"/.", b"/..;/", b"/.;/", b"/;/", b";", b";a=b",
    b";/../", b"%2e", b"/%2e/", b"/%2e%2e/", b"/%2E%2e/", b"/.%2e/", b"/%2e./", b"/%252e%252e/",
    b"/%25252e/", b"%2f", b"%2F..%2F", b"%252f", b"%5c", b"%5C..%5C", b"\\", b"\\..\\", b"/..\\",
    b"%00", b"%00.html", b"\x00", b"%0a", b"%0d%0a", b"%09", b"\t", b" ", b"%20", b"+", b"%7f",
    b"\x7f", b"%", b"%2", b"%zz", b"%u002e", b"%u002f", b"#", b"#a", b"%23", b"%23/..", b"%3f",
    b"%3F/../", b"/%c0%ae%c0%ae/", b"%c0%af", b"%e0%80%af", b"/%f0%80%80%ae/", b"%ff", b"%c3",
    b"\xc3\xa4", b"%c3%a4", b"\xff", b"/\xc0\xae\xc0\xae/", b"%ef%bc%8f", b"/%ef%bc%8e%ef%bc%8e/",
    b"%e2%80%a5", b"%ef%bc%852e", b"*", b"/*", b"{id}", b".", b".json", b".tar.gz", b"::$DATA",
    b"~",
    b"~1", b"$", b"!", b"'", b'"', b"<", b"|", b"^", b"`", b"[", b"@", b":", b",", b"=", b"&",
    b"%26", b"%c2%85", b"%c2%a0", b"%e2%80%8b", b"%e3%80%80", b"%c2%ad", b"%ef%bb%bf", b"::",
    b"+:.", b":$a:$DATA", b"%ef%bc%9a", b"%ef%bc%8b", b"+.json",
)  # fmt: skip
PLACES = ("middle", "front", "end")
SPELLINGS = {
    "capitals": lambda path: path.upper(),
    "first capital": lambda path: b"/" + path[1:].capitalize(),
    "last capital": lambda path: path[:-1] + path[-1:].upper(),
    "encoded": lambda path: b"".join([b"%%%02x" % c if c != 0x2F else b"/" for c in path]),
    "encoded last": lambda path: path[:-1] + b"%%%02X" % path[-1],
    "twice encoded last": lambda path: path[:-1] + b"%%25%02X" % path[-1],
    "encoded colon": lambda path: path.replace(b":", b"%3a"),
    "encoded slashes": lambda path: b"/" + path[1:].replace(b"/", b"%2f"),
    "backslashes": lambda path: b"/" + path[1:].replace(b"/", b"\\"),
    "doubled slashes": lambda path: path.replace(b"/", b"//"),
    "without a slash": lambda path: path[1:],
    "fullwidth": lambda path: b"/items/" + "new".translate({c: c + 0xFEE0 for c in range(33,
    127)}).encode(),
    "encoded fullwidth": lambda path: b"/items/%EF%BD%8E%EF%BD%85%EF%BD%97",
    "dotless i": lambda path: path.replace(b"i", b"%C4%B1"),
    "long s": lambda path: path.replace(b"s", b"%C5%BF"),
    "up to it": lambda path: b"/items/x/.." + path.removeprefix(b"/items"),
    "long": lambda path: path + b"/" + b"a" * 4000,
    "too long": lambda path: path + b"/" + b"a" * 40_000,
    "deep": lambda path: path + b"/a" * 1000,
    "climbing": lambda path: path + b"/.." * 12 + path,
}  # fmt: skip


def paths() -> Iterator[tuple[str, bytes, bytes]]:
    """(name, method, target): something in the midst of each path, and each path otherwise.

    For one path, something in its other places as well.
    """
    first = product(BASES[:1], INSERTED, PLACES)
    for (method, path), what, place in (*first, *product(BASES[1:], INSERTED, PLACES[:1])):
        head, _, last = path.rpartition(b"/")
        target = {
            "front": what + path,
            "middle": head + what + b"/" * (not what.endswith(b"/")) + last,
            "end": path + what,
        }[place]
        yield f"{what!r} at the {place} of {path!r}", method, target
    for (method, path), (name, spell) in product(BASES, SPELLINGS.items()):
        yield f"{name}: {path!r}", method, spell(path)


QUERIES = (
    b"?", b"??", b"?a=b", b"?a=b&a=c", b"?a;b", b"?/../items/new", b"?a=%00", b"?a=%2e%2e%2f",
    b"?#",
    b"?a#b", b"?a b", b"?a\tb", b"?\xc3\xa4", b"?%ff", b"?a=\\", b"?a='\"<>|{}^`",
    b"?_method=DELETE",
    b"?access_token=x", b"?Access_Token=x", b"?%61ccess_token=x", b"?a=b&access%5ftoken=x",
    b"?a=1;access_token=x", b"?access_token[]=x", b"?access_token%5b%5d=x", b"?access.token=x",
    b"?+access_token=x", b"?access%u005ftoken=x", b"?access_token%00=x", b"?a=b;access+token",
    b"?a=" + b"b" * 5000, b"?" + b"a&" * 2000, b"?a\r\nx: y", b"?a\x00", b"?a=b?c=d", b"?%0d%0a",
    b"&a=b",
)  # fmt: skip
METHODS = (
    b"get", b"Get", b"GeT", b"HEAD", b"head", b"OPTIONS", b"TRACE", b"TRACK", b"CONNECT", b"DELETE",
    b"PATCH", b"PUT", b"PROPFIND", b"MOVE", b"PURGE", b"QUERY", b"GETX", b"XGET", b"GET\x00",
    b"G\xc3T",
    b"M-SEARCH", b"PRI", b"", b"*", b"A" * 100, b"GET\t", b"POST",
)  # fmt: skip
TARGETS = (
    b"*", b"", b"a:443", b"https://a/items/7", b"https://A/items/7", b"HTTPS://a/items/7",
    b"http://a/items/7", b"https://b/items/7", b"https://a:443/items/7", b"https://u@a/items/7",
    b"https://u:p@a/items/7", b"https://a@b/items/7", b"https:///items/7", b"https://a",
    b"https://a?x",
    b"https://a/items/../admin/x", b"https://a//items/7", b"https://a\\items/7",
    b"https://a#/items/7",
    b"https://a/items/7#x", b"https:/items/7", b"https:a/items/7", b"ftp://a/items/7",
    b"//a/items/7",
    b"///items/7", b"/https://b/items/7", b"file:///items/7", b"wss://a/items/7", b"items/7",
    b"?items/7",
    b"/items/7 HTTP/1.1", b"https://[::1]/items/7", b"https://a%2fitems/7",
    b"https://a\x00/items/7",
    b"/items/7\r\nx-a: b", b"/items/7 ",
)  # fmt: skip


NAMES = (
    b"authorization", b"cookie", b"proxy-authorization", b"x-crewgate-tool", b"x-crewgate-new",
    b"x-upstream-key", b"x-api-key", b"x-http-method-override", b"x-original-url",
    b"x-forwarded-for",
    b"x-forwarded-host", b"forwarded", b"x-real-ip", b"host", b"content-length",
    b"transfer-encoding",
    b"connection", b"te", b"upgrade", b"keep-alive", b"expect", b"http2-settings", b"trailer",
    b"via",
    b"max-forwards", b"accept", b"x-session",
)  # fmt: skip
VALUES = {
    b"authorization": b"Bearer other", b"host": b"b", b"content-length": b"5",
    b"connection": b"x-b",
    b"transfer-encoding": b"chunked", b"te": b"trailers", b"upgrade": b"h2c", b"expect": b"else",
    b"x-http-method-override": b"DELETE", b"x-original-url": b"/admin/x", b"max-forwards": b"0",
    b"via": b"1.1 other", b"x-crewgate-tool": b"admin.read",
}  # fmt: skip
NAMINGS = {
    "plain": lambda name: name,
    "capital": lambda name: name.title(),
    "underscores": lambda name: name.replace(b"-", b"_"),
    "one underscore": lambda name: name.replace(b"-", b"_", 1),
    "dots": lambda name: name.replace(b"-", b"."),
    "trailing underscore": lambda name: name + b"_",
    "blank behind": lambda name: name + b" ",
    "tab behind": lambda name: name + b"\t",
    "blank before": lambda name: b" " + name,
    "NUL behind": lambda name: name + b"\x00",
    "control behind": lambda name: name + b"\x0b",
    "non-ASCII": lambda name: name + b"\xc3",
    "line feed before": lambda name: b"\n" + name,
    "quoted": lambda name: b'"' + name + b'"',
}
VALUINGS = {
    "plain": lambda value: value,
    "empty": lambda value: b"",
    "blanks round": lambda value: b" \t" + value + b"\t ",
    "non-ASCII": lambda value: value + b"\xe4",
    "UTF-8": lambda value: value + "ä".encode(),
    "NUL": lambda value: value + b"\x00",
    "carriage return": lambda value: value + b"\rx-crewgate-tool: a",
    "line feed": lambda value: value + b"\nx-crewgate-tool: a",
    "both": lambda value: value + b"\r\nx-crewgate-tool: a",
    "folded": lambda value: value + b"\r\n x-crewgate-tool: a",
    "folded line feed": lambda value: value + b"\n\tb",
    "control": lambda value: value + b"\x01\x7f",
    "comma": lambda value: value + b", " + value,
    "long": lambda value: value * 500,
}


SPOILED = (
    b"authorization", b"x-api-key", b"host", b"content-length", b"transfer-encoding", b"connection",
    b"te", b"via", b"x-forwarded-for", b"accept",
)  # fmt: skip


def fields() -> Iterator[tuple[str, list[tuple[bytes, bytes]]]]:
    """(name, fields beside the usual ones): each name in each spelling, some with each value."""
    for name in NAMES:
        value = VALUES.get(name, b"1")
        for how, spell in NAMINGS.items():
            yield f"{name.decode()}, its name {how}", [(spell(name), value), (b"x-b", b"2")]
        for how, spoil in VALUINGS.items() if name in SPOILED else ():
            yield f"{name.decode()}, its value {how}", [(name, spoil(value)), (b"x-b", b"2")]
        yield f"{name.decode()} twice", [(name, value), (b"x-b", b"2"), (name, value)]
        yield f"{name.decode()} named by Connection", [
            (b"connection", b"close, " + name), (name, value), (b"x-b", b"2")
        ]  # fmt: skip
    for option in (
        b"host",
        b"x-crewgate-tool",
        b"x-crewgate-request",
        b"content-length",
        b"x-b",
        b"X-B",
    ):
        yield f"Connection names {option!r}", [(b"connection", option), (b"x-b", b"2")]
    yield "an empty name", [(b"", b"1")]
    yield "many fields", [(b"x-%d" % number, b"1") for number in range(90)]
    yield "too many fields", [(b"x-%d" % number, b"1") for number in range(2000)]
    yield "a long name", [(b"x" * 3000, b"1")]
    yield "same names", [(b"x-b", b"1"), (b"X-B", b"2"), (b"x-b", b""), (b"accept", b"*/*")]


def requests() -> Iterator[tuple[str, Sent]]:
    """Everything above as requests of one stream."""
    for name, method, target in paths():
        yield name, Sent(method, target)
    yield from lines()
    yield from dressed()


MOVED_TARGETS = (
    b"/elsewhere", b"/elsewhere?a", b"/elsewhere/", b"/Elsewhere", b"/deep/v2/new", b"/moved",
    b"/moved/", b"/far", b"/far/", b"/far//", b"/based/", b"/base/items/7", b"/%6doved/8",
    b"/m%6Fved/%38", b"/far/%76%32/new", b"/far/v2/ne%77",
)  # fmt: skip


def moved() -> Iterator[tuple[str, Sent]]:
    """Paths that are others at the server, and those that would be another tool's there."""
    bases = (b"/moved/new", b"/moved/7", b"/far/v2/new", b"/far/v3/new", b"/based/items/new")
    for path, what in product(bases, INSERTED):
        head, _, last = path.rpartition(b"/")
        yield f"{what!r} behind {path!r}", Sent(b"GET", path + what + b"?a=%2f;b")
        yield f"{what!r} within {path!r}", Sent(b"GET", head + b"/" + what + last)
    for path, (name, spell) in product(bases, SPELLINGS.items()):
        yield f"{name}: {path!r}", Sent(b"GET", spell(path))
    for target, method in product(MOVED_TARGETS, (b"GET", b"HEAD", b"POST")):
        yield f"{method!r} of {target!r}", Sent(method, target)


def lines() -> Iterator[tuple[str, Sent]]:
    """Queries, methods and targets."""
    for query, (method, path) in product(QUERIES, BASES):
        yield f"query {query[:40]!r} of {path!r}", Sent(method, path + query)
    for method, path in product(METHODS, (b"/items/new", b"/search", b"/admin/x")):
        yield f"method {method[:40]!r} of {path!r}", Sent(method, path)
    for target, method in product(TARGETS, (b"GET", b"OPTIONS", b"POST")):
        yield f"target {target!r} of {method!r}", Sent(method, target)


def dressed() -> Iterator[tuple[str, Sent]]:
    """Requests with odd fields."""
    for name, more in fields():
        yield name, Sent(b"POST", b"/search", more, b"12345")
        if name.endswith(("name plain", "twice")):
            yield f"{name}, trusting", Sent(b"POST", b"/trusting", more, b"12345")
            yield f"{name}, keyed", Sent(b"POST", b"/keyed", more, b"12345")
            yield f"{name}, judged with its body", Sent(b"POST", b"/judged", more, b"12345")


# What a client may name: {this} host in many spellings, {other} host, no host of a tool, nonsense.
AUTHORITIES = (
    b"{this}.example", b"{THIS}.Example", b"{this}.example.", b"{this}.example..",
    b".{this}.example", b"{this}.example:", b"{this}.example:443", b"{this}.example:0443",
    b"{this}.example.:8443", b"{this}.example:8443.", b"{this}.example:x", b"{this}.example:+1",
    b"{this}.example:-1", b"{this}.example:123456", b"{this}.example:1:2",
    b"{this}.example:\xd9\xa1", b"{this}.test", b"{this}.test:", b"{this}.test:8443",
    b"{THIS}.TEST.:8443", b"{this}.test:08443", b"{this}.test:8444", b"{this}.test:443",
    b"x.{this}.example", b"{this}.example.x", b"{this}", b"{this}%2eexample",
    b"{this}.ex\xc4\xb1mple", b"{this}\xe3\x80\x82example", b"{this}.example%00.x",
    b"{this}.example\x00", b"{this}.example@{other}.example", b"{other}:x@{this}.example",
    b"{this}.example,{other}.example", b"{this}.example {other}.example",
    b"{this}.example, {this}.example", b"{this}.example#{other}.example",
    b"{this}.example\\", b"{this}.example\\@{other}.example", b"{this}.example;{other}.example",
    b"[{this}.example]", b"{this}.example\t", b" {this}.example", b"{this}.example/{other}.example",
    b"{this}.example?", b"{this}_example", b"{this}-example", b"{this}.example:443{other}.example",
    b"*.example", b"*", b"", b":443", b"a",
)  # fmt: skip
BESIDE = (
    (), (b"{this}.example",), (b"{other}.example",), (b"{this}.example", b"{this}.example"),
    (b"{this}.example", b"{other}.example"), (b"{other}.example", b"{this}.example"), (b"",),
    (b"a",),
)  # fmt: skip


def hosted(this: bytes, other: bytes, *, http2: bool) -> Iterator[tuple[str, Sent]]:
    """Requests to one path: hosts in Host, in `:authority` and in targets of the absolute form."""

    def told(text: bytes) -> bytes:
        names = {b"{this}": this, b"{THIS}": this.upper(), b"{other}": other}
        for name, value in names.items():
            text = text.replace(name, value)
        return text

    def sent(authority: bytes, hosts: Sequence[bytes]) -> Sent:
        if http2:
            return Sent(b"GET", b"/hosted/7", authority=authority, hosts=hosts)
        return Sent(b"GET", b"https://" + authority + b"/hosted/7?a", hosts=hosts)

    for each, path in product(AUTHORITIES, (b"/hosted/7", b"/hosted/%37?a=/", b"//hosted/7")):
        yield f"{each!r} for {path!r}", Sent(b"GET", path, authority=told(each))
        if http2:
            alone = Sent(b"GET", path, authority=None, hosts=[told(each)])
            yield f"Host {each!r} for {path!r}", alone
    for each, beside in product(AUTHORITIES, (None, *BESIDE)):
        authority = told(each)
        hosts = [authority] if beside is None else [told(host) for host in beside]
        yield f"{each!r} beside {beside}", sent(authority, hosts)
    for beside in BESIDE:
        hosts = [told(host) for host in beside]
        yield f"Hosts {beside}", Sent(b"GET", b"/hosted/7", authority=None, hosts=hosts)


DOUBLED = (
    b"x-api-key", b"x-goog-api-key", b"x_api_key", b"x-api_key", b"x.goog.api.key", b"x-auth-token",
    b"x-access-token", b"x-forwarded-authorization", b"x-forwarded-access-token", b"api-key",
    b"proxy-authorization", b"cookie", b"referer", b"x-session", b"x-b",
)  # fmt: skip
HOLDING = {
    "alone": TOKEN,
    "with its scheme": b"Bearer " + TOKEN,
    "in a cookie": b"a=b; token=" + TOKEN + b"; c",
    "in a query": b"https://a/?key=" + TOKEN + b"&b",
}
SHOWN = (b"?key=" + TOKEN, b"?a=b&token=" + TOKEN + b"&c", b"?" + TOKEN, b"?a=Bearer%20" + TOKEN)


def doubled() -> Iterator[tuple[str, Sent]]:
    """Requests that show the caller's token a second time, where no carrier is."""
    for name, (how, value) in product(DOUBLED, HOLDING.items()):
        for path in (b"/search", b"/trusting"):
            more = [(name, value), (b"x-c", b"2")]
            yield f"{name!r} {how} at {path!r}", Sent(b"POST", path, more)
    for query, how in product(SHOWN, (TOKEN, ENCODED, DOTTED)):
        shown = query.replace(TOKEN, how)
        yield f"query {shown!r}", Sent(b"POST", b"/search" + shown)
    for how in (TOKEN, ENCODED, DOTTED):
        yield f"path {how!r}", Sent(b"GET", b"/items/" + how)
        yield f"prefix {how!r}", Sent(b"GET", b"/items/a/" + how + b"/b")


def doubled_in_trailers() -> Iterator[tuple[str, Sent]]:
    """The same behind a body."""
    for name, (how, value) in product(DOUBLED, HOLDING.items()):
        more = [(name, value), (b"x-sum", b"2")]
        yield f"{name!r} {how}, behind", Sent(b"POST", b"/search", (), b"12345", more)


def trailers() -> Iterator[tuple[str, Sent]]:
    """Requests whose trailers could pass for something else."""
    hows = ("plain", "capital", "underscores", "dots", "blank behind", "non-ASCII")
    for name, how in product(NAMES, hows):
        spell = NAMINGS[how]
        more = [(spell(name), VALUES.get(name, b"1")), (b"x-sum", b"2")]
        yield f"{name.decode()}, its name {how}", Sent(b"POST", b"/search", (), b"12345", more)
    for how, spoil in VALUINGS.items():
        more = [(b"x-sum", spoil(b"1"))]
        yield f"its value {how}", Sent(b"POST", b"/trusting", (), b"12345", more)
