"""The OCSF events of records, in a file and over HTTP."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from audit_entries import CALL, EVENT, NOW_NS, PARENT, SPAN, TRACE, entry
from scripted_server import read_request, scripted

from crewgate.config import ExportConfig, ReceiverURL
from crewgate.errors import ReceiverError
from crewgate.export.ocsf import event
from crewgate.export.ocsf_channels import channel

REQUIRED = {
    "activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid",
}  # fmt: skip


def test_a_call_is_an_api_activity() -> None:
    """With all that OCSF 1.8.0 requires of the class, and the ids of the trace."""
    found = event(entry())
    assert found.keys() >= REQUIRED | {"actor", "api", "src_endpoint"}
    assert (found["class_uid"], found["type_uid"], found["category_uid"]) == (6003, 600399, 6)
    assert found["time"] == NOW_NS // 10**6
    assert found["metadata"]["version"] == "1.8.0"
    assert found["metadata"]["uid"] == "gw-1/worker-0.jsonl:7"
    assert found["api"]["operation"] == "search.web"
    assert found["api"]["request"] == {"uid": CALL.request}
    assert found["actor"]["user"]["uid"] == CALL.branch
    assert found["src_endpoint"] == {"name": "192.0.2.0/24"}
    assert found["status_id"] == 1
    assert found["http_response"] == {"code": 200, "body_length": 4000}
    assert found["trace"]["uid"] == TRACE
    assert found["trace"]["span"]["uid"] == SPAN
    assert found["trace"]["span"]["parent_uid"] == PARENT
    assert found["unmapped"]["cost_micro"] == 10_000
    assert msgspec.json.decode(found["raw_data"]) == entry().record


def test_the_method_of_a_message_is_a_part_of_the_operation() -> None:
    """A message of MCP comes in a POST."""
    found = event(entry(method="tools/call"))
    assert found["api"]["operation"] == "tools/call search.web"
    assert found["http_request"]["http_method"] == "POST"


def test_a_refused_call_is_a_failure_with_its_reason() -> None:
    found = event(entry(verdict="deny", reason="tool-not-allowed", trace=""))
    assert (found["status_id"], found["status_code"]) == (2, "tool-not-allowed")
    assert "trace" not in found


def test_any_other_record_is_a_base_event() -> None:
    found = event(entry(EVENT))
    assert found.keys() >= REQUIRED
    assert (found["class_uid"], found["type_uid"], found["category_uid"]) == (0, 99, 0)
    assert found["unmapped"] == {"event": "agent", "detail": "began"}


def _lines(path: Path) -> list[Any]:
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


async def test_events_are_appended_to_a_file(tmp_path: Path) -> None:
    """For its user alone; also after a program has renamed it; never a part of a line."""
    path = tmp_path / "out.ocsf"
    sink = channel(ExportConfig("siem", "ocsf", file=path))
    await sink.send([entry(), entry(EVENT)])
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each["class_uid"] for each in _lines(path)] == [6003, 0]
    path.rename(tmp_path / "old")
    await sink.send([entry(EVENT)])
    assert [each["class_uid"] for each in _lines(path)] == [0]
    path.unlink()
    path.mkdir()
    with pytest.raises(ReceiverError, match="Is a directory"):
        await sink.send([entry()])


async def test_what_a_killed_process_left_harms_no_event(tmp_path: Path) -> None:
    """The part of a line stays a line of its own."""
    path = tmp_path / "out.ocsf"
    path.write_bytes(b'{"class_uid":60')
    await channel(ExportConfig("siem", "ocsf", file=path)).send([entry()])
    torn, whole = path.read_bytes().splitlines()
    assert torn == b'{"class_uid":60'
    assert msgspec.json.decode(whole)["class_uid"] == 6003


async def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    """It would get a batch again and again, since it cannot be synced."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ReceiverError, match="no regular file"):
        await channel(ExportConfig("siem", "ocsf", file=tmp_path / "pipe")).send([entry()])


async def test_a_file_on_a_full_disk_keeps_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "out.ocsf"
    sink = channel(ExportConfig("siem", "ocsf", file=path))
    await sink.send([entry()])
    size = path.stat().st_size
    written: list[int] = []

    def write(descriptor: int, data: bytes) -> int:
        if written:
            raise OSError(28, "No space left on device")
        written.append(real(descriptor, data[:10]))
        return written[0]

    real = os.write
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(ReceiverError, match="No space left"):
            await sink.send([entry()])
    assert path.stat().st_size == size


async def test_events_are_posted_one_on_a_line() -> None:
    bodies: list[bytes] = []

    async def script(stream: trio.SocketStream, number: int) -> None:
        while request := await read_request(stream):
            bodies.append(request)
            await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async with scripted(script) as origin:
        url = ReceiverURL("http", origin.host, origin.port, "/in")
        sink = channel(ExportConfig("siem", "ocsf", url))
        await sink.send([entry(), entry(EVENT)])
        await sink.close()
    (request,) = bodies
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /in HTTP/1.1\r\n")
    assert b"content-type: application/x-ndjson" in head
    assert [msgspec.json.decode(line)["class_uid"] for line in body.splitlines()] == [6003, 0]
