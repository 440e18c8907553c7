"""An S3 service on loopback (Moto), which checks signatures and permissions as Amazon does."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.s3.responses import S3Response
from moto.server import ThreadedMotoServer

from crewgate.config import ExportConfig, ReceiverURL
from crewgate.config.bucket import Bucket

BUCKET = "company-audit"
_ALL = ("s3:PutObject", "s3:ListBucket", "s3:DeleteObject", "s3:GetObject")


class S3Server:
    """The service, a bucket in it, and `client`, which may do all."""

    def __init__(self) -> None:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        _, self.port = self._server.get_host_and_port()
        self.url = f"http://127.0.0.1:{self.port}"
        root = {"aws_access_key_id": "root", "aws_secret_access_key": "root"}
        place = {"endpoint_url": self.url, "region_name": "us-east-1"}
        self.client: Any = boto3.client("s3", **place, **root)
        self._iam: Any = boto3.client("iam", **place, **root)

    def stop(self) -> None:
        self._server.stop()

    def reset(self) -> None:
        """Empty the service, and check nothing."""
        self.check_requests(is_checked=False)
        httpx.post(f"{self.url}/moto-api/reset", trust_env=False)
        self.client.create_bucket(Bucket=BUCKET)

    def check_requests(self, *, is_checked: bool) -> None:
        """Refuse requests without a good signature or a permission, or take all."""
        count = "0" if is_checked else "inf"
        httpx.post(f"{self.url}/moto-api/reset-auth", content=count, trust_env=False)

    @contextmanager
    def without_conditions(self) -> Iterator[None]:
        """Be a service that ignores `If-None-Match`, as older ones do."""
        with pytest.MonkeyPatch.context() as patch:
            put = S3Response._key_response_put

            def ignorant(self: S3Response, *arguments: Any) -> Any:
                self.headers = {**self.headers, "If-None-Match": None}
                return put(self, *arguments)

            patch.setattr(S3Response, "_key_response_put", ignorant)
            yield

    def keys(self, file: Path, actions: Iterable[str] = _ALL) -> Path:
        """Write the keys of a new user who may do these actions."""
        name = file.name.replace(".", "-")
        self._iam.create_user(UserName=name)
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self._iam.put_user_policy(UserName=name, PolicyName="audit", PolicyDocument=document)
        made = self._iam.create_access_key(UserName=name)["AccessKey"]
        return write_keys(file, made["AccessKeyId"], made["SecretAccessKey"])

    def fill(self, *names: str) -> None:
        """Put empty objects into the bucket."""
        backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        for name in names:
            backend.put_object(BUCKET, name, b"")

    def names(self) -> list[str]:
        """Return the names in the bucket."""
        found = self.client.list_objects_v2(Bucket=BUCKET)
        return [each["Key"] for each in found.get("Contents", [])]

    def receiver(self, keys: Path, bucket: str = BUCKET, **more: Any) -> ExportConfig:
        """Return the table of an archive in the bucket."""
        url = ReceiverURL("http", "127.0.0.1", self.port, "")
        return ExportConfig(
            "archive", "parquet", url, bucket=Bucket(bucket, "crewgate/"), credentials=keys, **more
        )


def write_keys(file: Path, key: str, secret: str) -> Path:
    """Write a file with keys, as the tools of Amazon do."""
    file.write_text(
        f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n", "utf-8"
    )
    return file
