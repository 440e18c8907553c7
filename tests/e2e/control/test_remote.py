"""An orchestrator on another host, with a certificate and no signing key, over the control API."""

import shutil
from pathlib import Path

import pytest
from control_site import ControlSite

from crewgate.errors import (
    BranchRevokedError,
    ConfigurationError,
    IssuerError,
    ScopeError,
    ServiceConnectionError,
)
from crewgate.issuer import GatewayAddress, SubAgentCommand
from crewgate.issuer.remote import remote_orchestrator


def test_it_mints_spawns_refreshes_and_revokes(site: ControlSite, tmp_path: Path) -> None:
    """Over mutual TLS; what it mints is admitted, and dead at once when it says so."""
    prefix = tmp_path / "bd"
    for ending in (".pem", ".key"):
        shutil.copy(f"{site.folder / 'bd'}{ending}", f"{prefix}{ending}")
    with remote_orchestrator(site.control, prefix, ca=site.root) as bd:
        run = bd.start_run(credits="10", tools=["search.*"], role="lead")
        child = bd.spawn(role="researcher", parent=run, tools=["search.web"], credits="1")
        assert site.call(child.token()).status_code == 200
        assert child.claims.branch_path[0].id == run.branch
        assert child.claims.client_id == "bd/bd-1"
        first = child.token()
        assert child.token() == first
        later = child.refresh(credits="0.50")
        assert later != first
        assert child.claims.credit_quota == 500_000
        refused = child.request_extension(more_seconds=60, reason="more pages")
        assert (refused.is_granted, refused.decided_by) == (False, "policy")
        assert "crew bd has no extension_seconds_max" in refused.answer
        assert child.token() == later
        with pytest.raises(ScopeError, match="invalid_scope"):
            bd.spawn(role="r", parent=run, tools=["publish.post"], credits="1")
        with pytest.raises(ScopeError):
            bd.spawn(role="r", parent=run, tools=["search.web"], credits="99")
        file = tmp_path / "token"
        child.write_token_file(file)
        assert file.read_text().strip() == later
        site.issue("bd", "renewed")  # another certificate, in the place of the one before
        for ending in (".key", ".pem"):
            shutil.copy(f"{site.folder / 'renewed'}{ending}", f"{prefix}{ending}")
        done = bd.revoke(run)
        assert (done.is_complete, done.machines_applied, done.machines_total) == (True, 1, 1)
        assert (done.machines_missing, done.is_known, done.is_whole_crew) == ((), True, False)
        assert site.call(later).status_code == 401
        assert not file.exists()
        with pytest.raises(BranchRevokedError, match="was revoked"):
            child.token()
        with pytest.raises(BranchRevokedError, match="was revoked"):
            bd.spawn(role="r", parent=run, tools=["search.web"], credits="1")


def test_a_revocation_by_others_is_learned_with_the_next_token(
    site: ControlSite, tmp_path: Path
) -> None:
    """Until then, the orchestrator returns a token that gateways refuse; a branch below too."""
    file = tmp_path / "token"
    with remote_orchestrator(site.control, site.folder / "bd", ca=site.root) as bd:
        run = bd.start_run(credits="10", tools=["search.*"], role="lead")
        child = bd.spawn(role="researcher", parent=run, tools=["search.web"], credits="1")
        token = child.token()
        child.write_token_file(file)
        with site.api("bd") as api:
            assert api.post("/v1/revocations", json={"branch": run.branch, "crew": "bd"}).is_success
        assert site.call(token).status_code == 401
        assert child.token() == token
        with pytest.raises(BranchRevokedError, match=r"invalid_grant: branch .* was revoked"):
            child.refresh()
        assert not file.exists()
        with pytest.raises(BranchRevokedError, match="was revoked"):
            child.token()
        with pytest.raises(BranchRevokedError, match=r"invalid_grant: branch .* was revoked"):
            bd.spawn(role="r", parent=run, tools=["search.web"], credits="1")
        with pytest.raises(BranchRevokedError, match="was revoked"):
            run.token()


def test_what_cannot_be_asked_is_one_line(site: ControlSite, tmp_path: Path) -> None:
    """A URL that is none, files that are not there, an API that does not answer, a stranger."""
    bd = site.folder / "bd"
    with pytest.raises(ConfigurationError, match="https://HOST:PORT"):
        remote_orchestrator("http://localhost", bd, ca=site.root)
    with pytest.raises(ConfigurationError, match="crewgate ca issue --out"):
        remote_orchestrator(site.control, tmp_path / "none", ca=site.root)
    with (
        remote_orchestrator("https://localhost:1", f"{bd}.pem", ca=site.root) as nobody,
        pytest.raises(ServiceConnectionError, match="cannot connect"),
    ):
        nobody.start_run(credits="1", tools=["search.*"])
    with (
        remote_orchestrator(site.control, site.folder / "edge", ca=site.root) as gateway,
        pytest.raises(IssuerError),
    ):
        gateway.start_run(credits="1", tools=["search.*"])


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_it_starts_the_process_of_a_sub_agent(site: ControlSite, tmp_path: Path) -> None:
    """On this host, whose kernel names the process; the gateway signs what it says."""
    host, port = "127.0.0.1", site.port
    gateway = GatewayAddress(host, port, host, site.root)
    call = 'curl -s --unix-socket "$CREWGATE_SOCKET" "$CREWGATE_GATEWAY/search" -d "{}"'
    command = SubAgentCommand(["sh", "-c", f"{call} >{tmp_path / 'out'}"], gateway)
    with remote_orchestrator(site.control, site.folder / "bd", ca=site.root) as bd:
        run = bd.start_run(credits="10", tools=["search.*"], role="lead")
        with pytest.raises(IssuerError, match="pass a SubAgentCommand with a `gateway`"):
            run.spawn(role="r", tools=["search.web"], credits="1", command=["true"])
        child = run.spawn(role="r", tools=["search.web"], credits="1", command=command)
        assert child.process is not None
        claims = child.claims
        assert child.process.wait(60) == 0
        assert claims.process_proven is True
        assert claims.process_id in (tmp_path / "out").read_text()
