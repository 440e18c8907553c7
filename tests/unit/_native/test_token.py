"""The form of a token, and the hostile ones that JWT libraries let through."""

import json
import time
from collections.abc import Callable
from functools import partial

import pytest
import slow_token
import tokens
from hypothesis import example, given
from hypothesis import strategies as st

from crewgate._native import signature
from crewgate._native.token import MalformedTokenError, claims, split

GOOD = tokens.token()
HEADER = tokens.compact(tokens.HEADER)
PAYLOAD = tokens.payload()
HEAD, BODY, TAIL = GOOD.split(b".")


def header(raw: str) -> bytes:
    """The example token under a header of raw text."""
    return tokens.sign(raw.encode(), PAYLOAD)


def body(raw: bytes) -> bytes:
    """The example token over a payload of raw bytes."""
    return tokens.sign(HEADER, raw)


def raw_claim(name: str, raw: str) -> bytes:
    """The example token with one claim of raw text."""
    return body(tokens.with_raw(name, raw))


def deep(depth: int) -> str:
    """Arrays in arrays."""
    return "[" * depth + "]" * depth


def bits_left_over(segment: bytes) -> bytes:
    """The same bytes with another last character, for a decoder that drops the low bits."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert len(segment) % 4
    return segment[:-1] + bytes([alphabet[alphabet.index(segment[-1]) + 1]])


def unpadded_body() -> bytes:
    """A payload whose base64url leaves bits over, with the last of them set."""
    sent = PAYLOAD + b" " * (-len(PAYLOAD) % 3 + 1)
    signing_input = tokens.base64url(HEADER) + b"." + bits_left_over(tokens.base64url(sent))
    return signing_input + b"." + tokens.base64url(tokens.KEY.sign(signing_input))


HOSTILE_FORM: dict[str, bytes] = {
    "empty": b"",
    "not a token": b"Bearer",
    "dots only": b"..",
    "two segments": HEAD + b"." + BODY,
    "four segments": GOOD + b"." + TAIL,
    "empty header": b"." + BODY + b"." + TAIL,
    "empty payload": HEAD + b".." + TAIL,
    "empty signature": HEAD + b"." + BODY + b".",
    "short signature": GOOD[:-1],
    "long signature": GOOD + b"A",
    "padded twin": GOOD + b"==",
    "padded header": HEAD + b"=." + BODY + b"." + TAIL,
    "padded payload": HEAD + b"." + BODY + b"=." + TAIL,
    "signature with bits left over": HEAD + b"." + BODY + b"." + bits_left_over(TAIL),
    "payload with bits left over": unpadded_body(),
    "line feed at the end": GOOD + b"\n",
    "space in front": b" " + GOOD,
    "line feed inside": GOOD[:40] + b"\n" + GOOD[40:],
    "standard alphabet": HEAD + b"." + BODY + b"." + b"+" + TAIL[1:],
    "byte above ASCII": HEAD + b"." + BODY + b"." + b"\xc3" + TAIL[1:],
    "NUL": HEAD + b"." + BODY + b"." + b"\0" + TAIL[1:],
    "1 MB payload": body(tokens.payload(sub="x" * 1_000_000)),
    "one byte too long": body(PAYLOAD + b" " * 3000)[:4097],
    "no typ": header('{"alg":"EdDSA","kid":"article-1"}'),
    "typ JWT": header('{"alg":"EdDSA","typ":"JWT","kid":"article-1"}'),
    "typ in another case": header('{"alg":"EdDSA","typ":"AT+JWT","kid":"article-1"}'),
    "typ with a prefix": header('{"alg":"EdDSA","typ":"application/at+jwt","kid":"article-1"}'),
    "alg none": header('{"alg":"none","typ":"at+jwt","kid":"article-1"}'),
    "alg HS256": header('{"alg":"HS256","typ":"at+jwt","kid":"article-1"}'),
    "alg in another case": header('{"alg":"ed25519","typ":"at+jwt","kid":"article-1"}'),
    "alg null": header('{"alg":null,"typ":"at+jwt","kid":"article-1"}'),
    "alg in a list": header('{"alg":["EdDSA"],"typ":"at+jwt","kid":"article-1"}'),
    "no kid": header('{"alg":"EdDSA","typ":"at+jwt"}'),
    "kid an int": header('{"alg":"EdDSA","typ":"at+jwt","kid":1}'),
    "kid empty": header('{"alg":"EdDSA","typ":"at+jwt","kid":""}'),
    "kid with a NUL": header('{"alg":"EdDSA","typ":"at+jwt","kid":"a\\u0000"}'),
    "kid too long": header('{"alg":"EdDSA","typ":"at+jwt","kid":"%s"}' % ("k" * 129)),
    "crit empty": header('{"alg":"EdDSA","typ":"at+jwt","kid":"article-1","crit":[]}'),
    "b64 false": header('{"alg":"EdDSA","typ":"at+jwt","kid":"article-1","b64":false}'),
    "own key in the header": header(
        '{"alg":"EdDSA","typ":"at+jwt","kid":"article-1","jwk":{"kty":"OKP"}}'
    ),
    "alg twice": header('{"alg":"none","alg":"EdDSA","typ":"at+jwt","kid":"article-1"}'),
    "alg twice, escaped": header(
        '{"alg":"EdDSA","typ":"at+jwt","kid":"article-1","\\u0061lg":"EdDSA"}'
    ),
    "header twice": header(HEADER.decode() * 2),
    "header with a BOM": header("\ufeff" + HEADER.decode()),
    "header in UTF-16": tokens.sign(HEADER.decode().encode("utf-16"), PAYLOAD),
    "header a list": header('["EdDSA","at+jwt","article-1"]'),
    "header cut": header(HEADER.decode()[:-1]),
    "header with a trailing comma": header(HEADER.decode()[:-1] + ",}"),
    "header empty object": header("{}"),
}

HOSTILE_PAYLOAD: dict[str, bytes] = {
    "exp twice": body(PAYLOAD[:-1] + b',"exp":1800000900}'),
    "exp twice, escaped": body(PAYLOAD[:-1] + b',"\\u0065xp":1800000900}'),
    "unknown member twice": body(PAYLOAD[:-1] + b',"x":1,"x":1}'),
    "member twice inside an unknown one": body(PAYLOAD[:-1] + b',"x":{"y":1,"y":1}}'),
    "member twice, one as a surrogate pair": body(
        PAYLOAD[:-1] + ',"\U0001f600":1,"\\ud83d\\ude00":1}'.encode()
    ),
    "exp a digit string": raw_claim("exp", '"1800000900"'),
    "exp a float": raw_claim("exp", "1800000900.5"),
    "exp a whole float": raw_claim("exp", "1800000900.0"),
    "exp with an exponent": raw_claim("exp", "18e8"),
    "exp true": raw_claim("exp", "true"),
    "exp null": raw_claim("exp", "null"),
    "exp 1e400": raw_claim("exp", "1e400"),
    "exp 10**30": raw_claim("exp", "1" + "0" * 30),
    "exp of 1900 digits": raw_claim("exp", "9" * 1900),
    "exp negative": raw_claim("exp", "-1"),
    "exp with a leading zero": raw_claim("exp", "01800000900"),
    "exp NaN": raw_claim("exp", "NaN"),
    "exp Infinity": raw_claim("exp", "Infinity"),
    "exp hexadecimal": raw_claim("exp", "0x6b49d200"),
    "nbf null": raw_claim("nbf", "null"),
    "act null": raw_claim("act", "null"),
    "nbf a string": raw_claim("nbf", '"1800000000"'),
    "BOM": body(b"\xef\xbb\xbf" + PAYLOAD),
    "UTF-16": body(tokens.payload(allowed_tools=["a"], branch_path=[]).decode().encode("utf-16")),
    "lone surrogate": raw_claim("x", '"\\ud800"'),
    "lone low surrogate": raw_claim("x", '"\\udc00"'),
    "surrogates the wrong way round": raw_claim("x", '"\\udc00\\ud800"'),
    "surrogate as UTF-8": body(PAYLOAD[:-1] + b',"x":"\xed\xa0\x80"}'),
    "overlong UTF-8": body(PAYLOAD[:-1] + b',"x":"\xc0\xaf"}'),
    "overlong UTF-8 of three bytes": body(PAYLOAD[:-1] + b',"x":"\xe0\x80\xaf"}'),
    "UTF-8 above the last code point": body(PAYLOAD[:-1] + b',"x":"\xf4\x90\x80\x80"}'),
    "UTF-8 cut": body(PAYLOAD[:-1] + b',"x":"\xe2\x82"}'),
    "Latin-1 in an unknown member": body(PAYLOAD[:-1] + b',"x":"\xe9"}'),
    "Latin-1 in an unknown name": body(PAYLOAD[:-1] + b',"\xe9":1}'),
    "NUL in sub": raw_claim("sub", '"user\\u0000"'),
    "control character, raw": body(PAYLOAD[:-1] + b',"x":"\x1b[31m"}'),
    "control character, escaped": raw_claim("x", '"\\n"'),
    "DEL": raw_claim("x", '"\x7f"'),
    "control character of C1": raw_claim("x", '"\u0085"'),
    "control character of C1, escaped": raw_claim("x", '"\\u0085"'),
    "control character in a name": body(PAYLOAD[:-1] + b',"a\\tb":1}'),
    "eleven deep": raw_claim("x", deep(10)),
    "a thousand deep": raw_claim("x", deep(900)),
    "deep and never closed": raw_claim("x", "[" * 1900),
    "65 members": raw_claim("x", json.dumps({str(number): 0 for number in range(65)})),
    "two documents": body(PAYLOAD + b"{}"),
    "cut": body(PAYLOAD[:-1]),
    "trailing comma": body(PAYLOAD[:-1] + b",}"),
    "single quotes": raw_claim("x", "'y'"),
    "comment": body(PAYLOAD[:-1] + b"/**/}"),
    "list": body(b"[" + PAYLOAD + b"]"),
    "null": body(b"null"),
    "string": body(b'"x"'),
    "number": body(b"1"),
    "form feed as white space": body(b"\x0c" + PAYLOAD),
    "no-break space as white space": body(b"\xc2\xa0" + PAYLOAD),
}

# Allowed sizes, filled to the brim with what costs the checks most.
COSTLY: dict[str, bytes] = {
    "keys alike": raw_claim(
        "x", json.dumps({f"{number:030d}": 0 for number in range(64)}, separators=(",", ":"))
    )[:4096],
    "keys of one length": body(
        b'{"x":['
        + b",".join(
            b"{" + b",".join(b'"%c%c":0' % (97 + n // 26, 97 + n % 26) for n in range(63)) + b"}"
            for _ in range(6)
        )
        + b"]}"
    ),
    "digits": body(b'{"exp":' + b"9" * 2800 + b"}"),
    "unknown digits": raw_claim("x", "9" * 1900),
    "tools": raw_claim("allowed_tools", "[" + ",".join(['"a"'] * 480) + "]"),
    "empty arrays": body(b'{"x":[' + b"[]," * 900 + b"0]}"),
    "path": body(b'{"branch_path":[' + b"{}," * 900 + b"{}]}"),
    "nulls": body(b'{"exp":[' + b"null," * 550 + b"0]}"),
    "escapes": raw_claim("x", '"' + "\\u00e9" * 300 + '"'),
    "spaces": body(b" " * 2000 + PAYLOAD),
}


def judge(token: bytes) -> bool:
    """Whether form and claims are accepted, whatever the signature."""
    try:
        claims(split(token)[2])
    except MalformedTokenError:
        return False
    return True


def test_example_is_taken_apart() -> None:
    """The four parts of the design's example are what was signed."""
    kid, signing_input, payload, sig = split(GOOD)
    assert (kid, signing_input, payload) == ("article-1", HEAD + b"." + BODY, PAYLOAD)
    assert signature.verify(tokens.PUBLIC, signing_input, sig)
    assert judge(GOOD)


