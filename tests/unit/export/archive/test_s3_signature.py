"""The signature of a request is the one that Amazon's own library makes."""

import random
import string
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from crewgate.export.archive.s3_signature import S3Keys, S3Request, signed_fields

CHARS = string.ascii_letters + string.digits + "-._~/=%+ ä*'()!"


def botocores(request: S3Request, keys: S3Keys, region: str, moment: datetime) -> str:
    url = f"http://{request.host}{request.target}"
    made = AWSRequest(request.method, url, dict(request.fields), request.body)
    made.headers["host"] = request.host
    credentials = Credentials(keys.key_id, keys.secret_key, keys.session_token or None)
    signer = S3SigV4Auth(credentials, "s3", region)
    made.context["timestamp"] = f"{moment:%Y%m%dT%H%M%SZ}"
    made.context["payload_signing_enabled"] = True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.auth.get_current_datetime", lambda *_, **__: moment)
        signer.add_auth(made)
    return str(made.headers["authorization"])


def test_random_requests_have_the_signature_of_botocore() -> None:
    chosen = random.Random(1)

    def text(size: int) -> str:
        return "".join(chosen.choices(CHARS, k=size))

    for _ in range(300):
        query = {text(4): text(9) for _ in range(chosen.randrange(3))}
        request = S3Request(
            chosen.choice(["GET", "PUT", "DELETE"]),
            chosen.choice(["s3.eu-central-1.amazonaws.com", "127.0.0.1:9000"]),
            "/" + text(30).lstrip("/"),
            query,
            {"content-md5": "abc=", "content-type": "a  b"} if chosen.random() < 0.5 else {},
            chosen.randbytes(20),
        )
        token = text(20).replace(" ", "") if chosen.random() < 0.5 else ""
        keys = S3Keys("AKIAX", text(40), token.encode("ascii", "ignore").decode())
        moment = datetime(2026, 12, chosen.randrange(1, 28), chosen.randrange(24), tzinfo=UTC)
        ours = signed_fields(request, keys, "eu-central-1", moment)
        assert ours["authorization"] == botocores(request, keys, "eu-central-1", moment), urlencode(
            query
        )


def test_the_text_of_keys_does_not_show_the_secret() -> None:
    assert "s3cret" not in repr(S3Keys("AKIAX", "s3cret", "s3cret"))
