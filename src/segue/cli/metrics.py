"""`segue metrics`."""

from __future__ import annotations

import asyncio
import signal
from socket import socket
from typing import Annotated

from cyclopts import Parameter

from segue.cli.connection import Context, Kubeconfig, Namespace
from segue.cli.output import note, say
from segue.host.certificates import Tls, credentials
from segue.host.client import KubeClient
from segue.host.metering import registration
from segue.host.metrics_server import Board, listen, serve, watching
from segue.host.state import state_dir
from segue.model.errors import UsageError


def metrics(  # noqa: PLR0913 - one parameter per option
    *,
    listen_at: Annotated[
        str, Parameter(name="--listen", metavar="HOST:PORT", help="Prometheus' text")
    ] = "127.0.0.1:9377",
    api_listen: Annotated[
        str, Parameter(metavar="HOST:PORT", help="the custom metrics API, over TLS; else it is not served")
    ] = "",
    register: Annotated[
        str, Parameter(metavar="HOST:PORT", help="print what makes a cluster ask there for custom metrics, and end")
    ] = "",
    all_namespaces: Annotated[bool, Parameter(name=["--all-namespaces", "-A"], help="pods of every namespace")] = False,
    outbound: Annotated[bool, Parameter(help="connections that the pods open count, too")] = False,
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
) -> int:
    """Serve active connections and arrivals of each pod, for Prometheus and for autoscalers.

    The numbers are those of segue traffic. An HPA of type Pods scales on segue_active_connections,
    segue_open_connections or segue_arrivals_per_second.

    Examples
    --------
    segue metrics -n shop                                    # http://127.0.0.1:9377/metrics
    segue metrics -A --api-listen 0.0.0.0:9378               # for autoscalers, too
    segue metrics --register 192.0.2.7:9378 | kubectl apply -f -
    """
    if register:
        _print_registration(register, namespace or "kube-system")
        return 0
    if all_namespaces and namespace:
        raise UsageError("--all-namespaces and --namespace contradict each other", remedy="say one of them")

    async def whole() -> None:
        async with KubeClient.find(kubeconfig, context) as client:
            where = "" if all_namespaces else namespace or client.namespace
            plain = listen(listen_at)
            doors: list[tuple[socket, Tls | None]] = [(plain, None)]
            note(f"http://{_shown(plain.getsockname())}/metrics")
            if api_listen:
                api = listen(api_listen)
                doors.append((api, credentials(state_dir("metrics")).tls))
                note(f"https://{_shown(api.getsockname())}/apis/custom.metrics.k8s.io/v1beta2")
            board = Board()
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
            await serve(client, board, watching(board, where, outgoing=outbound), doors)

    try:
        asyncio.run(whole())
    except asyncio.CancelledError as error:
        raise KeyboardInterrupt from error
    return 0


def _shown(name: tuple[str, int]) -> str:
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _print_registration(said: str, namespace: str) -> None:
    import yaml  # noqa: PLC0415 - only this needs it

    host, _, port = said.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"--register {said}: must be HOST:PORT", remedy="an address that the API server reaches")
    say(yaml.safe_dump_all(registration(namespace, host.strip("[]"), int(port)), sort_keys=False).rstrip())
