"""`crewgate ca`: each subcommand, for a person and for a script; what is wrong is one line."""

import json
import stat
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import forged_certificates as forged
import pytest
from cli_runner import Run
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from full_register import full_books

from crewgate import limits
from crewgate.ca.authority import request_pem
from crewgate.ca.certificates import new_key, pem
from crewgate.ca.key_files import read_key
from crewgate.ca.member_signing_key import public_half
from crewgate.ca.unrecorded_revocations import unwritten_of
from crewgate.config import load
from crewgate.core.x509.certificate import read
from crewgate.core.x509.identity_extension import MAY_REVOKE, Identity, Role, member_id
from crewgate.ipc.admin_messages import QuorumResult, RevocationReceipt


def issue(run: Run, fresh: Path, name: str = "a-1", *more: object) -> dict[str, Any]:
    """A certificate of an orchestrator, beside the configuration."""
    given = ("--role", "orchestrator", "--crew", "article", "--name", name)
    result = run("ca", "issue", "-c", fresh, *given, "--out", fresh.parent / name, "--json", *more)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def ask(run: Run, *arguments: object) -> Any:
    """What a subcommand says with --json."""
    result = run("ca", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def listed(run: Run, fresh: Path, *more: object) -> list[dict[str, Any]]:
    """All but the gateway's, which `init` has had signed."""
    return [row for row in ask(run, "list", "-c", fresh, *more) if row["role"] != "gateway"]


def refused(run: Run, *arguments: object) -> str:
    """The one line of a subcommand that fails."""
    result = run("ca", *arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("crewgate: ")
    return line


def test_issue_writes_chain_and_key(run: Run, fresh: Path) -> None:
    """Leaf, then issuing CA; the key is its owner's alone and belongs to the leaf."""
    row = issue(run, fresh)
    leaf, issuing = x509.load_pem_x509_certificates((fresh.parent / "a-1.pem").read_bytes())
    leaf.verify_directly_issued_by(issuing)
    found = read(leaf.public_bytes(Encoding.DER))
    assert found.speaks_for().label == "article/a-1"
    assert (found.serial_text, row["status"], row["crew"]) == (row["serial"], "valid", "article")
    key = fresh.parent / "a-1.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert read_key(key).public_key() == leaf.public_key()


def test_a_request_is_signed_and_no_key_is_made(run: Run, fresh: Path) -> None:
    """The private key never leaves its machine."""
    key, csr = new_key(), fresh.parent / "a.csr"
    csr.write_bytes(request_pem(key))
    issue(run, fresh, "a-1", "--request", csr)
    leaf = x509.load_pem_x509_certificates((fresh.parent / "a-1.pem").read_bytes())[0]
    assert leaf.public_key() == key.public_key()
    assert not (fresh.parent / "a-1.key").exists()


def test_a_request_of_openssl(run: Run, fresh: Path) -> None:
    """As people make one."""
    key, csr = fresh.parent / "o.key", fresh.parent / "o.csr"
    subprocess.run(
        ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", key, "-out", csr, "-subj", "/CN=whatever"],
        check=True, capture_output=True,
    )  # fmt: skip
    issue(run, fresh, "a-1", "--request", csr)


def test_a_gateways_certificate_has_its_hosts_and_rights(run: Run, fresh: Path) -> None:
    """Names in lower case, addresses as such; life as asked for."""
    given = ("--role", "gateway", "--name", "edge-1", "--out", fresh.parent / "edge")
    more = ("--host", "GW.example.", "--host", "127.0.0.1", "--right", "peer", "--life", "90s")
    row = ask(run, "issue", "-c", fresh, *given, *more)
    leaf = x509.load_pem_x509_certificates((fresh.parent / "edge.pem").read_bytes())[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == [
        "spiffe://crewgate.internal/gateway/edge-1", "gw.example", "127.0.0.1",
    ]  # fmt: skip
    assert read(leaf.public_bytes(Encoding.DER)).speaks_for().rights == ("peer",)
    began, end = (datetime.fromisoformat(row[key]) for key in ("issued", "not_after"))
    assert (end - began).total_seconds() == 90


def test_a_gateway_s_signing_key_is_made_and_certified(run: Run, fresh: Path) -> None:
    """For its owner's eyes; the certificate says its public half, and who revokes by the right."""
    key = fresh.parent / "edge.signing"
    row = gateway(run, fresh, "edge-1", "--signing-key", key, "--right", MAY_REVOKE)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    identity = speaks_for(fresh.parent / "edge-1.pem")
    assert (identity.key, identity.rights) == (public_half(key), (MAY_REVOKE,))
    assert (row["role"], row["name"]) == ("gateway", "edge-1")


def test_of_a_machine_without_the_ca_the_public_half_is_enough(run: Run, fresh: Path) -> None:
    """As OpenSSL writes it; the private one never leaves that machine."""
    private, public = fresh.parent / "private", fresh.parent / "public"
    for command in (
        ("genpkey", "-algorithm", "ed25519", "-out", private),
        ("pkey", "-in", private, "-pubout", "-out", public),
    ):
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    gateway(run, fresh, "edge-1", "--signing-key", public)
    private.chmod(0o600)
    assert speaks_for(fresh.parent / "edge-1.pem").key == public_half(private)


def test_no_two_machines_have_one_name(run: Run, fresh: Path) -> None:
    """Members are told apart by it; the same key may have the next certificate, another may not."""
    key, there = fresh.parent / "edge.signing", fresh.parent
    row = gateway(run, fresh, "edge-1", "--signing-key", key)
    given = ("issue", "-c", fresh, "--role", "gateway", "--name", "edge-1")
    line = refused(run, *given, "--out", there / "x", "--signing-key", there / "other")
    assert f"certificate {row['serial']} has this name and another signing key" in line
    ask(run, *given, "--out", there / "next", "--signing-key", key)
    ask(run, *given, "--out", there / "plain")
    for serial in (row["serial"], there / "next.pem"):
        run("ca", "revoke", "-c", fresh, serial)
    ask(run, *given, "--out", there / "y", "--signing-key", there / "other")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--role", "operator"), "--signing-key is only for --role gateway"),
        (("--role", "gateway"), "expected an unencrypted Ed25519 private key in PEM"),
    ],
)
def test_what_is_no_signing_key_is_said(
    run: Run, fresh: Path, more: tuple[str, ...], says: str
) -> None:
    """Another role's, another kind of key."""
    key, there = fresh.parent / "gateway" / "gateway.key", fresh.parent
    given = (*more, "--name", "x", "--out", there / "x", "--signing-key", key)
    result = run("ca", "issue", "-c", fresh, *given)
    assert (result.exit_code, says in result.stderr) == (2, True)
    assert not (there / "x.pem").exists()


def test_a_renewed_gateway_lives_as_long_as_before(run: Run, fresh: Path) -> None:
    """For the same key, name, hosts and rights: nobody has a server of four hours by surprise."""
    file = fresh.parent / "certs" / "machine.pem"
    before, was = speaks_for(file), file.read_bytes()
    row = ask(run, "renew", "-c", fresh, file)
    assert (speaks_for(file), file.read_bytes() != was) == (before, True)
    began, end = (datetime.fromisoformat(row[key]) for key in ("issued", "not_after"))
    assert (end - began).days == limits.ca_server_days


def test_a_listeners_certificate_is_renewed_as_init_made_it(run: Run, fresh: Path) -> None:
    """It names no holder, so any client can read it, and no register has it."""
    file = fresh.parent / "certs" / "gateway.pem"
    before, chain = x509.load_pem_x509_certificates(file.read_bytes())
    row = ask(run, "renew", "-c", fresh, file)
    after, issuing = x509.load_pem_x509_certificates(file.read_bytes())
    assert (row["role"], int(row["serial"], 16)) == ("server", after.serial_number)
    assert after.serial_number != before.serial_number
    assert (after.public_key(), after.subject, issuing) == (
        before.public_key(), before.subject, chain,
    )  # fmt: skip
    for kind in (x509.SubjectAlternativeName, x509.ExtendedKeyUsage):
        one, other = (each.extensions.get_extension_for_class(kind) for each in (before, after))
        assert one == other
    assert len(after.extensions) == len(before.extensions)
    after.verify_directly_issued_by(issuing)
    life = after.not_valid_after_utc - after.not_valid_before_utc
    assert life == before.not_valid_after_utc - before.not_valid_before_utc
    assert file.stat().st_mode & 0o777 == 0o644
    assert "a lifetime of" in refused(run, "renew", "-c", fresh, file, "--life", "9999d")


def test_renew_replaces_the_file_and_keeps_the_key(run: Run, fresh: Path) -> None:
    """The one before is still listed as valid."""
    before = issue(run, fresh)
    after = ask(run, "renew", "-c", fresh, fresh.parent / "a-1.pem", "--life", "1h")
    assert after["serial"] != before["serial"]
    leaf = x509.load_pem_x509_certificates((fresh.parent / "a-1.pem").read_bytes())[0]
    assert f"{leaf.serial_number:X}" == after["serial"].lstrip("0")
    assert read_key(fresh.parent / "a-1.key").public_key() == leaf.public_key()
    assert [each["status"] for each in listed(run, fresh)] == ["valid", "valid"]


def gateway(run: Run, fresh: Path, name: str, *more: object) -> dict[str, Any]:
    """A certificate of a gateway, beside the configuration."""
    given = ("--role", "gateway", "--name", name, "--out", fresh.parent / name)
    found: dict[str, Any] = ask(run, "issue", "-c", fresh, *given, *more)
    return found


def speaks_for(file: Path) -> Identity:
    """Whom the leaf in a file speaks for."""
    leaf = x509.load_pem_x509_certificates(file.read_bytes())[0]
    return read(leaf.public_bytes(Encoding.DER)).speaks_for()


@pytest.mark.parametrize("by", ["file", "serial", "lower"])
def test_revoke_by_file_or_serial(run: Run, fresh: Path, by: str) -> None:
    """Without a gateway it is in register and list, and told as such; again it says the same."""
    row = issue(run, fresh)
    which = {"file": fresh.parent / "a-1.pem", "serial": row["serial"]}.get(
        by, row["serial"].lower()
    )
    for reason in ("keyCompromise", "superseded"):
        result = run("ca", "revoke", "-c", fresh, which, "--reason", reason, "--json")
        assert result.exit_code == 0
        told = json.loads(result.stdout)
        assert (told["status"], told["reason"], told["announced"]) == (
            "revoked", "keyCompromise", False,
        )  # fmt: skip
        assert "repeat the command to close open connections" in result.stderr
    ca = load(fresh).ca
    assert ca is not None
    (entry,) = x509.load_pem_x509_crl(ca.crl.read_bytes())
    assert entry.serial_number == int(row["serial"], 16)
    text = run("ca", "revoke", "-c", fresh, which).stdout
    assert text == f"revoked article/a-1, serial {row['serial']}: no gateway runs here\n"


def test_a_revocation_that_too_few_machines_have_is_an_exit_status(
    run: Run, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of `crewgate revoke`, with a line that says who has not answered."""
    reach = QuorumResult("quorum", applied_on=1, of=3, ms=1000.0, missing=["b", "c"], enough=False)
    done = RevocationReceipt(read_ns=1, reach=reach)
    monkeypatch.setattr("crewgate.ca.revocation_propagation.announce", lambda *_: done)
    row = issue(run, fresh)
    result = run("ca", "revoke", "-c", fresh, row["serial"])
    assert result.exit_code == 3
    assert result.stdout.splitlines()[1:] == [
        "on the disks of 1 of 3 machines after 1000.0 ms",
        "no answer yet from: b, c",
        "that is less than a majority; this machine keeps sending it",
    ]
    result = run("ca", "revoke", "-c", fresh, row["serial"], "--json")
    assert (result.exit_code, json.loads(result.stdout)["reach"]["applied_on"]) == (3, 1)


def test_on_a_full_disk_the_gateway_refuses_it_and_a_person_has_to_say_it_again(
    run: Run, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is revoked is no more than the gateway knows, so the command does not end well."""
    row = issue(run, fresh)
    with full_books(monkeypatch):
        with monkeypatch.context() as patch:
            done = RevocationReceipt(read_ns=1)
            patch.setattr("crewgate.ca.revocation_propagation.announce", lambda *_, done=done: done)
            result = run("ca", "revoke", "-c", fresh, row["serial"])
        assert result.exit_code == 2
        said = "the gateway refuses the certificate, but the register could not be written"
        assert said in result.stderr
        assert "disk is full; make room" in result.stderr
        result = run("ca", "revoke", "-c", fresh, row["serial"], "--json")
        assert "no gateway knows of it" in result.stderr
        assert "disk is full" in json.loads(result.stdout)["unwritten"]
    unwritten_of(load(fresh).ca.register).written([row["serial"]])  # as another process would be
    result = run("ca", "revoke", "-c", fresh, row["serial"], "--json")
    assert (result.exit_code, json.loads(result.stdout)["status"]) == (0, "revoked")


def test_a_gateway_that_was_evicted_is_called_so(run: Run, fresh: Path) -> None:
    """Though the register has not heard of it; not one of another name, nor one issued since."""
    (row,) = ask(run, "list", "-c", fresh)
    folder = load(fresh).state / "gossip"
    issued = int(datetime.fromisoformat(row["issued"]).timestamp())
    gone = folder / f"{member_id(row['name']).hex()}.gone"
    (folder / f"{member_id('another').hex()}.gone").write_text(str(issued))
    for until, status in ((issued - 1, "valid"), (issued, "evicted")):
        gone.write_text(str(until))
        assert ask(run, "show", "-c", fresh, row["serial"])["status"] == status
        assert ask(run, "list", "-c", fresh)[0]["status"] == status
        assert run("ca", "list", "-c", fresh).stdout.rstrip().endswith(f"  {status}")
    run("ca", "revoke", "-c", fresh, row["serial"])
    assert ask(run, "show", "-c", fresh, row["serial"])["status"] == "revoked"


def test_a_list_that_cannot_be_written_is_told_last(run: Run, fresh: Path) -> None:
    """It is revoked all the same, and the status says that something is left to mend."""
    row = issue(run, fresh)
    ca = load(fresh).ca
    assert ca is not None
    ca.crl.unlink()
    ca.crl.mkdir()
    result = run("ca", "revoke", "-c", fresh, row["serial"])
    assert result.exit_code == 2
    assert "crl.pem: cannot be written" in result.stderr
    assert ask(run, "show", "-c", fresh, row["serial"])["status"] == "revoked"


def test_list_and_show(run: Run, fresh: Path) -> None:
    """Expired ones only when asked for; show has the certificate itself in JSON."""
    fresh.write_text(fresh.read_text().replace('folder = "ca"', 'folder = "another"'))
    (fresh.parent / "certs" / "crl.pem").unlink()
    assert run("ca", "init", "-c", fresh).exit_code == 0
    assert ask(run, "list", "-c", fresh) == []
    assert "no valid certificate" in run("ca", "list", "-c", fresh).stderr
    row = issue(run, fresh)
    assert ask(run, "list", "-c", fresh, "--all") == [row]
    heading, line = run("ca", "list", "-c", fresh).stdout.splitlines()
    assert heading.split()[:2] == ["serial", "holder"]
    assert line.startswith(row["serial"])
    assert line.rstrip().endswith("valid")
    shown = ask(run, "show", "-c", fresh, row["serial"])
    assert x509.load_pem_x509_certificate(shown["pem"].encode())
    text = run("ca", "show", "-c", fresh, fresh.parent / "a-1.pem").stdout
    assert f"serial     {row['serial']}\n" in text


def test_init_makes_a_ca_where_the_file_says(run: Run, fresh: Path) -> None:
    """In folders that it makes; a second time it overwrites nothing."""
    text = fresh.read_text().replace('"ca"', '"other/ca"').replace("certs/c", "other/certs/c")
    fresh.write_text(text)
    told = ask(run, "init", "-c", fresh)
    assert Path(told["root"]).is_file()
    assert Path(told["crl"]).is_file()
    assert (fresh.parent / "other/ca").stat().st_mode & 0o777 == 0o700
    assert "a CA exists already" in refused(run, "init", "-c", fresh)


def test_crl_signs_a_new_list(run: Run, fresh: Path) -> None:
    """With a higher number."""
    first, second = (
        x509.load_pem_x509_crl(Path(ask(run, "crl", "-c", fresh)["crl"]).read_bytes())
        for _ in range(2)
    )
    before, after = (
        each.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        for each in (first, second)
    )
    assert after > before


def test_export_prints_what_others_trust(run: Run, fresh: Path) -> None:
    """Root and issuing CA, and no key."""
    text = run("ca", "export", "-c", fresh).stdout
    root, issuing = x509.load_pem_x509_certificates(text.encode())
    issuing.verify_directly_issued_by(root)
    assert ask(run, "export", "-c", fresh) == {
        "root": pem(root).decode(),
        "issuing": pem(issuing).decode(),
    }


ROLE = ("--role", "orchestrator")
BAD: dict[str, tuple[tuple[str, ...], str]] = {
    "no crew": ((*ROLE, "--name", "a", "--out", "x"), "an orchestrator needs a crew"),
    "unknown crew": ((*ROLE, "--crew", "bd", "--name", "a", "--out", "x"), "no crew 'bd'"),
    "crew of an operator": (
        ("--role", "operator", "--crew", "article", "--name", "a", "--out", "x"),
        "no other role may have one",
    ),
    "bad name": (
        (*ROLE, "--crew", "article", "--name", "A/1", "--out", "x"), "the name 'A/1': expected"
    ),
    "bad role": (("--role", "king", "--name", "a", "--out", "x"), "is not one of"),
    "bad host": (
        ("--role", "gateway", "--name", "a", "--host", "a b", "--out", "x"), "--host 'a b'"
    ),
    "wide host": (
        ("--role", "gateway", "--name", "a", "--host", "*.x", "--out", "x"), "--host '*.x'"
    ),
    "odd host": (("--role", "gateway", "--name", "a", "--host", "ü", "--out", "x"), "--host"),
    "host of an orchestrator": (
        (*ROLE, "--crew", "article", "--name", "a", "--host", "x", "--out", "x"),
        "only a gateway's certificate has host names",
    ),
    "bad right": (
        ("--role", "operator", "--name", "a", "--right", "A B", "--out", "x"),
        "expected at most 16 rights",
    ),
    "bad life": (
        ("--role", "operator", "--name", "a", "--life", "soon", "--out", "x"), "is not a duration"
    ),
    "long life": (
        ("--role", "operator", "--name", "a", "--life", "99d", "--out", "x"), "expected 1 to"
    ),
    "no life": (("--role", "operator", "--name", "a", "--life", "0s", "--out", "x"), "a lifetime"),
    "folder as prefix": (("--role", "operator", "--name", "a", "--out", "/"), "and not a PREFIX"),
    "dots as prefix": (("--role", "operator", "--name", "a", "--out", ".."), "and not a PREFIX"),
    "no folder": (("--role", "operator", "--name", "a", "--out", "no/x"), "no: no such folder"),
    "long prefix": (
        ("--role", "operator", "--name", "a", "--out", "x" * 5000), "cannot be written"
    ),
    "no request": (
        ("--role", "operator", "--name", "a", "--request", "no", "--out", "x"), "does not exist"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "says"), BAD.values(), ids=BAD)
def test_bad_input_to_issue_is_one_line(
    run: Run, fresh: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], says: str
) -> None:
    """Status 2, nothing printed and no file left."""
    monkeypatch.chdir(fresh.parent / "certs")
    before = {path.name for path in Path().iterdir()}
    assert says in refused(run, "issue", "-c", fresh, *arguments)
    assert {path.name for path in Path().iterdir()} == before


def test_nothing_is_overwritten_by_issue(run: Run, fresh: Path) -> None:
    """Neither key nor certificate, a dangling link included; nothing is signed before that."""
    issue(run, fresh)
    given = (*ROLE, "--crew", "article", "--name", "a-1", "--out")
    assert "is not overwritten" in refused(run, "issue", "-c", fresh, *given, fresh.parent / "a-1")
    (fresh.parent / "b.key").symlink_to("nowhere")
    assert "is not overwritten" in refused(run, "issue", "-c", fresh, *given, fresh.parent / "b")
    assert len(listed(run, fresh)) == 1


@pytest.mark.parametrize("command", ["revoke", "show", "renew"])
def test_what_this_ca_has_not_issued_is_said(run: Run, fresh: Path, command: str) -> None:
    """Another CA's, one with the serial of ours, no certificate, no file, no serial."""
    row, there = issue(run, fresh), fresh.parent
    other = forged.other_issuing()
    (there / "other.pem").write_bytes(pem(forged.leaf(other, identity=forged.bd()).certificate))
    (there / "twin.pem").write_bytes(_twin(other, int(row["serial"], 16)))
    (there / "text.pem").write_text("nonsense")
    stranger = "another CA issued" if command == "renew" else "has not issued such a certificate"
    for which, says in (
        ("other.pem", stranger),
        ("twin.pem", stranger),
        ("text.pem", "not a certificate in PEM"),
        ("certs", "cannot be read" if command != "renew" else "is a directory"),
        ("none.pem", "cannot be read" if command != "renew" else "does not exist"),
    ):
        assert says in refused(run, command, "-c", fresh, there / which)
    if command != "renew":
        for which in ("AB12", "nonsense", "x" * 5000):
            assert "has not issued such a certificate" in refused(run, command, "-c", fresh, which)
    assert [each["status"] for each in listed(run, fresh)] == ["valid"]


def _twin(issuing: Any, serial: int) -> bytes:
    """What a stranger can make: his own certificate with the serial number of another."""
    key = new_key()
    moment = forged.now()
    builder = x509.CertificateBuilder(
        issuing.certificate.subject, issuing.certificate.subject, key.public_key(), serial, moment,
        moment + forged.HOUR,
    )  # fmt: skip
    return pem(builder.sign(issuing.key, hashes.SHA256()))


def test_bad_reasons_and_a_missing_ca_are_said(run: Run, fresh: Path) -> None:
    """What RFC 5280 has; which section to add."""
    row = issue(run, fresh)
    line = refused(run, "revoke", "-c", fresh, row["serial"], "--reason", "because")
    assert "unknown revocation reason 'because'; expected one of: affiliationChanged" in line
    (fresh.parent / "ca/issuing.key").rename(fresh.parent / "away")
    assert "issuing.key: the private key cannot be read" in refused(run, "crl", "-c", fresh)
    assert ask(run, "show", "-c", fresh, row["serial"])["status"] == "valid"  # needs no key
    text = fresh.read_text()
    for name in ("required", "optional"):
        text = text.replace(f'client_certificate = "{name}"', "#")
    start, end = text.index("[ca]"), text.index("# The listener for agents")
    fresh.write_text(text[:start] + text[end:])
    for command in ("init", "list", "crl", "export"):
        assert "there is no [ca]; add the section" in refused(run, command, "-c", fresh)


def test_a_folder_that_cannot_be_made_is_said(run: Run, fresh: Path) -> None:
    """A file stands in its place."""
    fresh.write_text(fresh.read_text().replace('folder = "ca"', 'folder = "crewgate.toml/ca"'))
    assert "cannot be created: Not a directory" in refused(run, "init", "-c", fresh)


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.GATEWAY])
def test_people_are_told_what_was_written(run: Run, fresh: Path, role: Role) -> None:
    """On standard error, so that a script is not in the way."""
    out = fresh.parent / "x"
    given = ("--role", role.value, "--name", "one", "--out", out)
    result = run("ca", "issue", "-c", fresh, *given)
    assert result.stdout == ""
    assert f"Wrote {out}.pem: {role.value}/one, serial " in result.stderr
    assert datetime.now(UTC).strftime("%Y") not in result.stderr.split("serial")[0]
