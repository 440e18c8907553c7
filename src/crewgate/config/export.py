"""The tables [export.NAME]: the receivers to which the export process sends the audit."""

from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec

from crewgate import limits
from crewgate.config import values
from crewgate.config.bucket import BUCKET, Bucket
from crewgate.config.declaration import Key
from crewgate.config.secret_places import SecretFile
from crewgate.config.toml_table_reader import TOMLTableReader, ValueParser
from crewgate.config.upstream import CredentialConfig, UpstreamTLS
from crewgate.config.values import FilePath

ExportFormat = Literal["otlp", "syslog", "ocsf", "parquet"]
OTLPEncoding = Literal["json", "protobuf"]
OTLPSignal = Literal["traces", "logs"]

_WEB: Final = {"http": 80, "https": 443}
_PORTS: Final = {**_WEB, "udp": 514, "tcp": 514}  # RFC 5426, section 3.3; RFC 6587 names the same


class ReceiverURL(msgspec.Struct, frozen=True):
    """The place of a receiver in a network; `path` is empty or begins with a slash."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def is_web(self) -> bool:
        """Whether the receiver speaks HTTP."""
        return self.scheme in _WEB

    @property
    def authority(self) -> str:
        """The host and the port; the value of the Host field (RFC 9110, section 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def below(self, path: str) -> "ReceiverURL":
        """Return the place with `path`, which begins with a slash, after the path of this one."""
        return msgspec.structs.replace(self, path=self.path + path)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


def _receiver_url(value: object) -> ReceiverURL:
    text = values.string(value)
    parts = urlsplit(text)
    if parts.scheme not in _PORTS or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError
    path = parts.path.rstrip("/")
    is_plain = path.isascii() and path.isprintable() and " " not in path
    if not is_plain or (path and parts.scheme not in _WEB) or parts.port == 0:
        raise ValueError
    host = values.HOST_NAME.read(parts.hostname or "")
    return ReceiverURL(parts.scheme, host, parts.port or _PORTS[parts.scheme], path)


RECEIVER_URL = ValueParser(
    'a URL such as "http://127.0.0.1:4318", "https://logs.example/in", "udp://127.0.0.1:514" or '
    '"tcp://logs.example:514", without query or user',
    _receiver_url,
    spell=str,
)


class ExportConfig(msgspec.Struct, frozen=True):
    """One receiver: `url`, `socket`, `file`, `folder` or `bucket` says where it is.

    A bucket may have a `url` too, of the service that has it.
    """

    name: str
    format: Annotated[
        ExportFormat,
        "What the receiver reads: OpenTelemetry over HTTP, RFC 5424 messages, OCSF events, or an "
        "archive of Parquet files.",
    ]
    url: Annotated[
        ReceiverURL | None,
        RECEIVER_URL,
        "The receiver. For otlp, `/v1/traces` and `/v1/logs` follow; syslog takes udp or tcp. With "
        "`bucket`, the S3-compatible service.",
        Key(absent="with `bucket`, that of Amazon for `region`; else none"),
    ] = None
    socket: Annotated[
        FilePath | None, 'Unix datagram socket of a syslog receiver, such as "/dev/log".'
    ] = None
    file: Annotated[FilePath | None, "File to which OCSF events are appended, one on a line."] = (
        None
    )
    folder: Annotated[FilePath | None, "Folder of an archive in Parquet."] = None
    bucket: Annotated[
        Bucket | None, BUCKET, "Bucket of an archive in Parquet, and the beginning of its names."
    ] = None
    encoding: Annotated[
        OTLPEncoding, "Encoding of otlp. Protobuf needs the extra `otlp` of the package."
    ] = "json"
    signals: Annotated[
        tuple[OTLPSignal, ...],
        values.listed(values.word(OTLPSignal), 2, 1),
        "What otlp sends: a span for each call of a sampled trace, and a log record for each "
        "record of the audit.",
    ] = ("traces", "logs")
    credential: Annotated[
        CredentialConfig | None, "The credential that each HTTP request carries."
    ] = None
    tls: Annotated[
        UpstreamTLS, "Verification of an https receiver; chain and name are always verified."
    ] = UpstreamTLS()

    region: Annotated[str, values.REGION, "Region of the bucket, which is signed."] = "us-east-1"
    credentials: Annotated[
        SecretFile | None,
        "File with the keys of the bucket, as the tools of Amazon write it, below `[default]`. It "
        "is read for each request.",
    ] = None
    flush_seconds: Annotated[
        float,
        values.seconds(limits.archive_flush_seconds_max, limits.archive_flush_seconds_min),
        "Longest time until the archive gets a line of a file that a process still writes.",
    ] = limits.archive_flush_seconds
    keep_days: Annotated[
        int | None,
        values.integer(1, limits.archive_keep_days_max),
        "Days after which the process deletes its files from the archive.",
        Key(absent="it deletes none"),
    ] = None

    @property
    def place(self) -> str:
        """The receiver, in words for a log; no secret is in it."""
        if self.bucket is not None:
            return f"{self.bucket} at {self.endpoint.host}"
        return str(self.url or self.socket or self.file or self.folder)

    @property
    def endpoint(self) -> ReceiverURL:
        """The URL of the service of a bucket."""
        amazon = ReceiverURL("https", f"s3.{self.region}.amazonaws.com", _WEB["https"], "")
        return self.url or amazon

    @property
    def secret_file(self) -> Path | None:
        """The file with its credential, if there is one."""
        return self.credentials or (self.credential.file if self.credential else None)

    def check(self, section: TOMLTableReader) -> None:
        """Note a receiver in no place or in several, and keys that another format has."""
        places = [key for key in _ALL_PLACES if getattr(self, key) is not None]
        if self.bucket is not None and "url" in places:
            places.remove("url")
        if len(places) != 1 or places[0] not in _PLACES[self.format]:
            section.problem(f'a receiver of "{self.format}" needs {_WANTED[self.format]}')
        elif self.url is not None and self.url.is_web == (self.format == "syslog"):
            wanted = "udp or tcp" if self.format == "syslog" else "http or https"
            section.problem(f'the receiver of "{self.format}" needs {wanted}', "url")
        for key, owner in _OF_ONE_FORMAT.items():
            if key in section.given and self.format != owner:
                section.problem(f'has an effect only if format is "{owner}"; remove it', key)
        self._check_secrets(section)

    def _check_secrets(self, section: TOMLTableReader) -> None:
        """Note credentials that are missing or have no effect, and TLS without https."""
        if self.bucket is not None and self.credentials is None:
            section.problem("a bucket needs `credentials`, the file with its keys")
        for key in ("region", "credentials"):
            if key in section.given and self.bucket is None:
                section.problem("has an effect only with `bucket`; remove it", key)
        if self.credential is not None and self.bucket is not None:
            text = "has no effect with `bucket`; write its keys into the file `credentials`"
            section.problem(text, "credential")
        elif self.credential is not None and not (self.url is not None and self.url.is_web):
            section.problem("has an effect only over http and https; remove it", "credential")
        url = self.url if self.bucket is None else self.endpoint
        if "tls" in section.given and not (url and url.scheme == "https"):
            section.problem("no effect, because the URL is not https; remove it", "tls")


_ALL_PLACES: Final = ("url", "socket", "file", "folder", "bucket")
_OF_ONE_FORMAT: Final = {
    "encoding": "otlp",
    "signals": "otlp",
    "flush_seconds": "parquet",
    "keep_days": "parquet",
}
_PLACES: Final = {
    "otlp": ("url",),
    "syslog": ("url", "socket"),
    "ocsf": ("url", "file"),
    "parquet": ("folder", "bucket"),
}
_WANTED: Final = {
    "otlp": "`url`",
    "syslog": "either `url` or `socket`",
    "ocsf": "either `url` or `file`",
    "parquet": "either `folder` or `bucket`",
}
