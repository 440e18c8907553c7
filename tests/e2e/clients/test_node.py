"""Node's own clients: fetch (undici) over HTTP/1.1, and node:http2."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from client_gateway import EVENTS, PAGE, UPLOAD, ClientWorld, received

pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")

FETCH = """
const [url, token] = [process.env.URL_, process.env.TOKEN];
const headers = { authorization: `Bearer ${token}` };
const upload = Buffer.alloc(1048576, Buffer.from(Array.from({ length: 256 }, (_, i) => i)));
const pieces = new ReadableStream({
  start(controller) {
    for (let at = 0; at < upload.length; at += 65536) controller.enqueue(upload.subarray(at,
    at + 65536));
    controller.close();
  },
});
const found = {};
found.page = await (await fetch(`${url}/page`, { headers })).text();
found.head = (await fetch(`${url}/page`, { method: "HEAD", headers })).headers.get("etag");
found.whole = await (await fetch(`${url}/upload`, { method: "POST", headers,
body: upload })).json();
const request = { method: "POST", headers, body: pieces, duplex: "half" };
found.pieces = await (await fetch(`${url}/upload`, request)).json();
found.events = "";
for await (const piece of (await fetch(`${url}/events`, { headers })).body)
  found.events += Buffer.from(piece).toString();
found.refused = (await fetch(`${url}/page`, { headers: { authorization: "Bearer x" } })).status;
console.log(JSON.stringify(found));
"""
HTTP2 = """
import { connect } from "node:http2";
import { readFileSync } from "node:fs";
const session = connect(process.env.URL_, { ca: readFileSync(process.env.NODE_EXTRA_CA_CERTS) });
const ask = (fields, body) => new Promise((resolve, reject) => {
  const stream = session.request({ authorization: `Bearer ${process.env.TOKEN}`, ...fields });
  const answer = { text: "", trailers: {} };
  stream.setEncoding("utf8");
  stream.on("response", (head) => { answer.status = head[":status"]; });
  stream.on("trailers", (fields) => { answer.trailers = { ...fields }; });
  stream.on("data", (piece) => { answer.text += piece; });
  stream.on("end", () => resolve(answer));
  stream.on("error", reject);
  stream.end(body);
});
const pages = await Promise.all(
  Array.from({ length: 10 }, () => ask({ ":path": "/page" })),
);
const events = await ask({ ":path": "/events" });
const upload = await ask({ ":path": "/upload", ":method": "POST" }, Buffer.alloc(1048576));
session.close();
console.log(JSON.stringify({ pages, events, upload }));
"""


def node(world: ClientWorld, folder: Path, script: str) -> dict:
    """What a module prints."""
    file = folder / "client.mjs"
    file.write_text(script)
    environment = {"URL_": world.url, "TOKEN": world.token, "NODE_EXTRA_CA_CERTS": str(world.ca)}
    done = subprocess.run(
        ["node", str(file)],
        capture_output=True,
        env=os.environ | environment,
        timeout=60,
        check=False,
    )
    assert not done.returncode, done.stderr.decode()
    return json.loads(done.stdout)


def test_fetch(world: ClientWorld, tmp_path: Path) -> None:
    """Pages, HEAD, uploads whole and in pieces, a stream, a refusal."""
    found = node(world, tmp_path, FETCH)
    assert found["page"].encode() == PAGE
    assert found["head"] == '"1"'
    assert found["whole"] == found["pieces"] == received(UPLOAD)
    assert found["events"].encode() == b"".join(EVENTS)
    assert found["refused"] == 401


def test_http2(world: ClientWorld, tmp_path: Path) -> None:
    """Ten streams at once, a stream with its trailers, an upload."""
    found = node(world, tmp_path, HTTP2)
    assert [page["text"].encode() for page in found["pages"]] == [PAGE] * 10
    assert found["events"]["text"].encode() == b"".join(EVENTS)
    assert found["events"]["trailers"] == {"x-sum": "3"}
    assert json.loads(found["upload"]["text"]) == received(bytes(1_048_576))