@pytest.mark.parametrize("token", HOSTILE_FORM.values(), ids=HOSTILE_FORM)
def test_hostile_forms_are_refused_before_a_signature(token: bytes) -> None:
    """No signature is spent on a token that is not in the one canonical form."""
    with pytest.raises(MalformedTokenError) as refused:
        split(token)
    assert str(refused.value) == ""


@pytest.mark.parametrize("token", HOSTILE_PAYLOAD.values(), ids=HOSTILE_PAYLOAD)
def test_hostile_payloads_are_refused(token: bytes) -> None:
    """A good signature over an ambiguous payload is worth nothing, and the refusal says nothing."""
    payload = split(token)[2]
    with pytest.raises(MalformedTokenError) as refused:
        claims(payload)
    assert str(refused.value) == ""
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    "raw",
    [
        '{"alg":"Ed25519","typ":"at+jwt","kid":"article-1"}',
        '{"kid":"article-1","typ":"at+jwt","alg":"EdDSA"}',
        ' { "alg" : "EdDSA",\n"typ":\t"at+jwt", "kid": "article-1" } ',
        '{"alg":"EdDSA","typ":"at\\u002bjwt","kid":"article\\u002d1"}',
    ],
    ids=["the other name", "another order", "white space", "escapes"],
)
def test_other_writings_of_the_header_are_the_same_header(raw: str) -> None:
    """What other encoders write for the same three members is accepted."""
    assert split(header(raw))[0] == "article-1"


