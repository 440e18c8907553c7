"""The control API under mutual TLS, by stock clients, against the whole gateway."""

import base64
import ssl
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import forged_certificates
import httpx
import pytest
from authority import Authority
from control_site import CHILD, HOLDERS, NEW, ControlSite, serial_of
from control_world import ca_of, csr, identity
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from installation import wait_until

from crewgate.ca.certificates import CertificateAndKey, CertificateValidity, make_leaf, new_key, pem
from crewgate.ca.key_files import key_pem, read_certificates, read_key
from crewgate.config import load
from crewgate.core.x509.certificate import read
from crewgate.core.x509.identity_extension import Role
from crewgate.issuer import Orchestrator
from crewgate.issuer.inspection import read_claims

SUBJECT = {"subject_token_type": "urn:ietf:params:oauth:token-type:jwt"}


def refused_in_handshake(site: ControlSite, context: ssl.SSLContext) -> str:
    """How a client is told before it has said a word of HTTP."""
    with (
        httpx.Client(verify=context, base_url=site.control, trust_env=False) as client,
        pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError)) as refused,
    ):
        client.get("/healthz")
    return str(refused.value)


def test_without_a_certificate_of_this_ca_nobody_says_a_word(
    site: ControlSite, tmp_path: Path
) -> None:
    """None, one of another CA, and one of this CA that speaks for nobody."""
    assert "CERTIFICATE_REQUIRED" in refused_in_handshake(site, site.context()).upper()
    files = Authority(tmp_path).issue(common="eve")
    context = site.context()
    context.load_cert_chain(*files)
    assert "UNKNOWN_CA" in refused_in_handshake(site, context).upper()
    context = site.context()
    issuing = forged_certificates.issuing_of(ca_of(load(site.file)))
    context.load_cert_chain(
        *forged_certificates.write(
            tmp_path, forged_certificates.leaf(issuing, identity=None), issuing
        )
    )
    refused_in_handshake(site, context)


def test_one_with_our_key_and_a_role_of_its_own_making_is_unknown(
    site: ControlSite, tmp_path: Path
) -> None:
    """Whoever signs past the register, with the CA's key itself, is refused: it is not issued."""
    ca = ca_of(load(site.file))
    issuing = CertificateAndKey(read_certificates(ca.issuing)[0], read_key(ca.issuing_key, None))
    key, now = new_key(), datetime.now(UTC)
    until = issuing.certificate.not_valid_after_utc
    validity = CertificateValidity.of(now, timedelta(hours=1), until=until)
    eve = identity(Role.OPERATOR, "eve")
    leaf = make_leaf(issuing, key.public_key(), eve, "crewgate.internal", validity, ())
    (tmp_path / "eve.pem").write_bytes(pem(leaf) + pem(issuing.certificate))
    (tmp_path / "eve.key").write_bytes(key_pem(key))
    context = site.context()
    context.load_cert_chain(tmp_path / "eve.pem", tmp_path / "eve.key")
    refused_in_handshake(site, context)


@pytest.mark.parametrize("http2", [False, True])
def test_tokens_of_the_endpoint_are_good_at_the_gateway(site: ControlSite, http2: bool) -> None:
    """A run, a child and a further token; spent, seen in the tree, introspected, revoked."""
    with site.api("bd", http2=http2) as api:
        run = api.post("/v1/tokens", data=NEW).json()
        child = {"grant_type": CHILD, "scope": "search.web", "credits": "2.5", "role": "r"}
        form = {**child, **SUBJECT, "subject_token": run["access_token"]}
        made = api.post("/v1/tokens", data=form).json()
        assert site.call(made["access_token"]).status_code == 200
        last = {"grant_type": "refresh_token", "refresh_token": made["access_token"]}
        fresh = api.post("/v1/tokens", data=last).json()
        assert site.call(fresh["access_token"]).status_code == 200
        branch = made["branch"]
        found: dict[str, Any] = {}

        def spent() -> bool:
            answer = api.get(f"/v1/branches/{branch}")
            found.update(answer.json())
            return answer.status_code == 200 and found["spent_micro"] == 20_000

        wait_until(spent)
        assert (found["crew"], found["role"], found["parent"]) == ("bd", "r", run["branch"])
        assert found["orchestrator"] == "bd/bd-1"
        told = api.post("/v1/introspect", data={"token": fresh["access_token"]}).json()
        assert (told["active"], told["branch"], told["scope"]) == (True, branch, "search.web")
        done = api.delete(f"/v1/branches/{run['branch']}")
        assert done.status_code == 200, done.text
        assert done.json()["processes"] == 1
        assert site.call(fresh["access_token"]).status_code == 401
        assert api.post("/v1/introspect", data={"token": fresh["access_token"]}).json() == {
            "active": False
        }
        again = api.post("/v1/tokens", data=last | {"refresh_token": fresh["access_token"]})
        assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")


