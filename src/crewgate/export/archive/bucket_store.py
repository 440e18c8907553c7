"""An archive in a bucket of an S3-compatible service.

It uses four requests that each such service has: ListObjectsV2, PutObject, GetObject and
DeleteObject. The service verifies the body of an object by the SHA-256 that is signed, and by its
MD5, which services that lock objects demand. `If-None-Match: *` has the service refuse an object
whose name exists. Some services ignore this field, or refuse a request that has it. The keys are
read for each request.
"""

import os
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import md5
from pathlib import Path
from typing import Final
from urllib.parse import unquote
from xml.etree import ElementTree as ET

from crewgate import limits
from crewgate.config import ExportConfig
from crewgate.config.bucket import Bucket
from crewgate.errors import (
    ObjectExistsError,
    ObjectMissingError,
    ObjectRefusedError,
    ReceiverError,
    UnreadableObjectError,
    UnusableKeysError,
)
from crewgate.export.archive.listing import Listing, StoredObject
from crewgate.export.archive.s3_keys_file import read_keys
from crewgate.export.archive.s3_signature import S3Request, signed_fields
from crewgate.upstream.receiver_connection import ReceiverAnswer, ReceiverConnection

_MENDS: Final = {
    "NoSuchBucket": "make the bucket, or check `bucket`",
    "AccessDenied": "let the user of `credentials` {action}",
    "AllAccessDisabled": "let the user of `credentials` {action}",
    "InvalidAccessKeyId": "check the file `credentials`",
    "SignatureDoesNotMatch": "check the file `credentials` and `region`",
    "ExpiredToken": "renew the keys in the file `credentials`",
    "AuthorizationHeaderMalformed": "check `region`",
    "PermanentRedirect": "check `region` and `url`",
    "TemporaryRedirect": "check `region` and `url`",
    "RequestTimeTooSkewed": "set the clock of this machine",
}
_CODE = re.compile(r"[A-Za-z0-9]{1,64}", re.ASCII)
_FORBIDDEN, _MISSING = 403, 404
_EXISTS = 412  # Precondition Failed: the name that must be free is not
_UNKNOWN = 501  # Not Implemented: the service does not know a field of the request
_EMPTY = 416  # Range Not Satisfiable: the object has no first byte
# Of an object that is kept on tape, or that is encrypted with the key of whoever has put it there.
_UNREADABLE: Final = frozenset({"InvalidObjectState", "InvalidRequest"})


class _UnknownFieldError(ReceiverError):
    """The service does not know a field of the request."""


