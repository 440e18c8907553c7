"""The commands by way of the control API, as a person on another machine types them."""

import json
import subprocess
from pathlib import Path

import pytest
from command_process import crewgate
from control_site import HOLDERS, ControlSite, serial_of
from installation import wait_until

from crewgate.issuer.inspection import read_claims

MINT = ("mint", "--crew", "bd", "--role", "lead", "--tools", "search.*", "--credits", "10")
CHILD = ("mint", "--crew", "bd", "--role", "r", "--tools", "search.web", "--credits", "2.50")


def test_mint_refresh_tree_and_revoke(site: ControlSite) -> None:
    """The story of a branch, and each document has the members of the local command's."""
    run = site.tell(*MINT, who="bd").stdout.strip()
    child = site.tell(*CHILD, "--parent", "-", "--process", "pid_9", who="bd", stdin=run)
    token = child.stdout.strip()
    claims = read_claims(token)
    assert (claims.client_id, claims.process_id) == ("bd/bd-1", "pid_9")
    assert claims.branch_path[0].id == read_claims(run).execution_branch_id
    more = ("--credits", "3", "--reason", "more pages")
    fresh = json.loads(site.tell("refresh", token, *more, "--json", who="bd").stdout)
    assert fresh.keys() == {"token", "branch", "grant", "expires"}
    (extended,) = (
        each for each in site.ask("journal")["entries"] if each["grant"] == fresh["grant"]
    )
    assert (extended["credits_micro"], extended["reason"]) == (500_000, "more pages")
    assert (extended["way"], extended["decided_by"]) == ("api", "orchestrator")
    assert site.call(fresh["token"]).status_code == 200

    branch = fresh["branch"]

    def rows() -> dict[str, dict[str, object]]:
        document = json.loads(site.tell("tree", "--json", who="bd").stdout)
        return {row["branch"]: row for row in document["branches"]}

    wait_until(lambda: branch in rows())
    local = {row["branch"]: row for row in site.ask("tree")["branches"]}
    assert rows()[branch] == local[branch]
    assert branch in site.tell("tree", who="bd").stdout

    text = site.tell("revoke", branch, "--crew", "bd", who="bd").stdout
    assert (
        text == f"revoked {branch} of crew bd and all below it: no call was open at the gateway\n"
    )
    done = json.loads(site.tell("revoke", branch, "--json").stdout)
    here = site.ask("revoke", branch)
    assert done.keys() == here.keys() - {"read_ns", "last_cut_ns"}
    assert site.call(fresh["token"]).status_code == 401
    refused = site.tell("refresh", fresh["token"], who="bd", check=False)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "invalid_grant" in refused.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("revoke", "019a0000-0000-7000-8000-0000000000aa", "--crew", "bd"),
        ("revoke", "--grant", "no-such-grant", "--crew", "bd"),
        ("revoke", "--process", "no-such-process", "--crew", "bd"),
        ("quarantine", "bd/bd-mistyped"),
        ("decommission", "bd/bd-mistyped-too"),
    ],
)
def test_a_mistyped_name_has_an_exit_status_of_its_own(
    site: ControlSite, arguments: tuple[str, ...]
) -> None:
    """The text says to how many machines it is unknown."""
    done = crewgate(arguments[0], "-c", site.file, *arguments[1:])
    assert (done.returncode, done.stderr) == (4, "")
    assert "the name is unknown to this machine" in done.stdout
    if arguments[0] == "quarantine":
        assert crewgate(*arguments, "-c", site.file, "--lift").returncode == 0


def test_a_name_that_was_seen_has_none(site: ControlSite) -> None:
    """A branch that called once."""
    token = site.tell(*MINT, who="bd").stdout.strip()
    assert site.call(token).status_code == 200
    branch = read_claims(token).execution_branch_id
    assert crewgate("revoke", branch, "-c", site.file).returncode == 0


def test_an_operator_mints_for_whom_he_names(site: ControlSite) -> None:
    """By --name, else for the crew's first; and refreshes what another orchestrator has."""
    named = site.tell(*MINT, "--name", "bd-8").stdout.strip()
    assert read_claims(named).client_id == "bd/bd-8"
    assert read_claims(site.tell(*MINT).stdout.strip()).client_id == "bd/bd-1"
    fresh = site.tell("refresh", "-", stdin=named).stdout.strip()
    assert read_claims(fresh).client_id == "bd/bd-8"


def test_certificates_are_issued_and_revoked(site: ControlSite, tmp_path: Path) -> None:
    """The key is made here; the files are those of the local command, and work."""
    HOLDERS["bob"] = ("--role", "operator", "--name", "bob")
    out = site.folder / "bob"
    document = json.loads(
        site.tell(
            "ca", "issue", *HOLDERS["bob"], "--life", "1h", "--out", str(out), "--json"
        ).stdout
    )
    local = site.ask("ca", "show", document["serial"])
    assert document.keys() == local.keys() - {"pem"}
    assert local["status"] == "valid"
    assert Path(f"{out}.key").stat().st_mode & 0o777 == 0o600
    assert site.tell("status", who="bob").stdout == "ready\n"
    again = site.tell("ca", "issue", *HOLDERS["bob"], "--out", str(out), check=False)
    assert (again.returncode, "exists already, and is not overwritten" in again.stderr) == (2, True)

    done = json.loads(
        site.tell("ca", "revoke", f"{out}.pem", "--reason", "superseded", "--json").stdout
    )
    assert (done["serial"], done["status"], done["announced"]) == (serial_of(out), "revoked", True)
    assert site.ask("ca", "show", done["serial"])["reason"] == "superseded"
    text = site.tell("ca", "revoke", done["serial"]).stdout
    assert text.startswith(f"revoked serial {done['serial']}: ")
    refused = site.tell("tree", who="bob", check=False)
    assert (refused.returncode, refused.stdout) == (2, "")