def test_another_crew_finds_nothing_of_it(site: ControlSite) -> None:
    """Neither branch nor certificate nor token of crew bd is there for crew finance."""
    run = site.run_token("bd")
    assert site.call(run["access_token"]).status_code == 200
    with site.api("bd") as own:
        wait_until(lambda: own.get(f"/v1/branches/{run['branch']}").status_code == 200)
    with site.api("finance") as api:
        statuses = [
            api.get(f"/v1/branches/{run['branch']}").status_code,
            api.delete(f"/v1/branches/{run['branch']}").status_code,
            api.get("/v1/branches?crew=bd").status_code,
            api.post("/v1/revocations", json={"branch": run["branch"], "crew": "bd"}).status_code,
            api.post("/v1/revocations", json={"orchestrator": "bd/bd-1"}).status_code,
            api.post(
                "/v1/revocations", json={"certificate": serial_of(site.folder / "bd")}
            ).status_code,
        ]
        assert statuses == [404, 404, 403, 403, 403, 404]
        form = {"grant_type": "refresh_token", "refresh_token": run["access_token"]}
        assert api.post("/v1/tokens", data=form).json()["error"] == "invalid_grant"
        assert {row["crew"] for row in api.get("/v1/tree").json()["branches"]} <= {"finance"}
    assert site.call(run["access_token"]).status_code == 200


def test_a_certificate_is_renewed_for_the_same_process(site: ControlSite, tmp_path: Path) -> None:
    """The next one says the same, OpenSSL accepts it, and a connection with it is served."""
    request = csr()
    with site.api("bd") as api:
        answer = api.post("/v1/certificates", json={"request": request})
    assert answer.status_code == 201
    chain = answer.json()["certificate"].encode()
    leaf, issuing = x509.load_pem_x509_certificates(chain)
    before = read_certificates(site.folder / "bd.pem")[0]
    assert (
        read(leaf.public_bytes(Encoding.DER)).speaks_for()
        == read(before.public_bytes(Encoding.DER)).speaks_for()
    )
    (tmp_path / "leaf.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
    (tmp_path / "issuing.pem").write_bytes(issuing.public_bytes(Encoding.PEM))
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", site.root,
         "-untrusted", tmp_path / "issuing.pem", tmp_path / "leaf.pem"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("what", ["certificate", "orchestrator"])
def test_a_revoked_certificate_is_out_in_mid_connection(site: ControlSite, what: str) -> None:
    """The very next request on a connection that was open before is refused, or it is closed."""
    name = f"doomed-{what}"
    HOLDERS[name] = ("--role", "orchestrator", "--crew", "bd", "--name", name)
    prefix = site.issue(name)
    with site.api(name) as doomed, site.api("ada") as ada, site.api("bd") as sibling:
        token = doomed.post("/v1/tokens", data=NEW).json()["access_token"]
        assert sibling.get("/healthz").status_code == 200
        ask = {
            "certificate": {"certificate": serial_of(prefix)},
            "orchestrator": {"orchestrator": f"bd/{name}"},
        }[what]
        done = ada.post("/v1/revocations", json=ask).json()
        assert (done["target"], done["applied_on"]) == (what, 1)
        assert done["certificates"] == [serial_of(prefix)]
        deed = f"operator/ada, certificate {serial_of(site.folder / 'ada')}: revoked {what} "
        wait_until(lambda: any(deed in record.get("detail", "") for record in site.records()))
        try:
            answer = doomed.post("/v1/certificates", json={"request": csr()})
            assert answer.status_code == 401
        except httpx.HTTPError:
            pass  # closed already
        assert sibling.get("/healthz").status_code == 200
        active = ada.post("/v1/introspect", data={"token": token}).json()["active"]
        assert active is (what == "certificate")
        assert site.call(token).status_code == (200 if active else 401)
    wait_until(
        lambda: "CERTIFICATE_REVOKED" in refused_in_handshake(site, site.context(name)).upper()
    )


def test_ocsp_and_list_say_the_same(site: ControlSite) -> None:
    """By POST and by GET, percent-encoded or bare; another issuer's serial is unknown."""
    HOLDERS["seen"] = ("--role", "operator", "--name", "seen")
    prefix = site.issue("seen")
    leaf, issuing = read_certificates(Path(f"{prefix}.pem"))
    builder = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuing, hashes.SHA256())
    der = builder.build().public_bytes(Encoding.DER)
    text = base64.b64encode(der).decode()
    media = {"content-type": "application/ocsp-request"}
    with site.api("edge") as api, site.api("ada") as ada:

        def answers() -> set[str]:
            found = [
                api.post("/ocsp", content=der, headers=media),
                api.get(f"/ocsp/{quote(text, safe='')}"),
                api.get(f"/ocsp/{text}"),
            ]
            for answer in found:
                assert answer.status_code == 200, answer.text
                assert answer.headers["content-type"] == "application/ocsp-response"
            responses = [ocsp.load_der_ocsp_response(answer.content) for answer in found]
            assert {each.serial_number for each in responses} == {leaf.serial_number}
            return {each.certificate_status.name for each in responses}

        assert answers() == {"GOOD"}
        ada.post("/v1/revocations", json={"certificate": serial_of(prefix)})
        assert answers() == {"REVOKED"}
        listed = x509.load_pem_x509_crl(api.get("/crl").content)
        assert listed.get_revoked_certificate_by_serial_number(leaf.serial_number) is not None
        for tail in ("", "x", "%", "MEI", "a//b", "A" * 4000):
            answer = api.get(f"/ocsp/{tail}")
            assert answer.status_code in {200, 400, 404}, tail


