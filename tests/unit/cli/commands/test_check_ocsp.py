"""What `crewgate check` says of OCSP before it is served."""

import json
from pathlib import Path

from cli_runner import Run

from crewgate.config import load

OCSP = '[ca]\nocsp = "https://ocsp.example/"\nocsp_certificate = "o.pem"\nocsp_key = "o.key"\n'


def check(run: Run, config: Path) -> tuple[list[str], list[str]]:
    """Problems and warnings."""
    document = json.loads(run("check", "-c", config, "--json").stdout)
    return document["problems"], document["warnings"]


def configure(config: Path, mode: str = "required") -> None:
    """Name a responder, and what the listener for crews makes of it."""
    lines = [line for line in config.read_text().splitlines() if not line.startswith("ocsp")]
    text = "\n".join(lines).replace("[ca]\n", OCSP)
    asks = 'client_certificate = "required"'
    config.write_text(text.replace(asks, f'ocsp = "{mode}"\n{asks}', 1))
    folder = config.parent
    for name in ("o.pem", "o.key"):
        source = "certs/gateway.pem" if name == "o.pem" else "gateway/gateway.key"
        (folder / name).write_bytes((folder / source).read_bytes())
        (folder / name).chmod(0o600)


def test_a_strict_listener_and_its_responder_are_nothing_to_speak_of(run: Run, fresh: Path) -> None:
    """No problem, and no warning beyond the one of a fresh set-up."""
    configure(fresh)
    problems, warnings = check(run, fresh)
    assert problems == []
    assert len(warnings) == 1


def test_soft_fail_is_a_warning(run: Run, fresh: Path) -> None:
    """It names the listener and what it admits."""
    configure(fresh, "soft-fail")
    problems, warnings = check(run, fresh)
    assert problems == []
    assert any(
        'listener crews: ocsp = "soft-fail" accepts a revoked certificate' in text
        for text in warnings
    )


def test_what_the_question_needs_and_is_not_there_is_a_problem(run: Run, fresh: Path) -> None:
    """The issuing certificate, the root, the certificate that is shown."""
    configure(fresh)
    (fresh.parent / "o.key").unlink()
    problems, _ = check(run, fresh)
    assert any(text.startswith("[ca] ocsp: ocsp_certificate") for text in problems)
    ca = load(fresh).ca
    assert ca is not None
    ca.issuing.unlink()
    problems, _ = check(run, fresh)
    assert any("issuing.pem" in text and "is missing: make it" in text for text in problems)


def test_the_key_that_is_shown_is_the_gateways_secret(run: Run, fresh: Path) -> None:
    """Like any other key of its."""
    configure(fresh)
    (fresh.parent / "o.key").chmod(0o644)
    _, warnings = check(run, fresh)
    assert any("o.key: a secret of the gateway that others may read" in text for text in warnings)
