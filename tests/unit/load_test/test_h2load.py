"""What h2load is asked, and what is read of its log; an error never shows the token."""

from pathlib import Path

import pytest

from crewgate.errors import LoadTestError
from crewgate.load_test import h2load
from crewgate.load_test.plan import Request, Shape, Step, Target

REQUEST = Request(
    Target.of("https://gw/a"), "PUT", ((b"authorization", b"Bearer SECRET"),), b"content"
)


def program(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> h2load.H2Load:
    file = folder / h2load.PROGRAM
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return h2load.H2Load(REQUEST, Shape(4, 2))


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Step("", 2.0, rate=100.0), "-n 200 --rps=25"),
        (Step("", 10.0, requests=8), "-n 8"),
        (Step("", 2.0), "-D 2000ms"),
    ],
)
def test_a_step_is_bounded_by_a_count_or_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: Step, words: str
) -> None:
    """The log has the status and the microseconds of each request; -1 is a lost one."""
    log = "1\\t200\\t1500\\n2\\t503\\t500\\n3\\t-1\\t9\\n"
    script = f"""
        for word; do case "$word" in --log-file=*) printf '{log}' > "${{word#*=}}";; esac; done
        echo "$@" > {tmp_path}/words
        echo 'finished in 500.00ms, 4 req/s'
    """
    result = program(tmp_path, monkeypatch, script).run(step)
    given = (tmp_path / "words").read_text()
    assert f"-c 4 -m 2 -t 1 {words} -H :method: PUT -H authorization: Bearer SECRET -d /" in given
    assert list(result.times) == [1.5, 0.5]
    assert (result.successes, result.others, result.lost, result.seconds) == (1, 2, 1, 0.5)


def test_an_error_has_the_reason_and_never_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a failure nor a run without an answer shows the command."""
    for script, reason in (
        ("echo 'no such option' >&2; exit 3", "no such option"),
        ("", "nothing"),
    ):
        with pytest.raises(LoadTestError, match=reason) as error:
            program(tmp_path, monkeypatch, script).run(Step("", 1.0))
        assert "SECRET" not in str(error.value)


def test_a_missing_h2load_has_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of the package."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LoadTestError, match="nghttp2-client"):
        h2load.H2Load(REQUEST, Shape(1, 1))