def test_a_request_of_another_machine_is_signed(site: ControlSite, tmp_path: Path) -> None:
    """A key that never leaves it: --request, and no key file is written."""
    key, request, out = tmp_path / "k.pem", tmp_path / "r.pem", tmp_path / "edge-2"
    subprocess.run(
        ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-keyout", key, "-out", request, "-subj", "/CN=ignored"],
        check=True, capture_output=True,
    )  # fmt: skip
    site.tell("ca", "issue", "--role", "gateway", "--name", "edge-2", "--host", "edge.example",
              "--request", str(request), "--out", str(out))  # fmt: skip
    assert not Path(f"{out}.key").exists()
    text = subprocess.run(
        ["openssl", "x509", "-in", f"{out}.pem", "-noout", "-text"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert "DNS:edge.example" in text
    assert "spiffe://crewgate.internal/gateway/edge-2" in text
    assert "ignored" not in text


@pytest.mark.parametrize(
    ("who", "arguments", "says"),
    [
        ("edge", MINT, "unauthorized_client"),
        ("finance", MINT, "unauthorized_client"),
        ("bd", (*MINT, "--ttl", "5m"), "--ttl is not for --control"),
        ("bd", ("mint", "--crew", "bd", "--role", "r", "--tools", "x.y", "--credits", "1"),
         "invalid_scope"),
        ("bd", ("refresh", "garbage"), "not a token"),
        ("bd", ("revoke", "0199c1d2-0000-7000-8000-000000000001", "--crew", "finance"), "(403)"),
        ("bd", ("revoke", "x"), "BRANCH: not a valid branch"),
        ("ada", ("revoke", "0199c1d2-0000-7000-8000-000000000001"), "has never seen branch"),
        ("bd", ("ca", "revoke", "0BAD"), "no such certificate"),
        ("ada", ("ca", "revoke", "0BAD", "--reason", "because"), "no reason 'because'"),
        ("bd", ("ca", "issue", "--role", "operator", "--name", "x", "--out", "/tmp/no-such"),
         "(403)"),
        ("ada", ("ca", "issue", "--role", "orchestrator", "--crew", "nobody", "--name", "x",
                 "--out", "/tmp/no-such"), "no such crew"),
        ("ada", ("ca", "issue", "--role", "operator", "--name", "x", "--right", "r", "--out",
                 "/tmp/no-such"), "--right"),
        ("ada", ("ca", "issue", "--role", "server", "--host", "x", "--out", "/tmp/no-such"),
         "--role server is not for --control"),
        ("nobody", ("tree",), "expected PREFIX.pem and PREFIX.key"),
    ],
)  # fmt: skip
def test_refusals_are_one_line(
    site: ControlSite, who: str, arguments: tuple[str, ...], says: str
) -> None:
    """On standard error, with exit status 2, and nothing on standard output."""
    done = site.tell(*arguments, who=who, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("crewgate: ")
    assert not Path("/tmp/no-such.pem").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("tree", "--control", "http://localhost:1"), "expected https://HOST:PORT"),
        (("tree", "--control", "https://a b"), "expected https://HOST:PORT"),
        (("tree", "--control", "https://u@h:1/x"), "expected https://HOST:PORT"),
        (("tree", "--control", "https://localhost:1"), "cannot connect"),
    ],
)
def test_an_api_that_is_not_there_is_one_line(
    site: ControlSite, arguments: tuple[str, ...], says: str
) -> None:
    """Why, and status 2."""
    done = crewgate(*arguments, "--ca", site.root, "--cert", site.folder / "ada")
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_is_missing_is_asked_for(site: ControlSite, tmp_path: Path) -> None:
    """Which option, and what it is for; the root is the configuration's where there is one."""

    def run(*arguments: object) -> tuple[int, str]:
        done = crewgate("tree", *arguments)
        return done.returncode, done.stderr

    ada = site.folder / "ada"
    assert run() == (2, "crewgate: Missing option '-c' / '--config'; see crewgate tree --help\n")
    assert "--control needs --cert" in run("--control", site.control)[1]
    assert "--control needs --ca" in run("--control", site.control, "--cert", ada)[1]
    assert "--cert is only for --control" in run("-c", site.file, "--cert", ada)[1]
    assert run("--control", site.control, "--cert", ada, "-c", site.file) == (0, "")
    strange = tmp_path / "strange.pem"
    strange.write_bytes((site.folder / "ada.pem").read_bytes())
    status, text = run("--control", site.control, "--cert", ada, "--ca", strange)
    assert (status, "certificate verify failed" in text.lower()) == (2, True)


def test_status_waits_and_says_no(site: ControlSite) -> None:
    """Exit status 2 where nothing answers; ready otherwise, in the words of the local command."""
    well = {"ready": True, "state": "ok", "waiting_for": [], "health": []}
    assert json.loads(site.tell("status", "--json").stdout) == well
    who = ("--ca", site.root, "--cert", site.folder / "ada")
    done = crewgate("status", "--json", "--wait", "0.3", "--control", "https://localhost:1", *who)
    assert done.returncode == 2
    assert "the control API" in json.loads(done.stdout)["waiting_for"][0]
