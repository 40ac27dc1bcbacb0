"""The live page in a real Chromium: a release from start to end, its buttons, hostile words, keyboard and phone."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("playwright.sync_api", reason="no Playwright is installed")
from playwright.sync_api import Browser, Page, expect

from segue.host import embedded
from segue.model.objects import Obj
from segue.report.live import WORDS
from tests.live.conftest import ROOT, Cluster, start_cluster
from tests.live.console import BIN
from tests.live.live_page import CHROMIUM, chromium, serving

pytestmark = [
    pytest.mark.live,
    pytest.mark.full,
    pytest.mark.xdist_group("live-page"),
    pytest.mark.skipif(not CHROMIUM, reason="no chromium is installed (Debian: apt-get install chromium)"),
]
QUICK = ROOT / "examples" / "quick"
LIMIT_MS = 30_000
HOSTILE = "<img/src=x/onerror=document.title='taken'><script>document.title='taken'</script>"


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = start_cluster(tmp_path_factory.mktemp("page") / "default")
    cluster.kubectl("apply", "-f", str(QUICK / "web.yaml"))
    cluster.wait_ready(3, "app=web")
    yield cluster
    embedded.stop(cluster.state)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def url(quick: Cluster) -> Iterator[str]:
    with serving("web", quick.env) as address:
        yield address


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    with browser.new_context() as context:
        opened = context.new_page()
        wrong: list[str] = []
        opened.on("pageerror", lambda error: wrong.append(str(error)))
        opened.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        opened.goto(url)
        opened.wait_for_selector(".pod")
        yield opened
        assert not wrong, "the page's own script and policy have nothing to complain of"


def release(quick: Cluster, version: str, *options: str) -> subprocess.Popen[bytes]:
    """Begin a release to version 1 or 2, whichever is not there."""
    text = (QUICK / "web.yaml").read_text().replace("grace:v1", f"grace:{version}")
    path = quick.state / f"{version}.yaml"
    path.write_text(text)
    argv = [str(BIN / "segue"), "release", "-f", str(path), *options]
    return subprocess.Popen(argv, env=quick.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def settled(page: Page) -> None:
    expect(page.locator("#state")).to_contain_text("Nothing is under way. 3 of 3", timeout=LIMIT_MS)
    expect(page.locator(".lane")).to_have_count(1, timeout=LIMIT_MS)


def press(page: Page, name: str, *, sure: bool = False) -> None:
    page.get_by_role("button", name=name, exact=True).click()
    if sure:
        page.get_by_role("dialog").get_by_role("button", name="Do it").click()


def test_a_release_is_shown_from_its_start_to_its_end(quick: Cluster, page: Page) -> None:
    settled(page)
    before = page.locator(".lane").get_attribute("data-version")
    running = release(quick, "v2")
    expect(page.locator("#state")).to_contain_text("Release:", timeout=LIMIT_MS)
    expect(page.locator(".lane")).to_have_count(2, timeout=LIMIT_MS)
    assert page.locator(".lane").first.get_attribute("data-version") == before, "the old version stands first"
    expect(page.locator("#driven")).to_contain_text("driven by segue@")
    expect(page.get_by_text("Switch Service web to the new version")).to_have_count(1, timeout=LIMIT_MS)
    expect(page.locator(".lane").first.locator(".draining")).to_have_count(3, timeout=LIMIT_MS)
    expect(page.locator(".lane").last.locator(".serving")).to_have_count(3)
    settled(page)

    assert running.wait(30) == 0
    assert page.locator(".lane").get_attribute("data-version") != before
    told = page.locator("#steps li").all_inner_texts()
    for step in (
        "switch Service web to",
        "out of traffic, alive",
        "end pod web-",
        "take the memory off the Deployment",
    ):
        assert any(step in one for one in told), (step, told)


def test_a_release_serves_the_page_itself_where_it_is_asked_to(quick: Cluster) -> None:
    text = (QUICK / "web.yaml").read_text().replace("grace:v1", "grace:v4")
    done = quick.run("segue", "release", "-f", "-", "--web", stdin=text)

    assert done.returncode == 0, done.stderr
    address = re.search(r"http://(127\.0\.0\.1):(\d+)/\?token=\S+", done.stderr)
    assert address is not None, "where progress is told, so that the result stays alone on stdout"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address[1], int(address[2])), timeout=5)


def test_the_buttons_do_what_the_commands_do(quick: Cluster, page: Page) -> None:
    settled(page)
    before = str(page.locator(".lane").get_attribute("data-version"))
    running = release(quick, "v3", "--strategy", "blue-green")
    expect(page.locator("#state")).to_contain_text("Release:", timeout=LIMIT_MS)
    press(page, "Pause")
    expect(page.locator("#state")).to_contain_text("paused", timeout=LIMIT_MS)
    assert "paused" in quick.run("segue", "status", "web").stdout
    press(page, "Resume")
    expect(page.locator("#state")).to_contain_text("all new pods are Ready and have no traffic", timeout=LIMIT_MS)
    running.terminate()  # so that the buttons' own commands drive
    running.wait(30)
    press(page, "Abort", sure=True)
    settled(page)
    assert page.locator(".lane").get_attribute("data-version") == before
    release(quick, "v3", "--strategy", "blue-green", "--no-wait").wait(60)
    press(page, "Promote")
    settled(page)
    after = str(page.locator(".lane").get_attribute("data-version"))
    assert after != before
    press(page, "Undo", sure=True)
    expect(page.locator("#state")).to_contain_text("Undo:", timeout=LIMIT_MS)
    settled(page)

    assert page.locator(".lane").get_attribute("data-version") == before
    expect(page.locator("#commands")).to_contain_text("receipt: ")


def test_a_button_that_cannot_be_pressed_says_why_and_asks_before_it_takes_back(quick: Cluster, page: Page) -> None:
    settled(page)
    pause = page.get_by_role("button", name="Pause", exact=True)
    expect(pause).to_have_attribute("aria-disabled", "true")
    pause.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_have_text("pause: nothing is under way")
    page.get_by_role("button", name="Undo", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert page.evaluate("document.activeElement.textContent") == "Leave it", "Enter alone never takes back"
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).not_to_be_visible()

    assert page.evaluate("document.activeElement.textContent") == "Undo", "who has the keyboard keeps their place"
    assert "none under way" in quick.run("segue", "status", "web").stdout
    assert page.locator("[aria-live]").count() >= 4
    for role in ("main", "banner", "heading", "group"):
        assert page.get_by_role(role).count() >= 1, role


def test_it_fits_a_phone_and_follows_dark_and_light(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    heights = [box["height"] for one in page.locator("#buttons button").all() if (box := one.bounding_box())]
    assert len(heights) == len(WORDS)
    assert min(heights) >= 44, "a thumb is that wide"
    colours = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colours.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert colours[0] != colours[1]


def strings(value: object, put: str) -> object:
    """A document with this text in the place of each of its texts, but for words that choose what is drawn."""
    if isinstance(value, dict):
        return {key: one if key in {"role", "phase", "word", "at"} else strings(one, put) for key, one in value.items()}
    if isinstance(value, list):
        return [strings(one, put) for one in value]
    return put if isinstance(value, str) else value


def test_words_of_a_cluster_are_text_wherever_they_stand(browser: Browser, url: str) -> None:
    step = {"at": "2026-01-01T00:00:00Z", "action": "x", "because": "x", "barrier": "x"}
    pod = {"name": "x", "phase": "draining", "trouble": "x", "open": 1, "live": 1, "arrivals": 2.0, "verdict": "x"}
    version = {
        "version": "x", "revision": 1, "images": ["x"], "role": "old", "serving": 0, "pods": [pod],
        "open": 1, "arrivals": 2.0,
    }  # fmt: skip
    release = {
        "kind": "x", "strategy": "x", "since": 1.0, "phase": "draining", "drivenBy": "x", "waitsFor": "x",
        "due": [step], "outline": ["x"], "paused": False,
    }  # fmt: skip
    told: Obj = {
        "workload": {
            "kind": "x", "name": "x", "namespace": "x", "replicas": 1, "ready": 0, "version": "x", "release": release,
            "versions": [version], "services": ["x"], "buttons": [{"word": "pause", "why": "x"}], "steps": [step],
        },
        "commands": [{"word": "undo", "number": 1, "code": 1, "lines": ["x"]}],
        "trouble": "x",
    }  # fmt: skip
    body = f"data: {json.dumps(strings(told, HOSTILE))}\n\n"
    with browser.new_context() as context:
        opened = context.new_page()
        opened.route("**/events", lambda route: route.fulfill(content_type="text/event-stream", body=body))
        opened.goto(url)
        opened.wait_for_selector(".pod")

        assert opened.locator("img").count() == 0
        assert opened.locator("script").count() == 1
        assert opened.locator("body").inner_text().count("onerror=") >= 15
        assert "taken" not in opened.title().replace(HOSTILE, "")


def test_an_image_that_is_markup_is_shown_as_its_name(quick: Cluster, browser: Browser) -> None:
    text = (QUICK / "web.yaml").read_text().replace("web", "evil")
    quick.kubectl("apply", "-f", "-", stdin=re.sub(r"image: .*", f"image: {json.dumps(HOSTILE)}", text))
    with serving("evil", quick.env) as address, browser.new_context() as context:
        opened = context.new_page()
        opened.goto(address)
        expect(opened.locator(".lane")).to_contain_text(HOSTILE, timeout=LIMIT_MS)

        assert opened.locator("img").count() == 0
        assert opened.title() == "evil - segue"
    quick.kubectl("delete", "deployment", "evil")


def test_a_foreign_page_sees_nothing_and_presses_nothing(quick: Cluster, page: Page, url: str, tmp_path: Path) -> None:
    """Who has the page open visits another: its scripts and frames get no further than the browser lets them."""
    at = urlsplit(url)
    script = f"""async () => {{
        const target = "http://{at.netloc}/do/undo";
        const found = [];
        for (const options of [{{method: "POST", credentials: "include", mode: "no-cors"}},
                               {{method: "POST", credentials: "include", headers: {{"X-Segue-Token": "x"}}}}]) {{
            try {{ found.push((await fetch(target, options)).type); }} catch (error) {{ found.push("refused"); }}
        }}
        return found; }}"""
    foreign = page.context.new_page()
    foreign.route("http://evil.example/", lambda route: route.fulfill(content_type="text/html", body="<p>hello</p>"))
    foreign.goto("http://evil.example/")
    found = foreign.evaluate(script)
    foreign.close()

    assert found[1] == "refused"
    assert "none under way" in quick.run("segue", "status", "web").stdout
    expect(page.locator("#commands-box")).to_be_hidden()


def test_a_wrong_token_a_foreign_name_and_a_foreign_origin_are_refused(url: str) -> None:
    at = urlsplit(url)
    host = at.netloc

    def ask(method: str, path: str, **headers: str) -> tuple[int, str]:
        door = http.client.HTTPConnection(str(at.hostname), at.port, timeout=10)
        door.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = door.getresponse()
        found = answer.status, answer.getheader("set-cookie") or ""
        door.close()
        return found

    code, cookie = ask("GET", f"/?{at.query}")
    own = {"Cookie": cookie.partition(";")[0]}

    assert code == 303
    assert ask("GET", "/", **own)[0] == 200
    assert ask("GET", "/")[0] == 401
    assert ask("GET", "/?token=wrong") == (401, "")
    assert ask("GET", f"/?{at.query}", Host="evil.example") == (421, "")
    assert ask("POST", "/do/undo", **own)[0] == 403
    assert ask("POST", "/do/undo", **own, Origin="http://evil.example", X_Segue_Token="x")[0] == 403
    assert ask("POST", "/do/undo", **own, Origin=f"http://{host}", X_Segue_Token="x")[0] == 403
