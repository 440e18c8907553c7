"""Java's HttpClient, over HTTP/1.1 and HTTP/2."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from client_gateway import EVENTS, PAGE, ClientWorld, received

pytestmark = pytest.mark.skipif(
    not (shutil.which("javac") and shutil.which("keytool")), reason="no JDK is installed"
)

PROGRAM = """
import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;

public class Client {
    static HttpClient client;
    static String url, token;

    static String ask(String method, String path, BodyPublisher body) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(url + path)).method(method, body)
            .header("Authorization", "Bearer " + token).build();
        var answer = client.send(request, BodyHandlers.ofString());
        if (method.equals("HEAD")) return answer.headers().firstValue("etag").get();
        return answer.version() + " " + answer.statusCode() + " " + answer.body();
    }

    public static void main(String[] arguments) throws Exception {
        url = arguments[0];
        token = arguments[1];
        var version = HttpClient.Version.valueOf(arguments[2]);
        client = HttpClient.newBuilder().version(version).build();
        var none = BodyPublishers.noBody();
        var whole = new byte[1 << 20];
        var pieces = BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(whole));
        for (var text : new String[] {
            ask("GET", "/page", none), ask("HEAD", "/page", none),
            ask("POST", "/upload", BodyPublishers.ofByteArray(whole)),
            ask("POST", "/upload", pieces), ask("GET", "/events", none),
        }) System.out.print(text + "\\0");
    }
}
"""


@pytest.fixture(scope="module")
def folder(world: ClientWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client, compiled, and whom it trusts."""
    folder = tmp_path_factory.mktemp("java")
    (folder / "Client.java").write_text(PROGRAM)
    trust = ["-keystore", "trust.p12", "-storepass", "changeit", "-file", str(world.ca)]
    for command in (
        ["javac", "Client.java"],
        ["keytool", "-importcert", "-noprompt", "-alias", "ca", *trust],
    ):
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    return folder


@pytest.mark.parametrize("version", ["HTTP_1_1", "HTTP_2"])
def test_java(world: ClientWorld, folder: Path, version: str) -> None:
    """Pages, HEAD, uploads whole and of unknown length, a stream without trailers.

    Java 17 reads no trailers over HTTP/1.1, and does not say TE: trailers either.
    """
    trust = ["-Djavax.net.ssl.trustStore=trust.p12", "-Djavax.net.ssl.trustStorePassword=changeit"]
    for _ in range(3):  # on a busy machine Java takes longer than a handshake may
        done = subprocess.run(
            ["java", *trust, "-cp", ".", "Client", world.url, world.token, version],
            cwd=folder,
            capture_output=True,
            timeout=60,
            check=False,
        )
        if b"Broken pipe" not in done.stderr:
            break
    assert not done.returncode, done.stderr.decode()
    page, etag, whole, pieces, events, _ = done.stdout.split(b"\0")
    good = f"{version} 200 ".encode()
    assert page == good + PAGE
    assert etag == b'"1"'
    assert [json.loads(text.removeprefix(good)) for text in (whole, pieces)] == [
        received(bytes(1 << 20))
    ] * 2
    assert events == good + b"".join(EVENTS)
