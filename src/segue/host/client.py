"""The door to any Kubernetes API: kubeconfig, credentials, HTTP with kept-alive connections, exec over WebSocket.

Rule 1: errors of libraries end here; what leaves is ours, with a remedy.
Rule 2: a request is repeated when its connection broke: every write of segue is guarded by a resourceVersion or makes
one object by name, so a repetition that had arrived already is refused and looked at again.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import ssl
import subprocess
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import httpx2 as httpx
import msgspec
import yaml
from lightkube.config.client_adapter import user_auth, verify_cluster
from lightkube.config.kubeconfig import SERVICE_ACCOUNT, KubeConfig, SingleConfig
from lightkube.core.exceptions import ConfigError

from segue import __version__
from segue.host.state import read_running, state_dir
from segue.model.errors import ClusterUnreachable, StatusError
from segue.model.http import ApiRequest, ApiResponse
from segue.model.objects import Obj

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

CONNECTIONS_MAX = 24
ANSWER_LIMIT_S = 20.0
EXEC_CLOSE_S = 0.5  # a pod that ends takes its commands along, and nobody answers any more
PATIENCE_S = 30.0  # with a server that has answered before and does not now: it may be restarting
EXEC_PROTOCOL = "v5.channel.k8s.io"
EXEC_VERSIONS = {f"client.authentication.k8s.io/{version}" for version in ("v1", "v1beta1", "v1alpha1")}
_STDIN, _STDOUT, _END = 0, 1, 3  # channels of the exec protocol
_MARKUP = re.compile(r"(?s)<(?:style|script|head)\b.*?</[^>]*>|<[^>]*>")
_WARNING = re.compile(r'299 \S+ "(.*)"')


def find_config(kubeconfig: str = "", context: str = "") -> SingleConfig:
    """Which cluster: --kubeconfig, $KUBECONFIG, a running embedded cluster, ~/.kube/config, the pod we run in."""
    named = kubeconfig or os.environ.get("KUBECONFIG", "")
    paths = [Path(part).expanduser() for part in named.split(os.pathsep) if part]
    if not paths:
        state = state_dir()
        paths = [state / "kubeconfig"] if read_running(state) else [Path("~/.kube/config").expanduser()]
    try:
        if not named and not paths[0].is_file():
            if Path(SERVICE_ACCOUNT, "token").is_file() and "KUBERNETES_SERVICE_HOST" in os.environ:
                found = KubeConfig.from_service_account().get()
                assert found is not None
                return found
            raise ClusterUnreachable(
                "no kubeconfig found: no --kubeconfig, no $KUBECONFIG, no ~/.kube/config, no embedded cluster runs",
                remedy="start an embedded cluster with segue up, or name a kubeconfig",
            )
        config = _merged(paths).get(context or None)
    except ConfigError as error:
        raise ClusterUnreachable(str(error), remedy="check --kubeconfig, --context and $KUBECONFIG") from error
    except (OSError, AttributeError, KeyError, TypeError, ValueError, yaml.YAMLError, msgspec.ValidationError) as error:
        names = ", ".join(str(path) for path in paths)
        raise ClusterUnreachable(
            f"{names} is no kubeconfig: {_in_one_line(error)}", remedy="kubectl config view shows what it should hold"
        ) from error
    assert config is not None
    return config


def _in_one_line(error: Exception) -> str:
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    if mark is not None and isinstance(error, yaml.MarkedYAMLError):
        return f"line {mark.line + 1}: {error.problem}"
    if isinstance(error, OSError):
        return str(error.strerror)
    if isinstance(error, AttributeError):
        return "it does not hold a mapping"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _merged(paths: list[Path]) -> KubeConfig:
    """Several files as kubectl merges them: the first that names a thing wins."""
    existing = [path for path in paths if path.exists()]
    if not existing:
        raise ConfigError(f"{', '.join(map(str, paths))}: no such file")
    if len(existing) == 1:
        return KubeConfig.from_file(existing[0])
    merged: Obj = {}
    for path in existing:
        raw = yaml.safe_load(path.read_text()) or {}
        for key in ("clusters", "contexts", "users"):
            known = {row["name"] for row in merged.setdefault(key, [])}
            merged[key] += [row for row in raw.get(key) or [] if row["name"] not in known]
        merged.setdefault("current-context", raw.get("current-context"))
    return KubeConfig.from_dict(merged, fname=existing[0])


class _ExecToken(httpx.Auth):
    """Credentials from a command of the kubeconfig (all three versions of its protocol)."""

    def __init__(self, config: SingleConfig) -> None:
        assert config.user is not None
        assert config.user.exec is not None
        self._exec = config.user.exec
        self._token = ""

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        self._token = self._token or self._fresh()
        request.headers["Authorization"] = f"Bearer {self._token}"
        response = yield request
        if response.status_code == 401:
            self._token = self._fresh()
            request.headers["Authorization"] = f"Bearer {self._token}"
            yield request

    def _fresh(self) -> str:
        version = self._exec.apiVersion
        info = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
        env = {**os.environ, "KUBERNETES_EXEC_INFO": json.dumps(info)}
        env.update((row.name, row.value) for row in self._exec.env or [])
        argv = [self._exec.command, *(self._exec.args or [])]
        try:
            done = subprocess.run(argv, env=env, capture_output=True, timeout=60, check=True)
            return str(json.loads(done.stdout)["status"]["token"])
        except FileNotFoundError as error:
            raise ClusterUnreachable(
                f"the kubeconfig's login command {argv[0]} is not installed",
                remedy="install it, or use another context",
            ) from error
        except subprocess.SubprocessError as error:
            said = getattr(error, "stderr", b"") or b""
            raise ClusterUnreachable(
                f"the kubeconfig's login command failed: {' '.join(argv)}: {said.decode(errors='replace')[-300:]}",
                remedy="run it by hand and log in",
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise ClusterUnreachable(
                f"the kubeconfig's login command gave no token: {' '.join(argv)}",
                remedy="it must print an ExecCredential",
            ) from error


class ExecPipe:
    """Input and output of a command in a container."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.said = ""  # what the cluster told about its end

    async def send(self, data: bytes) -> None:
        """To its standard input."""
        await self._socket.send(bytes([_STDIN]) + data)

    async def output(self) -> AsyncGenerator[bytes, None]:
        """What it prints, until it ends."""
        async for frame in self._socket:
            if isinstance(frame, bytes) and len(frame) > 1:
                if frame[0] == _STDOUT:
                    yield frame[1:]
                elif frame[0] == _END:
                    self.said = _said(frame[1:])


