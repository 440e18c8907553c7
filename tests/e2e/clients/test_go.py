"""Go's net/http, over HTTP/1.1 and HTTP/2."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from client_gateway import EVENTS, PAGE, ClientWorld, received

pytestmark = pytest.mark.skipif(not shutil.which("go"), reason="go is not installed")

PROGRAM = """
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
)

var client *http.Client

func ask(method, path string, body io.Reader) (*http.Response, string) {
	request, err := http.NewRequest(method, os.Getenv("URL_")+path, body)
	if err != nil {
		panic(err)
	}
	request.Header.Set("Authorization", "Bearer "+os.Getenv("TOKEN"))
	request.Header.Set("TE", "trailers")
	answer, err := client.Do(request)
	if err != nil {
		panic(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		panic(err)
	}
	return answer, string(text)
}

func main() {
	pem, _ := os.ReadFile(os.Getenv("CA"))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	http2 := os.Getenv("HTTP2") == "1"
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		ForceAttemptHTTP2: http2,
	}
	if !http2 {
		transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	client = &http.Client{Transport: transport}
	page, text := ask("GET", "/page", nil)
	head, _ := ask("HEAD", "/page", nil)
	_, whole := ask("POST", "/upload", bytes.NewReader(make([]byte, 1<<20)))
	reader, writer := io.Pipe()
	go func() {
		for i := 0; i < 16; i++ {
			writer.Write(make([]byte, 1<<16))
		}
		writer.Close()
	}()
	_, pieces := ask("POST", "/upload", reader)
	events, stream := ask("GET", "/events", nil)
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"proto": page.Proto, "page": text, "etag": head.Header.Get("ETag"),
		"whole": whole, "pieces": pieces, "events": stream, "sum": events.Trailer.Get("X-Sum"),
	})
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client, compiled; the compiler needs nothing from outside."""
    folder = tmp_path_factory.mktemp("go")
    (folder / "client.go").write_text(PROGRAM)
    environment = {"GO111MODULE": "off", "GOFLAGS": ""}
    subprocess.run(
        ["go", "build", "-o", str(folder / "client"), str(folder / "client.go")],
        env=os.environ | environment,
        check=True,
        timeout=280,
    )
    return folder / "client"


@pytest.mark.parametrize(("http2", "proto"), [("0", "HTTP/1.1"), ("1", "HTTP/2.0")])
def test_go(world: ClientWorld, program: Path, http2: str, proto: str) -> None:
    """Pages, HEAD, uploads whole and from a pipe, a stream and its trailers."""
    environment = {"URL_": world.url, "TOKEN": world.token, "CA": str(world.ca), "HTTP2": http2}
    done = subprocess.run(
        [str(program)], env=os.environ | environment, capture_output=True, timeout=60, check=False
    )
    assert not done.returncode, done.stderr.decode()
    found = json.loads(done.stdout)
    assert (found["proto"], found["etag"]) == (proto, '"1"')
    assert found["page"].encode() == PAGE
    assert json.loads(found["whole"]) == json.loads(found["pieces"]) == received(bytes(1 << 20))
    assert found["events"].encode() == b"".join(EVENTS)
    assert found["sum"] == "3"
