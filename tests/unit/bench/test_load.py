"""What h2load is asked, and what is read from its words."""

from pathlib import Path

import pytest

from bench.hop.load import (
    Load,
    Request,
    Shape,
    at_least,
    bearer,
    logged,
    result,
    start,
    statuses,
    whole,
)

WORDS = """\
finished in 1.05s, 9523.81 req/s, 2.34MB/s
requests: 4 total, 4 started, 4 done, {good} succeeded, {bad} failed, {bad} errored, 0 timeout
status codes: {good} 2xx, 0 3xx, {bad} 4xx, 0 5xx
"""
LOG = "1700000000000000\t200\t1500\n1700000000000100\t200\t500\n"


def options(load: Load, requests: int = 10) -> str:
    return " ".join(load.options(requests))


def test_a_load_is_bounded_and_of_one_thread() -> None:
    """As many requests as are asked for, over so many connections and streams."""
    load = Load(Shape(16, 8), "/page", ("a: b",))
    assert options(load) == "-n 10 -c 16 -m 8 -t 1 -H a: b"


def test_http1_and_a_body_are_asked_for() -> None:
    """By their options."""
    load = Load(Shape(2, 1), "/take", http1=True, body=Path("file"))
    assert options(load).endswith("-t 1 --h1 -d file")


def test_a_fixed_rate_is_shared_out_and_waits_for_no_answer() -> None:
    """Each connection has its part of it, and streams enough never to wait."""
    assert options(Load(Shape(16, 1), "/page", rate=1000)).endswith("-m 100 -t 1 --rps=62.5")


def test_statuses_are_counted_by_their_first_digit() -> None:
    """Words that hold none count nothing."""
    assert statuses(WORDS.format(good=3, bad=1)) == (3, 0, 1, 0)
    assert statuses("") == (0, 0, 0, 0)


def test_a_script_has_the_times_of_the_requests() -> None:
    """So the command line has no count."""
    load = Load(Shape(2, 4), "/page", script=Path("file"))
    assert options(load) == "--timing-script-file=file -c 2 -m 4 -t 1"


def test_the_first_request_of_each_stream_is_no_part_of_the_steady_state() -> None:
    """The log is in the order of the answers, in microseconds."""
    assert logged(LOG) == [Request(1_700_000_000_000, 1.5), Request(1_700_000_000_000.1, 0.5)]
    words = WORDS.format(good=2, bad=0)
    found = result(words, LOG, 2, Shape(1, 1))
    assert found is not None
    assert found["per_second"] == 9523.81
    assert (found["p99_milliseconds"], found["start_p99_milliseconds"]) == (0.5, 1.5)
    whole_run = result(words, LOG, 2, Shape(2, 1))
    assert whole_run is not None
    assert whole_run["p99_milliseconds"] == whole_run["start_p99_milliseconds"] == 1.5


def test_a_start_ends_with_the_last_answer() -> None:
    """Whichever request gets it."""
    found = start([Request(10.0, 5.0), Request(11.0, 1.0), Request(12.0, 2.5)])
    assert found["start_milliseconds"] == 5.0


@pytest.mark.parametrize("words", [WORDS.format(good=1, bad=1), WORDS.format(good=1, bad=0), ""])
def test_a_run_with_a_failure_has_no_figures(words: str) -> None:
    """Neither where something was refused nor where an answer is missing."""
    assert result(words, LOG, 2, Shape(1, 1)) is None


def test_no_stream_goes_without_a_request() -> None:
    """However few are asked for."""
    assert at_least(5, Shape(16, 8)) == 128
    assert at_least(5, Shape(1, 1)) == 10
    assert at_least(500, Shape(16, 8)) == 500


def test_a_token_is_shown_as_a_bearer() -> None:
    """In the field of RFC 6750."""
    assert bearer("abc") == ("authorization: Bearer abc",)


@pytest.mark.parametrize(("spared", "is_whole"), [(0.0, False), (0.02, True)])
def test_bodies_of_another_length_are_wrong_answers(spared: float, *, is_whole: bool) -> None:
    """Although their status is 200; a gateway that is known to fail may do so now and then."""
    words = "traffic: 31.1KB (32000) total, 0.7KB (700) headers, 30.56KB (31289) data"
    load = Load(Shape(16, 1), "/mcp", answer_bytes=315, spared=spared)
    assert whole(words, load, 100) is is_whole
    assert not whole(words, load, 200)
    assert whole(words, Load(Shape(16, 1), "/page"), 100)