def _said(status: bytes) -> str:
    """The message of a command's end."""
    try:
        return str(msgspec.json.decode(status, type=dict[str, object]).get("message") or "")
    except msgspec.DecodeError:
        return status.decode(errors="replace")


class KubeClient:
    """One cluster. `namespace` is the context's."""

    def __init__(self, config: SingleConfig) -> None:
        self.config = config
        self.namespace = config.namespace
        self.server = str(config.cluster.server)
        self._answered = False
        try:
            self._tls = verify_cluster(config.cluster, config.user, config.abs_file)  # type: ignore[arg-type]  # FileStr is a str
            self._auth = _auth_of(config)
        except (ConfigError, OSError, ssl.SSLError, ValueError) as error:
            raise ClusterUnreachable(f"credentials cannot be read: {error}", remedy="check the kubeconfig") from error
        self._http = httpx.AsyncClient(
            base_url=self.server,
            verify=self._tls,
            auth=self._auth,
            timeout=httpx.Timeout(ANSWER_LIMIT_S, pool=None),
            limits=httpx.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=CONNECTIONS_MAX),
            headers={"User-Agent": f"segue/{__version__}"},
            trust_env=self.server.startswith("https://") and "127.0.0.1" not in self.server,
        )

    @classmethod
    def find(cls, kubeconfig: str = "", context: str = "") -> KubeClient:
        """A client for the cluster that the flags and the environment mean."""
        return cls(find_config(kubeconfig, context))

    async def __aenter__(self) -> KubeClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def request(self, request: ApiRequest) -> ApiResponse:
        """One call. Any answer of the server is a response; ClusterUnreachable where none comes."""
        end_s = time.monotonic() + (PATIENCE_S if self._answered else 0.0)
        pause_s = 0.1
        while True:
            try:
                answer = await self._http.request(
                    request.method,
                    quote(request.path) + (f"?{urlencode(request.query)}" if request.query else ""),
                    content=None if request.body is None else msgspec.json.encode(request.body),
                    headers={"Content-Type": request.content_type, "Accept": request.accept},
                )
            except httpx.HTTPError as error:
                if time.monotonic() >= end_s:
                    raise self._unreachable(error) from error
                await asyncio.sleep(pause_s)
                pause_s = min(2.0, 2 * pause_s)
                continue
            self._answered = True
            if answer.status_code in {429, 503} and time.monotonic() < end_s:
                await asyncio.sleep(min(5.0, float(answer.headers.get("Retry-After") or 1)))
                continue
            return ApiResponse(code=answer.status_code, body=_decoded(answer), warnings=_warnings(answer))

    async def stirrings(self, path: str) -> AsyncGenerator[None, None]:
        """One signal per moment at which the API tells of a change below a path (a watch), until the watch ends.

        What changed is not read: whoever hears it looks anew. StatusError where it may not be watched.
        """
        try:
            limits = httpx.Timeout(ANSWER_LIMIT_S, read=None, pool=None)
            async with self._http.stream("GET", f"{quote(path)}?watch=true", timeout=limits) as answer:
                if answer.status_code >= 400:
                    raise StatusError(answer.status_code, "", f"watching {path}: HTTP {answer.status_code}")
                yield None
                async for _ in answer.aiter_raw():
                    yield None
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    async def text(self, path: str, query: Mapping[str, str]) -> str:
        """An answer that is no JSON (a log), "" where there is none."""
        try:
            answer = await self._http.get(f"{quote(path)}?{urlencode(query)}")
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        return answer.text if answer.status_code == 200 else ""

    async def raw(self, path: str, *, limit_s: float) -> tuple[int, str]:
        """Status and text of what lies behind the API server's proxy; 0 and a word about why where nothing comes."""
        try:
            answer = await self._http.get(path, timeout=limit_s)
        except httpx.TimeoutException:
            return 0, f"no answer within {limit_s:g} s"
        except httpx.HTTPError as error:
            return 0, str(error) or type(error).__name__
        said = answer.text
        if answer.status_code >= 400 and '"Status"' in said:  # the API server's own word, not the app's
            said = str(_decoded(answer).get("message") or said)
        return answer.status_code, said

    def _unreachable(self, error: httpx.HTTPError) -> ClusterUnreachable:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, ssl.SSLError):
            cause = cause.__cause__ or cause.__context__
        if cause is not None or "CERTIFICATE_VERIFY" in str(error):
            return ClusterUnreachable(
                f"the certificate of {self.server} is not the one of the kubeconfig: {cause or error}",
                remedy="this may be another cluster than you think; fetch its kubeconfig anew",
            )
        said = str(error) or type(error).__name__
        return ClusterUnreachable(
            f"no API server answers at {self.server}: {said}",
            remedy="check that the cluster runs (segue cluster status, kubectl version) and which context is used",
        )

    @asynccontextmanager
    async def exec_session(
        self, namespace: str, pod: str, container: str, argv: Sequence[str]
    ) -> AsyncIterator[ExecPipe]:
        """A command in a container, its input and output open; ClusterUnreachable where it cannot be had or breaks."""
        query = [("container", container), ("stdin", "true"), ("stdout", "true"), *(("command", arg) for arg in argv)]
        path = f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}/exec?{urlencode(query)}"
        url = self.server.replace("http", "ws", 1).rstrip("/") + path
        from websockets.asyncio.client import connect  # noqa: PLC0415 - most commands never exec
        from websockets.exceptions import WebSocketException  # noqa: PLC0415

        try:
            async with connect(
                url,
                ssl=self._tls if url.startswith("wss") else None,
                subprotocols=[EXEC_PROTOCOL, "v4.channel.k8s.io"],  # type: ignore[list-item]  # Subprotocol is a NewType of str
                additional_headers=self._authorization(),
                open_timeout=ANSWER_LIMIT_S,
                close_timeout=EXEC_CLOSE_S,
                compression=None,
                max_size=None,
                proxy=None,
            ) as socket:
                yield ExecPipe(socket)
        except (OSError, WebSocketException, TimeoutError) as error:
            raise ClusterUnreachable(f"exec in pod {pod}: {error}") from error

    def _authorization(self) -> dict[str, str]:
        if self._auth is None:
            return {}
        request = httpx.Request("GET", self.server)
        flow = self._auth.sync_auth_flow(request)
        sent = next(flow)
        flow.close()
        value = sent.headers.get("Authorization")
        return {"Authorization": value} if value else {}