def test_the_ready_check_tells_the_gateway_s_state(site: ControlSite) -> None:
    """And everybody with a certificate may ask."""
    for who in ("ada", "bd", "edge"):
        with site.api(who) as api:
            assert api.get("/healthz").json() == {
                "status": "ok", "waiting_for": [], "troubles": []
            }  # fmt: skip
            wait_until(lambda: api.get("/readyz").json()["status"] == "ok")
            assert api.get("/readyz").status_code == 200


def test_a_probe_sees_by_the_status_that_calls_are_refused(site: ControlSite) -> None:
    """The audit cannot be written: 503 for everybody, reasons for operators, exit status 2."""
    audit = site.folder / "state" / "audit"
    with site.api("bd") as bd, site.api("ada") as ada:
        wait_until(lambda: bd.get("/readyz").status_code == 200)
        audit.rename(audit.with_name("away"))
        audit.touch()
        wait_until(lambda: bd.get("/readyz").status_code == 503)
        answer = bd.get("/readyz").json()
        assert answer == {"status": "waiting", "waiting_for": ["audit"], "troubles": []}
        (trouble,) = (
            each for each in ada.get("/readyz").json()["troubles"] if each["component"] == "audit"
        )
        assert "name another [audit] folder" in trouble["mend"]
        assert bd.get("/healthz").status_code == 200
        told = site.tell("status", check=False)
        assert (told.returncode, told.stdout.split(":")[0]) == (2, "not ready")
        audit.unlink()
        audit.with_name("away").rename(audit)
        wait_until(lambda: bd.get("/readyz").status_code == 200)


def test_a_second_process_with_the_journal_is_told(site: ControlSite) -> None:
    """Whoever mints as finance/fin-7 here keeps the endpoint from doing so, with 409."""
    form = {**NEW, "orchestrator": "finance/fin-7"}
    with site.api("ada") as ada:
        with Orchestrator.from_config(site.file, crew="finance", name="fin-7"):
            answer = ada.post("/v1/tokens", data=form)
            assert (answer.status_code, answer.json()["error"]) == (409, "temporarily_unavailable")
            assert str(site.folder) not in answer.text
        answer = ada.post("/v1/tokens", data=form)
        assert answer.status_code == 200
        assert read_claims(answer.json()["access_token"]).client_id == "finance/fin-7"


def test_requests_at_once_do_not_mix(site: ControlSite) -> None:
    """Twenty threads of three holders: each sees its own crew, always."""
    wrong: list[object] = []

    def ask(who: str, crews: set[str]) -> None:
        with site.api(who) as api:
            for _ in range(20):
                answer = api.get("/v1/tree")
                found = {row["crew"] for row in answer.json()["branches"]}
                if answer.status_code != 200 or not found <= crews:
                    wrong.append((who, answer.status_code, found))

    known = {"bd", "finance", "article", "keyless"}
    callers = [("bd", {"bd"}), ("finance", {"finance"}), ("ada", known)] * 6
    threads = [threading.Thread(target=ask, args=caller) for caller in callers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
