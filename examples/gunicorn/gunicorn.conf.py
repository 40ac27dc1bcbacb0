"""gunicorn as in the question: one worker with four threads. With LEAVE=1 it leaves traffic before it restarts."""

import os
from pathlib import Path

bind = f"{os.environ.get('POD_IP') or '0.0.0.0'}:8080"
worker_class = os.environ.get("WORKER_CLASS", "gthread")
workers = int(os.environ.get("WORKERS", "1"))
threads = int(os.environ.get("THREADS", "4"))
backlog = 2048
graceful_timeout = int(os.environ.get("GRACEFUL_S", "30"))  # gunicorn waits for dead threads, too
control_socket_disable = True

if os.environ.get("LEAVE") == "1":
    from segue.app.gunicorn import Rules, hooks

    # told: the readinessProbe's failureThreshold
    globals().update(hooks(8081, Rules(dead_threads=2, stuck_s=20, told=2)))
elif os.environ.get("THREAD_LOG"):

    def on_starting(server):
        """The log of an earlier run would count its dead threads again."""
        Path(os.environ["THREAD_LOG"]).write_text("")
