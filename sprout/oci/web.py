"""HTTP to one registry: authentication by the library oras, everything else within our bounds.

oras finds credentials (docker config, credential helpers) and gets tokens. What it leaves to chance
is here: time limits, redirects that stay in their scheme, sizes, and when to try again.
"""

from __future__ import annotations

import random
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urljoin, urlsplit

import oras.logger
import oras.provider
import requests
import requests.utils
from oras.auth import get_auth_backend
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, LocationParseError

from sprout.base.errors import SproutError
from sprout.oci.connections import Connections
from sprout.oci.credentials import docker_credentials
from sprout.oci.names import Reference
from sprout.oci.refused import malformed

_MAX_REDIRECTS = 5
_MAX_PAUSE_S = 30.0
_MAX_ERROR_BYTES = 4096
_MAX_TOKEN_BYTES = 64 << 10
_MAX_CHALLENGE = 4096
_PIECE = 1 << 18
_SLOW = "it sends next to nothing"
_AGAIN = (408, 429, 500, 502, 503, 504)
_BROKEN = (
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
    requests.exceptions.ChunkedEncodingError,
)


class Body(Protocol):
    """What a request sends, read in pieces."""

    def __iter__(self) -> Iterator[bytes]:
        """Give the pieces."""

    def close(self) -> None:
        """Give back what it holds."""


@dataclass(frozen=True)
class Access:
    """How a registry is spoken to.

    `insecure` means plain HTTP; `authority` is a file with the certificates of those who may vouch
    for the registry; `timeout` is how many seconds it may be silent, and half of those that it may
    take for all that comes before a body; `attempts` how often one request is made before it counts
    as failed; `config` is docker's config.json.
    """

    insecure: bool = False
    authority: Path | None = None
    timeout: float = 30.0
    attempts: int = 5
    config: Path | None = None


class _Adapter(HTTPAdapter):
    """Gives every request a time limit, and writes in large pieces."""

    def __init__(self, timeout: float, connections: Connections) -> None:
        self._timeout = timeout
        self._connections = connections
        super().__init__(pool_maxsize=16)

    def init_poolmanager(self, *words: Any, **more: Any) -> None:  # noqa: ANN401 - as requests has it
        super().init_poolmanager(*words, **more, blocksize=1 << 20)
        self.poolmanager.pool_classes_by_scheme = self._connections.pools()

    def proxy_manager_for(self, *words: Any, **more: Any) -> Any:  # noqa: ANN401 - as requests has it
        manager = super().proxy_manager_for(*words, **more)
        manager.pool_classes_by_scheme = self._connections.pools()
        return manager

    def send(self, request: Any, *words: Any, **more: Any) -> requests.Response:  # noqa: ANN401
        more["timeout"] = self._timeout
        # What this library itself wants to read whole is read here, within bounds: what a token's
        # server says. Of a redirect nothing is read.
        whole, more["stream"] = not more.get("stream", False), True
        answer = super().send(request, *words, **more)
        if answer.is_redirect or answer.is_permanent_redirect:
            answer.close()
            _keep(answer, b"")
        elif whole:
            _keep(answer, read_body(answer, _MAX_TOKEN_BYTES, urlsplit(request.url).netloc))
        return answer


def _keep(answer: requests.Response, body: bytes) -> None:
    """Make `body` what the library takes for the body of an answer that was read."""
    answer._content = body
    answer._content_consumed = True


class _Refusing(HTTPAdapter):
    """Takes the place of a scheme that a redirect or a token server must not lead to."""

    def send(self, request: Any, *words: Any, **more: Any) -> requests.Response:  # noqa: ANN401
        where = urlsplit(request.url)
        raise malformed(where.netloc, f"leads to another scheme, {where.scheme}")