def test_longest_token() -> None:
    """4096 bytes are accepted, 4097 are not."""
    longest = 0
    for spaces in range(2100, 2400):
        token = body(PAYLOAD + b" " * spaces)
        assert judge(token) == (len(token) <= 4096)
        longest = max(longest, len(token) if judge(token) else 0)
    assert longest >= 4095


@pytest.mark.parametrize("call", [split, claims])
def test_only_bytes_are_taken(call: Callable[[bytes], object]) -> None:
    """A wrong type is the caller's mistake, not a refusal."""
    for wrong in ("text", None, bytearray(b"x")):
        with pytest.raises(TypeError):
            call(wrong)  # type: ignore[arg-type]


def cost_ns(call: Callable[[], object]) -> int:
    """CPU time of the cheapest of many runs: what the work costs, not what the machine did."""
    costs = []
    for _ in range(30):
        start = time.thread_time_ns()
        call()
        costs.append(time.thread_time_ns() - start)
    return min(costs)


def test_no_hostile_token_costs_more_than_a_few_verifications() -> None:
    """Each refusal costs less than four signature verifications (200 µs where one takes 52).

    A case that costs more is measured again, since a busy machine makes all of them slower.
    """
    message = bytes(1000)
    cases = {**HOSTILE_FORM, **HOSTILE_PAYLOAD, **COSTLY}
    for _ in range(10):
        if not cases:
            break
        unit = cost_ns(lambda: signature.verify(tokens.PUBLIC, message, bytes(64)))
        unit = max(unit, cost_ns(lambda: signature.verify(tokens.PUBLIC, *split(GOOD)[1::2])))
        costs = {name: cost_ns(partial(judge, token)) for name, token in cases.items()}
        cases = {name: token for name, token in cases.items() if costs[name] > 4 * unit}
    assert not cases


