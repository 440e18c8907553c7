"""The tables [export.NAME]: what a receiver needs, and what contradicts its format."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crewgate.config import CredentialConfig, ExportConfig, ReceiverURL, load
from crewgate.config.bucket import Bucket
from crewgate.config.restart_only import wants_restart
from crewgate.errors import ConfigurationError

_BUCKET = 'format = "parquet"\nbucket = "s3://abc"\ncredentials = "k"\n'
Write = Callable[[str], Path]


def test_every_key_arrives(write: Write, minimal: str, tmp_path: Path) -> None:
    """Several receivers, in the order of the file; a change needs no restart."""
    text = """
        [export.collector]
        format = "otlp"
        url = "https://otel.example/in/"
        encoding = "protobuf"
        signals = ["logs"]
        credential = { header = "authorization", prefix = "Bearer ", file = "token" }
        tls = { ca = "ca.pem" }
        [export.siem]
        format = "syslog"
        url = "udp://[::1]"
        [export.lake]
        format = "ocsf"
        file = "out.ocsf"
        [export.near]
        format = "parquet"
        folder = "archive"
        flush_seconds = 600
        keep_days = 400
        [export.far]
        format = "parquet"
        bucket = "s3://company-audit/a/b/"
        url = "https://s3.example"
        region = "eu-central-1"
        credentials = "s3.keys"
        tls = { ca = "ca.pem" }
    """
    config = load(write(minimal + text))
    collector, siem, lake, near, far = config.exports
    assert collector.url == ReceiverURL("https", "otel.example", 443, "/in")
    assert str(collector.url) == "https://otel.example/in"
    assert (collector.encoding, collector.signals) == ("protobuf", ("logs",))
    assert collector.credential == CredentialConfig("authorization", "Bearer ", tmp_path / "token")
    assert collector.tls.ca == tmp_path / "ca.pem"
    assert siem == ExportConfig("siem", "syslog", ReceiverURL("udp", "::1", 514, ""))
    assert lake == ExportConfig("lake", "ocsf", file=tmp_path / "out.ocsf")
    assert near == ExportConfig(
        "near", "parquet", folder=tmp_path / "archive", flush_seconds=600.0, keep_days=400
    )
    assert far.bucket == Bucket("company-audit", "a/b/")
    assert (far.region, far.credentials) == ("eu-central-1", tmp_path / "s3.keys")
    assert far.place == "s3://company-audit/a/b at s3.example"
    assert far.secret_file == tmp_path / "s3.keys"
    assert not list(wants_restart(load(write(minimal)), config))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('format = "otlp"', 'export.x: a receiver of "otlp" needs `url`'),
        ('format = "otlp"\nfile = "x"', 'export.x: a receiver of "otlp" needs `url`'),
        ('format = "syslog"\nurl = "udp://a"\nsocket = "x"', "needs either `url` or `socket`"),
        ('format = "otlp"\nurl = "udp://a"', 'export.x.url: the receiver of "otlp" needs http or'),
        ('format = "syslog"\nurl = "http://a"', "needs udp or tcp"),
        ('format = "ocsf"\nurl = "tcp://a"', "needs http or https"),
        ('format = "ocsf"\nfile = "x"\nencoding = "json"', "export.x.encoding: has an effect only"),
        ('format = "ocsf"\nfile = "x"\nsignals = ["logs"]', "export.x.signals: has an effect only"),
        ('format = "ocsf"\nfile = "x"\ntls = {}', "export.x.tls: no effect"),
        ('format = "otlp"\nurl = "http://u:p@a"', "expected a URL"),
        ('format = "otlp"\nurl = "http://a?b"', "expected a URL"),
        ('format = "otlp"\nurl = "http://a b"', "expected a URL"),
        ('format = "syslog"\nurl = "udp://a/b"', "expected a URL"),
        ('format = "otlp"\nurl = "http://a"\nsignals = []', "export.x.signals"),
        (
            'format = "syslog"\nurl = "udp://a"\ncredential = { header = "a", env = "B" }',
            "export.x.credential: has an effect only over http and https",
        ),
        (
            'format = "otlp"\nurl = "http://a"\ncredential = { header = "host", env = "B" }',
            'export.x.credential.header = "host": this field frames the message',
        ),
        ('format = "parquet"', 'a receiver of "parquet" needs either `folder` or `bucket`'),
        ('format = "parquet"\nfolder = "a"\nurl = "http://a"', "either `folder` or `bucket`"),
        ('format = "ocsf"\nfolder = "a"', 'a receiver of "ocsf" needs either `url` or `file`'),
        ('format = "parquet"\nbucket = "s3://abc"', "a bucket needs `credentials`"),
        ('format = "parquet"\nbucket = "abc"', "export.x.bucket"),
        ('format = "parquet"\nbucket = "s3://abc/../d"', "export.x.bucket"),
        ('format = "parquet"\nbucket = "s3://abc//d"', "export.x.bucket"),
        (
            'format = "parquet"\nfolder = "a"\ncredentials = "k"',
            "export.x.credentials: has an effect only with `bucket`",
        ),
        ('format = "parquet"\nfolder = "a"\nregion = "b"', "export.x.region: has an effect only"),
        (
            f'{_BUCKET}credential = {{ header = "a", env = "B" }}',
            "export.x.credential: has no effect with `bucket`",
        ),
        (f'{_BUCKET}url = "udp://a"', "needs http or https"),
        ('format = "parquet"\nfolder = "a"\nkeep_days = 0', "a whole number from 1 to"),
        ('format = "parquet"\nfolder = "a"\nflush_seconds = 1', "from 60 to 86400"),
        ('format = "otlp"\nurl = "http://a"\nkeep_days = 3', 'only if format is "parquet"'),
        (
            'format = "parquet"\nfolder = "a"\n[export.y]\nformat = "parquet"\nfolder = "./a/"',
            "export.y.folder: export.x has this folder too",
        ),
        ('format = "parquet"\nfolder = "state/audit"', "the gateway writes its audit there"),
        (
            'format = "ocsf"\nfile = "a/out"\n[export.y]\nformat = "ocsf"\nfile = "a/./b/../out"',
            "export.y.file: export.x appends to this file too",
        ),
    ],
)
def test_a_mistake_is_named(write: Write, minimal: str, text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as found:
        load(write(f"{minimal}[export.x]\n{text}\n"))
    assert problem in str(found.value)


@pytest.mark.parametrize(("sample", "is_good"), [("0", True), ("0.25", True), ("1.01", False)])
def test_the_share_of_sampled_calls(write: Write, minimal: str, sample: str, is_good: bool) -> None:
    path = write(f"{minimal}[traces]\nsample = {sample}\n")
    if is_good:
        assert load(path).traces.sample == float(sample)
    else:
        with pytest.raises(ConfigurationError, match="a share from 0 to 1"):
            load(path)
