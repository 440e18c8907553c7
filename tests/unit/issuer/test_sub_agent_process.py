"""What a process needs before it can be started; the rest is in tests/e2e/boundary."""

from pathlib import Path

import pytest

from crewgate import limits
from crewgate.errors import IssuerError
from crewgate.issuer import Orchestrator, SubAgentCommand
from crewgate.issuer.control_api.gateway_address import GatewayAddress

GATEWAY = GatewayAddress("127.0.0.1", 9, "localhost", Path("no such file"))


def refusal(article: Orchestrator) -> str:
    """Why a process cannot be started."""
    command = SubAgentCommand(["true"], GATEWAY)
    with pytest.raises(IssuerError) as error:
        article.start_run(credits="1", tools=["search.*"], command=command)
    return str(error.value)


def test_on_another_system_or_without_the_gateway_s_packages(
    article: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is an error with what to do; no sidecar is tried."""
    with monkeypatch.context() as patched:
        patched.setattr("sys.platform", "darwin")
        assert "only Linux" in refusal(article)
    monkeypatch.setattr("crewgate.issuer.processes.sub_agent_process.find_spec", lambda _: None)
    assert "crewgate[gateway]" in refusal(article)


def test_a_sidecar_that_cannot_verify_the_gateway_starts_nothing(article: Orchestrator) -> None:
    """The orchestrator says why."""
    assert "no such file: cannot read the gateway's root" in refusal(article)


def test_so_many_processes_and_no_more(
    article: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound is said before a sidecar starts."""
    monkeypatch.setattr(limits, "sidecar_processes_max", 0)
    assert "0 processes of this orchestrator run" in refusal(article)
