"""Make the docs' pictures of the live page: a release on an embedded cluster under a load, seen by a real Chromium.

Needs Debian's chromium. Usage: python -m tools.make_live_page_pictures
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from playwright.sync_api import expect

from segue.host import embedded
from segue.host.settings import ClusterSettings
from tests.live.console import BIN
from tests.live.live_page import chromium, serving

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "docs" / "how-to" / "pictures"
QUICK = ROOT / "examples" / "quick"
LIMIT_MS = 60_000


def main() -> None:
    """Release under load; one picture while old pods drain, one on a phone in the dark."""
    with tempfile.TemporaryDirectory() as home:
        state = Path(home) / "default"
        embedded.start(state, ClusterSettings())
        env = {**os.environ, "SEGUE_HOME": home, "KUBECONFIG": str(state / "kubeconfig")}
        try:
            _kubectl(env, "apply", "-f", str(QUICK / "web.yaml"))
            _kubectl(env, "rollout", "status", "deployment/web")
            port = _kubectl(env, "get", "service", "web", "-o", "jsonpath={.spec.ports[0].nodePort}")
            with serving("web", env) as url:
                _take(url, f"http://127.0.0.1:{port}", env)
        finally:
            embedded.stop(state)


def _kubectl(env: dict[str, str], *argv: str) -> str:
    return subprocess.run([str(BIN / "kubectl"), *argv], env=env, check=True, text=True, stdout=subprocess.PIPE).stdout


def _take(url: str, target: str, env: dict[str, str]) -> None:
    quiet = {"env": env, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    load = [str(BIN / "segue"), "load", f"{target}/fast", "--rate", "60", "--mixed", "--keep-alive", "12"]
    slow = [str(BIN / "segue"), "load", f"{target}/slow", "--rate", "3"]
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1040, "height": 1080}, device_scale_factor=1)
        page.goto(url)
        loads = [subprocess.Popen([*argv, "--for", "60s"], **quiet) for argv in (load, slow)]  # type: ignore[call-overload]  # one set of options for both
        page.wait_for_timeout(12_000)
        release = subprocess.Popen([str(BIN / "segue"), "release", "-f", str(QUICK / "web-v2.yaml")], **quiet)  # type: ignore[call-overload]  # as above
        expect(page.locator(".draining")).to_have_count(3, timeout=LIMIT_MS)
        page.wait_for_timeout(1800)
        TARGET.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=TARGET / "live-page.png", full_page=False)
        page.emulate_media(color_scheme="dark")
        page.set_viewport_size({"width": 390, "height": 844})
        page.screenshot(path=TARGET / "live-page-phone.png")
        release.wait()
        for one in loads:
            one.terminate()
            one.wait()


if __name__ == "__main__":
    main()
