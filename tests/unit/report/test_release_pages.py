"""The report of a release: its pods and steps drawn, hostile names harmless, small however many requests."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from segue.cli.main import run
from segue.host.receipts import keep
from segue.load.outcome import Outcome
from segue.report.junit import Claim, junit, suite_of, suite_of_load
from segue.report.page import files, page, story_of
from segue.report.style import STYLE
from segue.report.terminal import Screen, screen_of
from tests.unit.report.release_story import record, release

HOSTILE = "</script><script>alert(1)</script>\"'&\x07\x00\x1b[2J"
SVG = "{http://www.w3.org/2000/svg}"


def html_of(**asked: object) -> str:
    raw = release(**asked)  # type: ignore[arg-type]  # the arguments of release()
    return page(story_of(raw, raw.receipt()))


def test_pods_are_bars_with_their_phases() -> None:
    html = html_of()

    assert [len(re.findall(rf'<rect[^>]*class="v\d {phase}"', html)) for phase in ("ready", "draining")] == [2, 1]
    assert 'class="routed"' in html


def test_each_step_is_a_mark_that_leads_to_its_row_with_barrier_and_evidence() -> None:
    html = html_of()

    for target in re.findall(r'href="#([^"]+)"', html):
        assert f'id="{target}"' in html
    assert [f'id="step-{number}"' in html for number in (1, 2, 3, 4)] == [True, True, True, False]


def test_errors_are_marks_that_lead_to_their_cause() -> None:
    records = tuple(record(index, 10, Outcome.CONNECT_REFUSED if index == 23 else Outcome.OK) for index in range(90))
    html = html_of(records=records)

    targets = re.findall(r'<a href="#(cause-[a-z-]+)" class="error">', html)

    assert len(targets) == 1
    assert f'id="{targets[0]}"' in html


def test_more_losses_than_marks_are_gathered_and_none_is_left_out() -> None:
    records = tuple(record(index, 100, Outcome.CONNECT_REFUSED) for index in range(4000))
    html = html_of(records=records)
    told = re.findall(r"<title>([\d,]+) lost around [\d.]+ s: ([a-z-]+)</title>", html)

    assert sum(int(count.replace(",", "")) for count, _ in told) == 4000
    assert len(told) < 600
    assert {f'id="cause-{kind}"' in html for _, kind in told} == {True}


@pytest.mark.parametrize("name", [HOSTILE, "<img src=x onerror=alert(1)>", "a" * 400, "ünï-日本"])
def test_hostile_names_stay_text(name: str) -> None:
    html = html_of(name=name)

    assert html.count("<script") == 1
    assert "<img" not in html
    assert "\x1b" not in html
    for drawing in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        ElementTree.fromstring(drawing)


def test_a_page_needs_no_network() -> None:
    html = html_of()

    assert "http://" not in html.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in html
    assert "prefers-color-scheme:dark" in html


def test_a_release_that_stopped_is_marked_bad() -> None:
    assert 'class="verdict bad"' in html_of(end="unfinished")
    assert 'class="verdict bad"' not in html_of()


def test_pictures_are_whole_files_of_their_own() -> None:
    raw = release(records=tuple(record(index, 10) for index in range(90)))
    found = files(story_of(raw, raw.receipt()))

    assert sorted(found) == ["latency.svg", "pods.svg", "traffic.svg"]
    for text in found.values():
        root = ElementTree.fromstring(text)
        assert root.tag == f"{SVG}svg"
        assert "--card" in (root.findtext(f"{SVG}style") or "")


def test_every_class_of_a_release_is_styled() -> None:
    drawings = "".join(re.findall(r"<svg.*?</svg>", html_of(), re.DOTALL))
    used = {name for found in re.findall(r'class="([^"]+)"', drawings) for name in found.split()}

    assert {name for name in used if f".{name}" not in STYLE} == set()


@pytest.mark.full
def test_a_million_requests_with_thousands_lost_stay_below_two_megabytes() -> None:
    rate = 20_000.0
    records = tuple(
        record(index, rate, Outcome.CONNECT_REFUSED if index % 200 == 7 else Outcome.OK, "v1" if index < 5e5 else "v2")
        for index in range(1_000_000)
    )

    html = html_of(records=records)

    assert len(html.encode()) < 2_000_000
    assert "5,000 lost" in html


# -- on a terminal and for CI ----------------------------------------------------------------------------------------


def test_a_terminal_obeys_nothing_of_a_receipt() -> None:
    for colours in (True, False):
        text = "\n".join(screen_of(release(HOSTILE, reason="capped").receipt(), Screen(width=100, colours=colours)))
        assert "\x1b[2J" not in text
        assert "\x07" not in text


def test_one_screen_tells_end_verdict_steps_and_ends_of_pods() -> None:
    lines = screen_of(release(reason="capped").receipt(), Screen(width=100))
    text = "\n".join(lines)

    assert lines[0] == "✓ Deployment web is at version new"
    assert "segue release -f web.yaml" in text
    assert "switch Service web" in text
    assert "old pods ended: 1 capped (evidence: exec)" in text
    assert "web-old was still busy: silent for 5 s, web" in text
    assert len(lines) <= 40


def test_junit_says_what_failed_and_what_was_not_tried() -> None:
    lost = release(records=tuple(record(index, 10, Outcome.CONNECT_REFUSED) for index in range(20)), end="unfinished")
    root = ElementTree.fromstring(junit([suite_of(release(HOSTILE).receipt()), suite_of(lost.receipt())]))
    good, bad = root.findall("testsuite")

    assert (good.get("tests"), good.get("failures"), good.get("skipped")) == ("2", "0", "1")
    assert (bad.get("tests"), bad.get("failures"), bad.get("skipped")) == ("2", "2", "0")
    assert [case.find("failure") is not None for case in bad.findall("testcase")] == [True, True]


def test_a_drill_that_expects_losses_does_not_fail_by_them() -> None:
    lost = release(records=(record(1, 10, Outcome.CONNECT_REFUSED),), end="")
    root = ElementTree.fromstring(junit([suite_of(lost.receipt(), expected=Claim(name="drill delete"))]))

    assert [case.get("name") for case in root.iter("testcase")] == ["drill delete"]
    assert not list(root.iter("failure"))


@pytest.mark.parametrize(("lost", "failures"), [(0, 0), (3, 1)])
def test_a_load_is_one_test_case(lost: int, failures: int) -> None:
    summary = {"requests": 10, "ok": 10 - lost, "lost": lost, "tookS": 1.0, "outcomes": {"ok": 10 - lost}}
    root = ElementTree.fromstring(junit([suite_of_load(summary, "http://x", "2026-01-01T00:00:00.0Z")]))

    assert len(list(root.iter("failure"))) == failures


def test_from_a_file_to_report_pictures_and_junit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    receipt = tmp_path / "release.json"
    keep([release()], receipt)
    told = ["--pictures", str(tmp_path / "p"), "--junit", str(tmp_path / "j.xml"), "-o", str(tmp_path / "out.html")]

    assert run(["receipt", "html", str(receipt), *told]) == 0
    assert "switch Service web" in (tmp_path / "out.html").read_text()
    assert (tmp_path / "p" / "pods.svg").read_text().startswith("<svg")
    assert "testsuites" in (tmp_path / "j.xml").read_text()
    assert "picture: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("end", "code"), [("done", 0), ("held", 0), ("unfinished", 8), ("refused", 7), ("conflict", 6)]
)
def test_show_ends_with_the_code_of_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], end: str, code: int
) -> None:
    receipt = tmp_path / "release.json"
    keep([release(end=end)], receipt)

    assert run(["receipt", "show", str(receipt)]) == code
    assert "Deployment web" in capsys.readouterr().out


def test_losses_win_over_a_good_end(tmp_path: Path) -> None:
    receipt = tmp_path / "release.json"
    keep([release(records=(record(1, 10, Outcome.CONNECT_REFUSED),))], receipt)

    assert run(["receipt", "show", str(receipt)]) == 9


def test_kept_receipts_are_listed_and_found_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEGUE_HOME", str(tmp_path))
    keep([release()], tmp_path / "receipts" / "release-1.json")
    (tmp_path / "receipts" / "broken.json").write_text("{}")

    assert run(["receipt", "list"]) == 0
    listed = capsys.readouterr()
    assert "release-1" in listed.out
    assert "broken.json: no receipt" in listed.err
    assert run(["receipt", "show", "release-1"]) == 0
    assert run(["receipt", "verify", "release-1"]) == 0


def test_a_file_of_our_format_without_its_fields_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"format": "segue.dev/receipt/v0"}')

    assert run(["receipt", "show", str(path)]) == 1
    assert "its field title is missing" in capsys.readouterr().err
