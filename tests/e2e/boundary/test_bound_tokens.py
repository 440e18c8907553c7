"""A token that is bound to a certificate is good over a connection of that certificate alone."""

import shutil
import subprocess
from pathlib import Path

import forged_certificates
import pytest
from authority import Files
from mtls_gateway import Boundary

AGENTS, ALL, EITHER = 0, 1, 6
GO = """
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"strings"
)

func main() {
	pem, _ := os.ReadFile(os.Args[1])
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	pair, err := tls.LoadX509KeyPair(os.Args[2], os.Args[3])
	if err != nil {
		panic(err)
	}
	settings := &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}
	transport := &http.Transport{TLSClientConfig: settings, ForceAttemptHTTP2: true}
	client := &http.Client{Transport: transport}
	request, _ := http.NewRequest("POST", os.Args[4]+"/search", strings.NewReader("{}"))
	request.Header.Set("Authorization", "Bearer "+os.Args[5])
	answer, err := client.Do(request)
	if err != nil {
		panic(err)
	}
	fmt.Print(answer.StatusCode)
}
"""


def _of(boundary: Boundary, name: str = "article-1") -> Files:
    return boundary.issue(forged_certificates.bd(name, crew="article")).files


def _token(boundary: Boundary, files: Files) -> str:
    """A token that is bound to a certificate."""
    arguments = ("--crew", "article", "--role", "r", "--tools", "search.*", "--credits", "1")
    return boundary.run("mint", *arguments, "--certificate", str(files.certificate)).strip()


def _branch(boundary: Boundary, folder: Path) -> tuple[Files, str]:
    """The certificate of a branch and a token that is bound to it, by commands alone."""
    arguments = ("--crew", "article", "--role", "r", "--tools", "search.*", "--credits", "1")
    token = boundary.run("mint", *arguments).strip()
    files = Files(folder / "agent.pem", folder / "agent.key")
    make = ("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    asked = ("-nodes", "-keyout", files.key, "-out", folder / "agent.csr", "-subj", "/")
    subprocess.run([*make, *asked], check=True, capture_output=True)
    prefix, request = str(folder / "agent"), str(folder / "agent.csr")
    issue = ("ca", "issue", "--role", "agent", "--token", token, "--request", request)
    boundary.run(*issue, "--out", prefix)
    return files, boundary.run("refresh", token, "--certificate", f"{prefix}.pem").strip()


def _client(boundary: Boundary, folder: Path, whose: str) -> tuple[Files, str]:
    if whose == "branch":
        return _branch(boundary, folder)
    files = _of(boundary)
    return files, _token(boundary, files)


def _call(boundary: Boundary, token: str, files: Files | None, offset: int) -> tuple[int, str]:
    """Status and reason of a call."""
    with boundary.http(files, offset) as client:
        answer = client.post("/search", headers={"authorization": f"Bearer {token}"}, json={})
    kind = answer.json().get("type", "") if answer.status_code != 200 else ""
    return answer.status_code, kind.rpartition("/")[2]


def test_only_its_certificate_is_good(boundary: Boundary) -> None:
    files, other = _of(boundary), _of(boundary)
    token = _token(boundary, files)
    for offset in (ALL, EITHER):
        assert _call(boundary, token, files, offset) == (200, "")
        assert _call(boundary, token, other, offset) == (401, "invalid-proof")
    for offset in (AGENTS, EITHER):
        assert _call(boundary, token, None, offset) == (401, "invalid-proof")


def test_with_the_scheme_of_proofs_it_is_refused(boundary: Boundary) -> None:
    files = _of(boundary)
    with boundary.http(files, ALL) as client:
        headers = {"authorization": f"DPoP {_token(boundary, files)}"}
        answer = client.post("/search", headers=headers, json={})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("DPoP ")


WHOSE = pytest.mark.parametrize("whose", ["orchestrator", "branch"])


@WHOSE
def test_curl(boundary: Boundary, tmp_path: Path, whose: str) -> None:
    files, token = _client(boundary, tmp_path, whose)
    done = subprocess.run(
        [
            "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", boundary.root,
            "--cert", files.certificate, "--key", files.key, "-d", "{}",
            "-H", f"authorization: Bearer {token}",
            f"https://localhost:{boundary.port + ALL}/search",
        ],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "200"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client in Go, compiled."""
    folder = tmp_path_factory.mktemp("go")
    (folder / "main.go").write_text(GO)
    subprocess.run(["go", "build", "-o", "client", "main.go"], cwd=folder, check=True)
    return folder / "client"


@pytest.mark.skipif(not shutil.which("go"), reason="go is not installed")
@WHOSE
def test_go(boundary: Boundary, program: Path, tmp_path: Path, whose: str) -> None:
    files, token = _client(boundary, tmp_path, whose)
    url = f"https://localhost:{boundary.port + ALL}"
    words = [boundary.root, files.certificate, files.key, url, token]
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "200"), done.stderr