class Web:
    """Requests to one registry, from several threads."""

    def __init__(self, reference: Reference, access: Access) -> None:
        """Prepare them; nothing is sent yet. Raises SproutError when credentials are malformed."""
        oras.logger.setup_logger(quiet=True)
        self.access = access
        scheme, other = ("http", "https") if access.insecure else ("https", "http")
        self.base = f"{scheme}://{reference.registry}/v2/{reference.repository}/"
        self._where = reference.registry
        verify = True if access.insecure else _authorities(access.authority)
        self._client = oras.provider.Registry(
            reference.registry, insecure=access.insecure, tls_verify=verify
        )
        session = self._client.session
        session.trust_env = False  # .netrc is no place for a registry's credentials
        session.proxies = requests.utils.get_environ_proxies(self.base)
        session.max_redirects = _MAX_REDIRECTS
        session.headers["Accept-Encoding"] = "identity"
        self._connections = Connections(access.timeout * 2)
        session.mount(f"{scheme}://", _Adapter(access.timeout, self._connections))
        session.mount(f"{other}://", _Refusing())
        self._verify = verify
        self._lock = threading.Lock()
        self._header: dict[str, str] = {}
        basic = get_auth_backend("basic", session, access.insecure, tls_verify=verify)
        self._backends = {"bearer": self._client.auth, "basic": basic}
        self._load_credentials(reference)

    def _load_credentials(self, reference: Reference) -> None:
        config = self.access.config
        if config is None:
            return
        found = docker_credentials(config)
        for backend in self._backends.values():
            # What it would read by itself is more than one file, in no order.
            backend._auth_config = found
            try:
                backend.load_configs(self._client.get_container(reference.name))
            except Exception as error:  # whatever the library stumbles over
                raise SproutError(
                    f"{config}: its credentials cannot be read: {error}",
                    f"Mend it, or log in again: docker login {reference.registry}.",
                ) from error

    def abort(self) -> None:
        """End all requests that run, in whichever thread, and let none begin."""
        self._connections.abort()

    @contextmanager
    def ask(
        self,
        method: str,
        path: str,
        *,
        wanted: tuple[int, ...],
        headers: Mapping[str, str] | None = None,
        body: Callable[[], Body] | bytes | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Iterator[requests.Response]:
        """Make one request, again where that may help, and give the answer, its body unread.

        `path` is below the repository, or a whole URL that the registry gave. Raises SproutError
        when the answer is none of the statuses `wanted`, RefusedError for a bad redirect.
        """
        url = urljoin(self.base, path)
        for attempt in range(1, self.access.attempts + 1):
            last = attempt == self.access.attempts
            pause = _pause(attempt)
            try:
                answer = self._send(method, url, headers, body, params)
            except requests.exceptions.SSLError as error:
                problem = f"its certificate is not accepted: {_cause(error)}"
                raise self._error(url, problem) from error
            except requests.exceptions.TooManyRedirects as error:
                problem = f"redirects more than {_MAX_REDIRECTS} times"
                raise malformed(self._where, problem) from error
            except _BROKEN as error:
                if last:
                    raise self._error(url, f"no answer: {_cause(error)}") from error
            except requests.exceptions.RequestException as error:
                raise self._error(url, f"the request failed: {_cause(error)}") from error
            else:
                with closing(answer):
                    if answer.status_code in wanted:
                        yield answer
                        return
                    if last or answer.status_code not in _AGAIN:
                        raise self._error(url, _said(answer), answer.status_code)
                    pause = _pause(attempt, answer.headers.get("Retry-After"))
            self._rest(pause, url)

    def rest(self, failures: int, url: str) -> None:
        """Wait before something is asked for again; raises SproutError after an abort."""
        self._rest(_pause(failures), url)

    def _rest(self, seconds: float, url: str) -> None:
        self._connections.wait(seconds)
        if self._connections.aborted:
            raise self._error(url, "the request was broken off")

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        body: Callable[[], Body] | bytes | None,
        params: Mapping[str, str] | None,
    ) -> requests.Response:
        # Credentials go to the registry alone, wherever it wants an upload to be sent.
        own = self._is_own(url)
        for again in (False, True):
            sent = {**(headers or {}), **(self._header if own else {})}
            stream = body() if callable(body) else body
            try:
                answer: requests.Response = self._client.session.request(
                    method,
                    url,
                    headers=sent,
                    data=stream,
                    params=params,
                    stream=True,
                    verify=self._verify,
                )
            except requests.exceptions.RequestException:
                raise
            except (ValueError, LocationParseError) as error:
                raise malformed(self._where, "leads to what is no address") from error
            finally:
                if callable(body) and stream is not None:
                    stream.close()  # type: ignore[union-attr]
            # After a redirect somebody else may ask for them.
            refused = answer.status_code == 401 and self._is_own(answer.url)
            if again or not refused or not self._authenticate(answer, sent):
                return answer
            answer.close()
        raise AssertionError

    def _is_own(self, url: str) -> bool:
        """Tell whether an address is the registry's own: its scheme, host and port."""
        return urlsplit(url)[:2] == urlsplit(self.base)[:2]

    def _authenticate(self, answer: requests.Response, sent: Mapping[str, str]) -> bool:
        """Get what the registry wants to see; False when there is nothing new to show it."""
        with self._lock:
            if self._header.get("Authorization") != sent.get("Authorization"):
                return True  # another thread did meanwhile
            challenge = answer.headers.get("WWW-Authenticate", "")
            if len(challenge) > _MAX_CHALLENGE:  # the library's reading of it is quadratic
                raise malformed(self._where, "its way to log in is not understood")
            backend = self._backends.get(challenge.partition(" ")[0].lower())
            if backend is None or (
                backend is self._backends["basic"] and not getattr(backend, "_basic_auth", None)
            ):
                return False
            try:
                headers, changed = backend.authenticate_request(answer, {}, refresh=True)
            except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
                raise malformed(self._where, "its way to log in is not understood") from error
            self._header = {name: str(value) for name, value in headers.items()}
            return bool(changed) and self._header.get("Authorization") != sent.get("Authorization")

    def _error(self, url: str, problem: str, status: int = 0) -> SproutError:
        hints = {
            401: f"Log in with an account that may do this: docker login {self._where}.",
            403: f"Log in with an account that may do this: docker login {self._where}.",
            404: "Check the repository, the tag or the digest.",
        }
        hint = hints.get(status, "Check the registry's name and the network, and try again.")
        if "certificate" in problem:
            hint = "Name the certificate of the registry's authority with --ca FILE."
        if "WRONG_VERSION_NUMBER" in problem:
            hint = "It may speak plain HTTP: --insecure."
        path = urlsplit(url).path.removeprefix("/v2/")
        return SproutError(f"{self._where}: {path}: {problem}", hint)


