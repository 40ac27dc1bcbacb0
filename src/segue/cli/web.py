"""`segue web`."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import signal
import sys
from typing import Annotated

from cyclopts import Parameter

from segue.cli.connection import Context, Kubeconfig, Namespace, WorkloadName
from segue.cli.output import note, say
from segue.cli.page_beside import ITSELF
from segue.host.client import KubeClient
from segue.host.metrics_server import listen
from segue.host.web.board import Board
from segue.host.web.commands import Commands
from segue.host.web.door import Door
from segue.host.web.server import LivePage, serve_page
from segue.host.web.watching import Watcher


def web(  # noqa: PLR0913 - one parameter per option
    deployment: WorkloadName,
    /,
    *,
    listen_at: Annotated[
        str, Parameter(name="--listen", metavar="HOST:PORT", help="port 0: any free one")
    ] = "127.0.0.1:0",
    name: Annotated[
        tuple[str, ...],
        Parameter(metavar="HOST", help="a name that the page may be opened by; repeat it", show_default=False),
    ] = (),
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
) -> int:
    """Show a workload and its releases live in a browser, with buttons that do what the commands do.

    The address that is printed has a token: whoever has it sees the page and may press its buttons.

    Examples
    --------
    segue web web
    segue web web --listen 127.0.0.1:9379
    segue web statefulset/db -n shop
    """

    async def whole() -> None:
        async with KubeClient.find(kubeconfig, context) as client:
            where = namespace or client.namespace
            board = Board(parts={"commands": []})
            watcher = Watcher(client=client, namespace=where, said=deployment, board=board)
            await watcher.begin()
            listener = listen(listen_at)
            host, port = listener.getsockname()[:2]
            door = Door(
                token=secrets.token_urlsafe(24),
                form_token=secrets.token_urlsafe(24),
                cookie=f"segue-{port}",
                names=frozenset({"localhost", *(one.lower() for one in name)}),
            )
            options = [("--namespace", where), ("--kubeconfig", kubeconfig), ("--context", context)]
            operands = [deployment, *(word for option, value in options if value for word in (option, value))]
            commands = Commands(board, ITSELF, operands)
            shown = f"[{host}]" if ":" in host else host
            if not ipaddress.ip_address(host).is_loopback:
                note("warning: this is plain HTTP: whoever reads it on its way can press the buttons, too")
            say(f"http://{shown}:{port}/?token={door.token}")
            sys.stdout.flush()  # also into a pipe: somebody waits for it
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(watcher.run())
                    group.create_task(serve_page(LivePage(door=door, board=board, commands=commands), listener))
            finally:
                await commands.close()

    try:
        asyncio.run(whole())
    except asyncio.CancelledError as error:
        raise KeyboardInterrupt from error
    return 0