@given(
    at=st.integers(0, len(GOOD) - 1),
    cut=st.integers(0, 3),
    put=st.binary(max_size=3) | st.sampled_from([b".", b"=", b"-", b"_", b"A", b"+"]),
)
@example(at=len(GOOD) - 1, cut=0, put=b"==")
def test_damaged_tokens_are_judged_like_the_model(at: int, cut: int, put: bytes) -> None:
    """After any small damage, native code and the slow model see the same parts or refuse."""
    damaged = GOOD[:at] + put + GOOD[at + cut :]
    expected = slow_token.split(damaged)
    try:
        assert split(damaged) == expected
    except MalformedTokenError:
        assert expected is None


@given(
    name=st.sampled_from(["alg", "typ", "kid", "crit"]),
    value=st.sampled_from(["EdDSA", "Ed25519", "at+jwt", "article-1", "", 1, None])
    | st.text(max_size=130),
    ascii_only=st.booleans(),
)
def test_headers_are_judged_like_the_model(name: str, value: object, ascii_only: bool) -> None:
    """Whatever one member says, native code and the slow model agree."""
    text = json.dumps({**tokens.HEADER, name: value}, ensure_ascii=ascii_only)
    token = tokens.sign(text.encode(errors="surrogatepass"), b"{}")
    try:
        accepted = split(token)
    except MalformedTokenError:
        accepted = None
    assert accepted == slow_token.split(token)
