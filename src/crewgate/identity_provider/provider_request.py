"""Sends one request to a provider over https: bounded in time and size, without redirects.

It uses no proxy and no cookie. The bounds of a socket do not bound a server that sends a byte now
and then. So a thread of its own sends the request, and the caller waits for it for a limited time.
"""

import json
import re
import ssl
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

from crewgate import limits
from crewgate.core.terminal_text import printable
from crewgate.errors import (
    ConfigurationError,
    ServiceConnectionError,
    UntrustedCertificateError,
)

_GOOD = 200
_ERROR_CODE = re.compile(r"[a-z_]{1,64}", re.ASCII)
_CAUSE_CHARS_MAX = 200
# X509_V_ERR_* of openssl-verify(1): the issuer is not known, or a certificate is self-signed.
_UNKNOWN_AUTHORITY = frozenset({2, 18, 19, 20, 21})
_NAME_ROOT = "if an authority of your own signed it, name its root in `ca`"


def provider_context(root: Path | None) -> ssl.SSLContext:
    """Return the TLS context that verifies a provider by these roots (PEM), or by the system's.

    Raises:
        ConfigurationError: The file cannot be used; the message names it.
    """
    try:
        context = ssl.create_default_context(cafile=root)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(
            f"{root}: cannot read root certificates ({error.strerror or error}); name a PEM file"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class ProviderRequest:
    """A request to `url` in a thread of its own, which begins at once.

    It is a GET, or a POST of a `form`; `basic` has a user and a password. `what` names the answer
    in errors.
    """

    def __init__(
        self,
        url: str,
        context: ssl.SSLContext,
        *,
        what: str = "the keys",
        form: Mapping[str, str] | None = None,
        basic: tuple[str, str] | None = None,
    ) -> None:
        self._url = url
        self._context = context
        self._what = what
        self._bytes_max = limits.provider_answer_bytes_max
        self._seconds = limits.provider_seconds_max
        self._form = form
        self._basic = basic
        self._until = time.monotonic() + self._seconds
        self._data: bytes | None = None
        self._why = f"no answer within {self._seconds:g} s"
        self._is_untrusted = False
        # A daemon, so that a program can end while a provider hangs.
        self._thread = threading.Thread(target=self._run, name="crewgate-provider", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether the thread still waits for the server, perhaps after its time."""
        return self._thread.is_alive()

    def result(self) -> bytes:
        """Wait for the rest of the time, and return the body.

        Raises:
            ServiceConnectionError: There is no good answer; the message has nothing of it but the
                error code of a token endpoint.
            UntrustedCertificateError: No known authority has signed the server's certificate.
        """
        self._thread.join(max(0.0, self._until - time.monotonic()))
        data = self._data
        if data is None:
            text = f"{self._url}: {self._why}"
            if self._is_untrusted:
                raise UntrustedCertificateError(f"{text}; {_NAME_ROOT}")
            raise ServiceConnectionError(text)
        return data

    def _run(self) -> None:
        try:
            self._data = self._body()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            cause = printable(str(error))[:_CAUSE_CHARS_MAX] or type(error).__name__
            self._is_untrusted = _is_untrusted(error)
            self._why = f"cannot get {self._what}: {cause}"
        except ServiceConnectionError as error:
            self._why = str(error)

    def _body(self) -> bytes:
        # An encoded body could be a thousand times as long as its bytes.
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        method = "GET" if self._form is None else "POST"
        with (
            httpx.Client(verify=self._context, timeout=self._seconds, trust_env=False) as client,
            client.stream(
                method, self._url, headers=headers, data=self._form, auth=self._basic
            ) as response,
        ):
            is_good = response.status_code == _GOOD
            if not is_good and self._form is None:
                raise ServiceConnectionError(f"the answer has status {response.status_code}")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise ServiceConnectionError(
                    "the answer is compressed, although the request forbids that"
                )
            body = b""
            for part in response.iter_raw():
                body += part
                if len(body) > self._bytes_max:
                    raise ServiceConnectionError(
                        f"the answer has more than {self._bytes_max} bytes"
                    )
                if time.monotonic() > self._until:
                    raise ServiceConnectionError(self._why)
            if not is_good:
                raise ServiceConnectionError(
                    f"the answer has status {response.status_code}{_oauth_error(body)}"
                )
            return body


def _is_untrusted(error: BaseException | None) -> bool:
    """Return whether the cause is a certificate that no known authority has signed."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_code in _UNKNOWN_AUTHORITY
        error = error.__cause__ or error.__context__
    return False


def _oauth_error(body: bytes) -> str:
    """Return the error code of a token endpoint, which says what to mend (RFC 6749, 5.2)."""
    try:
        code = json.loads(body)["error"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
    is_code = isinstance(code, str) and _ERROR_CODE.fullmatch(code)
    return f" ({code})" if is_code else ""
