"""Reports: well-formed, self-contained, and safe with hostile names."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import msgspec
import pytest

from segue.load.outcome import Outcome, Phase
from segue.load.plan import Plan
from segue.load.record import Record
from segue.model.objects import Obj
from segue.model.timeline import Happening, What
from segue.proof.causes import explain_all
from segue.proof.receipt import ActionEntry, Case, EndReason, PodEnd, receipt
from segue.proof.timeline import Timeline
from segue.report.markup import Trusted, el, render
from segue.report.page import Story, page
from segue.report.style import STYLE
from segue.report.terminal import Screen, lines_of, spark

T0 = 1_800_000_000.0
HOSTILE = "</script><script>alert(1)</script>\"'&\x07\x00"
_VOID = {"meta", "br"}  # of HTML; within SVG any element may close itself


def record(index: int, outcome: Outcome = Outcome.OK, version: str = "v1") -> Record:
    ok, at_s = outcome is Outcome.OK, T0 + index / 10
    return Record(
        index=index,
        planned_s=at_s,
        sent_s=at_s if ok else 0.0,
        opened_s=at_s,
        connected_s=at_s if ok else 0.0,
        first_byte_s=at_s if ok else 0.0,
        done_s=at_s + 0.002,
        local_ip="10.99.0.2",
        local_port=40000 + index,
        remote_ip="10.88.0.1",
        remote_port=31002,
        conn=index,
        nth=1,
        bytes_out=80,
        bytes_in=90,
        status=200 if ok else 0,
        errno="" if ok else "ECONNREFUSED",
        phase=Phase.DONE if ok else Phase.CONNECT,
        outcome=outcome,
        version=version,
        path="/fast",
        request_id=f"drill-{index}",
    )


def story(name: str = "test-abc", *, lost: bool = True) -> Story:
    pod = f"default/{name}"
    ip: Obj = {"service": "default/test", "ip": "10.0.0.5", "node": name}
    rows = [
        Happening(at_s=T0 - 9, what=What.POD_CREATED, pod=pod, data={"image": f"grace:{name}"}),
        Happening(at_s=T0 - 8.9, what=What.SANDBOX_CREATED, pod=pod, data={"ip": "10.0.0.5"}),
        Happening(at_s=T0 - 8.8, what=What.CONTAINER_STARTED, pod=pod),
        Happening(at_s=T0 - 8.7, what=What.LISTENER_OPENED, pod=pod, data={"port": 10002}),
        Happening(at_s=T0 - 8.0, what=What.POD_READY, pod=pod, data={"ip": "10.0.0.5"}),
        Happening(at_s=T0 - 8.0, what=What.RULE_ADDED, pod=pod, data=ip),
        Happening(at_s=T0 + 2.0, what=What.POD_DELETION_SET, pod=pod, data={"grace_s": 120}),
        Happening(at_s=T0 + 2.01, what=What.SIGTERM_SENT, pod=pod),
        Happening(at_s=T0 + 2.02, what=What.LISTENER_CLOSED, pod=pod, data={"port": 10002}),
        Happening(at_s=T0 + 2.5, what=What.CONTAINER_EXITED, pod=pod, data={"exit_code": 0}),
        Happening(at_s=T0 + 2.8, what=What.RULE_REMOVED, pod=pod, data=ip),
    ]
    records = [record(index, version=name) for index in range(60)]
    if lost:
        records[23] = record(23, Outcome.CONNECT_REFUSED)
    timeline = Timeline(rows, service="default/test")
    explained = explain_all(records, timeline)
    case = Case(
        title=f"Delete {name}",
        asked={"drill": "delete", "story": name},
        zero_s=T0,
        exposure=(T0 + 1, T0 + 5),
        tool_version="0.1.0",
        plan=Plan(url="http://10.88.0.1:31002"),
        actions=(ActionEntry(at_s=T0 + 2, action=f"delete {name}", because=name, barrier=name, evidence=name),),
        pods=(PodEnd(pod=pod, version=name, reason=EndReason.NATIVE, at_s=T0 + 3),),
    )
    document = receipt(case, records, explained)
    return Story(receipt=document, judgement="", timeline=timeline, records=records, explained=explained, zero_s=T0)


class Balance(HTMLParser):
    """Checks that every element is closed in order, and collects what could reach out."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.scripts: list[str] = []
        self.title = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.links += [str(named[key]) for key in ("href", "src") if key in named]
        if tag == "script":
            self.scripts.append(str(named.get("type")))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in _VOID | {"rect", "line", "circle", "path", "polyline"}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["title"] and "head" in self.open:
            self.title += data


def checked(html: str) -> Balance:
    parser = Balance()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser


@pytest.mark.parametrize("name", ["test-abc", HOSTILE, "<b>", "ünï-日本", "a" * 300])
def test_a_page_is_well_formed_whatever_the_names(name: str) -> None:
    html = page(story(name))
    parser = checked(html)

    assert parser.scripts == ["application/json"]
    assert "alert(1)</script>" not in html.replace("&lt;/script&gt;", "")
    for drawing in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        ElementTree.fromstring(drawing)


def test_a_page_reaches_for_nothing_outside_itself() -> None:
    html = page(story())

    assert all(link.startswith("#") for link in checked(html).links)
    assert "url(" not in html
    assert "@import" not in html


def test_the_title_says_the_verdict_in_words() -> None:
    assert checked(page(story())).title == "1 of 41 requests were lost - Delete test-abc"
    assert checked(page(story(lost=False))).title.startswith("no request was lost: 0 of 41")


def test_the_receipt_can_be_read_back_out_of_the_page() -> None:
    told = story(HOSTILE)
    found = re.search(r'<script type="application/json" id="receipt">(.*?)</script>', page(told), re.DOTALL)

    assert found is not None
    assert msgspec.json.decode(found[1]) == msgspec.json.decode(msgspec.json.encode(told.receipt))


def test_each_error_mark_leads_to_a_row_of_the_cause_table() -> None:
    html = page(story())

    for link in checked(html).links:
        assert f'id="{link[1:]}"' in html


def test_a_page_without_losses_shows_no_causes() -> None:
    html = page(story(lost=False))

    assert "Why requests were lost" not in html
    assert 'class="verdict good"' in html


def test_every_class_of_a_picture_is_styled() -> None:
    drawings = "".join(re.findall(r"<svg.*?</svg>", page(story()), re.DOTALL))
    used = {name for found in re.findall(r'class="([^"]+)"', drawings) for name in found.split()}

    assert {name for name in used if f".{name}" not in STYLE} == set()


def test_attributes_and_text_are_escaped_and_trusted_text_is_not() -> None:
    node = el("p", "<&>", Trusted("<b>"), title='"x"', class_="a")

    assert render(node) == '<p title="&quot;x&quot;" class="a">&lt;&amp;&gt;<b></p>'


def test_a_terminal_gets_plain_text_without_colours_and_marks_losses() -> None:
    lines = lines_of(story().receipt, "as expected", Screen(width=100))
    text = "\n".join(lines)

    assert "\033" not in text
    assert lines[0] == "✗ 1 of 41 requests were lost"
    assert "listener-closed-first" in text
    assert "•" in text


def test_a_terminal_with_colours_paints_only_with_them() -> None:
    assert "\033[31m" in lines_of(story().receipt, "", Screen(colours=True))[0]


def test_sparks_show_whatever_is_above_nothing() -> None:
    assert spark([0, 1, 500, 1000], 1000) == " ▁▄█"