class BucketStore:
    """See `ArchiveStore`."""

    def __init__(self, receiver: ExportConfig) -> None:
        self._owner = f"export {receiver.name}"
        self._receiver = receiver
        self._bucket = receiver.bucket or Bucket("")
        url = receiver.endpoint
        # A service that knows no buckets in paths has the bucket in the name of the host.
        is_in_host = url.host.startswith(f"{self._bucket.name}.")
        self._base = url.path + ("/" if is_in_host else f"/{self._bucket.name}/")
        self._host = url.authority
        self._connection = ReceiverConnection(self._owner, url, receiver.tls)
        self._takes_conditions = True  # as far as this process knows

    async def list(self, folder: str) -> Listing:
        """See `ArchiveStore`."""
        prefix = self._bucket.prefix + folder
        query = {
            "list-type": "2",
            "prefix": prefix,
            "delimiter": "/",
            "encoding-type": "url",
        }
        folders: list[str] = []
        objects: list[StoredObject] = []
        while True:
            answer = await self._request("GET", "", "list its objects", query=query)
            page = _parsed(answer)
            names = (each.text or "" for each in page.iterfind("CommonPrefixes/Prefix"))
            folders += [unquote(name).removeprefix(prefix) for name in names]
            objects += _objects(page, prefix)
            if len(folders) + len(objects) > limits.archive_listed_max:
                raise ReceiverError(f"too many objects below {folder}")
            token = page.findtext("NextContinuationToken")
            if page.findtext("IsTruncated") != "true" or not token:
                return Listing(sorted(folders), sorted(objects), _time_of(answer))
            query = {**query, "continuation-token": token}

    async def put(self, name: str, data: bytes) -> None:
        """See `ArchiveStore`."""
        digest = md5(data, usedforsecurity=False).digest()
        fields = {
            "content-type": "application/octet-stream",
            "content-md5": b64encode(digest).decode(),
        }
        condition = {"if-none-match": "*"} if self._takes_conditions else {}
        try:
            await self._request("PUT", name, "put objects", body=data, fields=fields | condition)
        except _UnknownFieldError:
            if not condition:
                raise
            self._takes_conditions = False
            await self.put(name, data)

    async def get(self, name: str) -> bytes:
        """See `ArchiveStore`."""
        size = limits.archive_object_bytes_max
        # Anybody may have put an object of gigabytes there.
        fields = {"range": f"bytes=0-{size}"}
        answer = await self._request(
            "GET", name, "get its objects", fields=fields, answer_bytes_max=size + 1
        )
        if len(answer.body) > size:
            raise UnreadableObjectError(f"{name} is larger than an object of an archive")
        return answer.body

    async def delete(self, name: str) -> None:
        """See `ArchiveStore`."""
        await self._request("DELETE", name, "delete objects")

    async def close(self) -> None:
        """See `ArchiveStore`."""
        await self._connection.close()

    async def _request(
        self,
        method: str,
        name: str,
        action: str,
        *,
        query: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        body: bytes = b"",
        answer_bytes_max: int = limits.archive_page_bytes_max,
    ) -> ReceiverAnswer:
        """Return a good answer. `action` is what the request does, for an error."""
        receiver = self._receiver
        path = self._base + (self._bucket.prefix + name if name else "")
        try:
            keys = read_keys(self._owner, receiver.credentials or Path(os.devnull))
        except UnusableKeysError as error:
            raise ReceiverError(error.why, mend=error.mend) from error
        request = S3Request(method, self._host, path, query or {}, fields or {}, body)
        signed = signed_fields(request, keys, receiver.region, datetime.now(UTC))
        try:
            answer = await self._connection.request(
                method,
                request.target,
                [(key.encode("ascii"), value.encode("ascii")) for key, value in signed.items()],
                body,
                seconds=limits.archive_request_seconds,
                answer_bytes_max=answer_bytes_max,
            )
        except ReceiverError as error:
            why = f"cannot {action}: {error}"
            raise ReceiverError(why, error.retry_seconds, error.mend) from error
        if not 200 <= answer.status < 300:  # noqa: PLR2004
            raise _refusal(answer, action, is_object=method == "GET" and bool(name))
        return answer


def _refusal(answer: ReceiverAnswer, action: str, *, is_object: bool) -> ReceiverError:
    """Return the error of an answer, which shows its code and nothing else of it.

    `is_object`: somebody has asked for one object.
    """
    try:
        code = _parsed(answer).findtext("Code") or ""
    except ReceiverError:
        code = ""
    code = code if _CODE.fullmatch(code) else ""
    if answer.status == _MISSING and code == "NoSuchKey":
        return ObjectMissingError("the object is gone")
    if answer.status == _EXISTS:
        return ObjectExistsError("an object has this name")
    mend = _MENDS.get(code, "").format(action=action)
    text = f"cannot {action}: HTTP status {answer.status}" + (f" ({code})" if code else "")
    if is_object and (code in _UNREADABLE or answer.status == _EMPTY):
        return UnreadableObjectError(text, mend=mend)
    kind = ReceiverError
    if is_object and answer.status == _FORBIDDEN:
        kind = ObjectRefusedError
    elif answer.status == _UNKNOWN:
        kind = _UnknownFieldError
    return kind(text, answer.retry_seconds, mend)


def _parsed(answer: ReceiverAnswer) -> ET.Element:
    """Return the document of an answer, with names that have no name space."""
    try:
        # The body has a bound, and so has what expat makes of its entities.
        page = ET.fromstring(answer.body)  # noqa: S314
    except ET.ParseError as error:
        raise ReceiverError("its answer is not XML", mend="check `url`") from error
    for each in page.iter():
        each.tag = each.tag.rpartition("}")[2]
    return page


def _objects(page: ET.Element, prefix: str) -> Iterator[StoredObject]:
    for each in page.iterfind("Contents"):
        name = unquote(each.findtext("Key") or "").removeprefix(prefix)
        try:
            stored = datetime.fromisoformat(each.findtext("LastModified") or "")
        except ValueError as error:
            raise ReceiverError("its list has an object without a time") from error
        if name:  # some services repeat the folder itself as an object
            yield StoredObject(name, stored.timestamp())


def _time_of(answer: ReceiverAnswer) -> float:
    """Return the time of the service, or ours if it states none."""
    try:
        moment = parsedate_to_datetime(answer.field(b"date").decode("ascii", "replace"))
    except ValueError:
        moment = datetime.now(UTC)
    return moment.timestamp()