def _auth_of(config: SingleConfig) -> httpx.Auth | None:
    if config.user is not None and config.user.exec is not None:
        if config.user.exec.apiVersion not in EXEC_VERSIONS:
            raise ConfigError(f"exec credentials of version {config.user.exec.apiVersion} are unknown")
        return _ExecToken(config)
    return user_auth(config.user)


def _warnings(answer: httpx.Response) -> tuple[str, ...]:
    """The texts of `Warning: 299 - "TEXT"` headers."""
    found = (_WARNING.match(header) for header in answer.headers.get_list("Warning"))
    return tuple(re.sub(r"\\(.)", r"\1", match.group(1)) for match in found if match)


def _decoded(answer: httpx.Response) -> Obj:
    if not answer.content:
        return {}
    try:
        body = msgspec.json.decode(answer.content)
    except msgspec.DecodeError:
        body = None
    if isinstance(body, dict):
        return body
    text = " ".join(_MARKUP.sub(" ", answer.text[:2000]).split())[:200]  # a proxy's page, in one line
    if answer.status_code < 400:
        raise ClusterUnreachable(
            f"what answers at {answer.url.host} is no Kubernetes API: {text[:80]!r}",
            remedy="check the server address of the kubeconfig",
        )
    return {"kind": "Status", "code": answer.status_code, "message": text}