def read_body(answer: requests.Response, limit: int, where: str) -> bytes:
    """Read an answer of at most `limit` bytes; raises RefusedError when it is longer."""
    declared = answer.headers.get("Content-Length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:18]) > limit:
        raise malformed(where, f"the answer is longer than {limit:,} bytes")
    data = b"".join(pieces(answer, limit + 1))
    if len(data) > limit:
        raise malformed(where, f"the answer is longer than {limit:,} bytes")
    return data


def pieces(answer: requests.Response, limit: int) -> Iterator[bytes]:
    """Give an answer's body in pieces as they come, `limit` bytes of it at most.

    Raises requests' ConnectionError when it breaks off, falls silent, or trickles.
    """
    left, pace = limit, getattr(answer.raw, "pace", None)
    with pace or nullcontext():
        while left > 0:
            try:
                with pace.waiting() if pace else nullcontext(_nobody) as count:
                    piece = answer.raw.read1(_PIECE, decode_content=False)
                    count(len(piece))
            except (HTTPError, OSError) as error:
                words = _SLOW if pace is not None and pace.ended else _cause(error)
                raise requests.exceptions.ConnectionError(words) from error
            if pace is not None and pace.ended:  # what follows the last chunk may end early
                raise requests.exceptions.ConnectionError(_SLOW)
            if not piece:
                return
            left -= len(piece)
            yield piece if left >= 0 else piece[:left]


def _nobody(_: int) -> None:
    """Count for nobody: the answer came on no connection of ours."""


def _authorities(file: Path | None) -> str:
    """Give the file with the certificates that are trusted: the one named, else the system's."""
    if file is not None:
        if not file.is_file():
            raise SproutError(f"{file}: is no file", "Name a file with certificates in PEM.")
        return str(file)
    return ssl.get_default_verify_paths().cafile or requests.utils.DEFAULT_CA_BUNDLE_PATH


def _pause(attempt: int, retry_after: str | None = None) -> float:
    """Give the seconds to wait after a failed attempt: what the registry says, else back-off."""
    if retry_after is not None:
        if retry_after.isascii() and retry_after.isdigit():
            return min(float(retry_after[:6]), _MAX_PAUSE_S)
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            seconds = 0.0
        return min(max(seconds, 0.0), _MAX_PAUSE_S)
    return float(min(0.2 * 2.0**attempt, _MAX_PAUSE_S) * random.uniform(0.5, 1.0))  # noqa: S311


def _said(answer: requests.Response) -> str:
    """Give an error answer's status, and what the registry says in it (distribution-spec)."""
    try:
        text = b"".join(pieces(answer, _MAX_ERROR_BYTES)).decode("utf-8", "replace")
    except requests.exceptions.RequestException:
        text = ""
    found = text.partition('"message":"')[2].partition('"')[0]
    return f"answered {answer.status_code} {answer.reason or ''} {found[:200]}".strip()


def _cause(error: BaseException) -> str:
    """Give the innermost reason of one of requests' errors, in a few words."""
    inner: BaseException = error
    while True:
        deeper = getattr(inner, "reason", None) or next(
            (word for word in inner.args if isinstance(word, BaseException)), None
        )
        if not isinstance(deeper, BaseException) or deeper is inner:
            break
        inner = deeper
    return str(inner).rpartition(">: ")[2][:200] or type(inner).__name__
