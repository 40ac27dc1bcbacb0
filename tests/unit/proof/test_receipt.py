"""The receipt: its fields, and that its totals follow from the records."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from segue.load.outcome import Outcome, Phase
from segue.load.plan import Plan
from segue.load.record import Record
from segue.model.objects import Obj
from segue.model.timeline import Happening, What
from segue.proof.causes import CauseKind, explain_all
from segue.proof.receipt import ActionEntry, Case, EndReason, PodEnd, receipt
from segue.proof.sentences import REMEDY, SUMMARY
from segue.proof.timeline import Timeline

T0 = 1_800_000_000.0


def record(index: int, at_s: float, outcome: Outcome = Outcome.OK, version: str = "v1") -> Record:
    ok = outcome is Outcome.OK
    return Record(
        index=index,
        planned_s=T0 + at_s,
        sent_s=T0 + at_s if ok else 0.0,
        opened_s=T0 + at_s,
        connected_s=T0 + at_s if ok else 0.0,
        first_byte_s=T0 + at_s + 0.001 if ok else 0.0,
        done_s=T0 + at_s + 0.001,
        local_ip="10.99.0.2",
        local_port=40000 + index,
        remote_ip="10.88.0.1",
        remote_port=31002,
        conn=index,
        nth=1,
        bytes_out=80,
        bytes_in=90 if ok else 0,
        status=200 if ok else 0,
        errno="" if ok else "ECONNREFUSED",
        phase=Phase.DONE if ok else Phase.CONNECT,
        outcome=outcome,
        version=version if ok else "",
        path="/fast",
        request_id=f"load-{index}",
    )


def happenings() -> list[Happening]:
    pod = "default/test-abc"
    ip: Obj = {"service": "default/test", "ip": "10.0.0.5", "node": "node"}
    return [
        Happening(at_s=T0 - 9, what=What.POD_CREATED, pod=pod, data={"image": "grace:v1"}),
        Happening(at_s=T0 - 8.9, what=What.SANDBOX_CREATED, pod=pod, data={"ip": "10.0.0.5"}),
        Happening(at_s=T0 - 8.8, what=What.CONTAINER_STARTED, pod=pod, data={"container": "service"}),
        Happening(at_s=T0 - 8.7, what=What.LISTENER_OPENED, pod=pod, data={"port": 10002}),
        Happening(at_s=T0 - 8.0, what=What.RULE_ADDED, pod=pod, data=ip),
        Happening(at_s=T0 + 2.0, what=What.POD_DELETION_SET, pod=pod, data={"grace_s": 120}),
        Happening(at_s=T0 + 2.003, what=What.SIGTERM_SENT, pod=pod),
        Happening(
            at_s=T0 + 2.014, what=What.LISTENER_CLOSED, pod=pod, data={"port": 10002, "not_before_s": T0 + 2.004}
        ),
        Happening(at_s=T0 + 2.8, what=What.RULE_REMOVED, pod=pod, data=ip),
    ]


def case(**changes: object) -> Case:
    values: dict[str, object] = {
        "title": "Delete pods under load",
        "asked": {"drill": "delete"},
        "zero_s": T0,
        "exposure": (T0 + 1.0, T0 + 4.0),
        "tool_version": "0.1.0",
        "plan": Plan(url="http://10.88.0.1:31002", rate=10, duration_s=5, paths=("/fast",)),
        "actions": (ActionEntry(at_s=T0 + 2, action="delete pod default/test-abc", because="the drill says so"),),
        "pods": (PodEnd(pod="default/test-abc", version="v1", reason=EndReason.NATIVE, at_s=T0 + 3),),
    }
    return Case(**{**values, **changes})  # type: ignore[arg-type]  # the values are named just above


def run() -> list[Record]:
    rows = [record(number, number / 10) for number in range(50)]
    rows[22] = record(22, 2.2, Outcome.CONNECT_REFUSED)
    rows[25] = record(25, 2.5, Outcome.CONNECT_REFUSED)
    rows[30] = record(30, 3.0, Outcome.OWN_FAULT)
    rows[45] = record(45, 4.5, Outcome.CONNECT_REFUSED)
    return rows


def made() -> Obj:
    rows = run()
    return receipt(case(), rows, explain_all(rows, Timeline(happenings(), service="default/test")))


def test_only_the_exposure_counts_and_own_faults_do_not() -> None:
    document = made()

    assert (document["sent"], document["lost"], document["ownFaults"]) == (30, 2, 1)
    assert document["lostOutsideExposure"] == 1
    assert document["verdict"] == "2 of 30 requests were lost, and 1 before or after"


def test_a_request_begun_before_the_first_action_counts_if_it_was_still_under_way() -> None:
    early = msgspec.structs.replace(record(1, 0.1), done_s=T0 + 2.5, outcome=Outcome.EMPTY_ANSWER)

    assert receipt(case(), [early], [])["lost"] == 1
    assert receipt(case(), [record(1, 0.1)], [])["sent"] == 0


def test_the_document_is_the_golden_one() -> None:
    document = made()

    assert list(document) == [
        "format", "tool", "title", "verdict", "end", "endMessage", "asked",
        "cluster", "zeroAt", "exposure", "load", "sent", "answered",
        "lost", "lostOutsideExposure", "lostShareBound95", "ownFaults", "late", "outcomes", "causes", "unknownShare",
        "errors",
        "errorsLeftOut", "versions", "seconds", "latencyMs", "longestGapMs", "actions", "pods", "record",
    ]  # fmt: skip
    assert document["causes"] == [
        {
            "cause": "listener-closed-first",
            "count": 2,
            "share": 1.0,
            "what": "the pod stopped listening on SIGTERM while the data plane still sent to it",
            "remedy": document["causes"][0]["remedy"],
            "pods": ["default/test-abc"],
            "firstS": 2.201,
            "lastS": 2.501,
            "example": "pod test-abc closed its listener at 2.014 s, 11 ms after SIGTERM; node's rules sent "
            "connections to it until 2.800 s; this request began at 2.200 s and failed at 2.201 s",
        }
    ]
    assert document["pods"] == [
        {
            "pod": "default/test-abc",
            "version": "v1",
            "reason": "native",
            "atS": 3.0,
            "evidenceSource": "",
            "because": "",
        }
    ]
    assert document["exposure"] == {"fromS": 1.0, "toS": 4.0}
    assert document["seconds"][1] == {"second": 2, "v1": 8, "!connect-refused": 2}


def test_without_a_load_nothing_is_claimed() -> None:
    document = receipt(case(plan=None), [], [])

    assert document["lostShareBound95"] is None
    assert document["verdict"] == "no load was sent, so nothing is proved about losses"


def test_none_lost_states_its_bound() -> None:
    rows = [record(number, 1 + number / 1000) for number in range(3000)]

    assert receipt(case(), rows, [])["verdict"] == (
        "no request was lost: 0 of 3,000 (fewer than 1 in 1,000, with 95 % confidence)"
    )


DOCS = Path(__file__).resolve().parents[3] / "docs" / "reference"


def test_every_field_of_a_receipt_is_described_and_no_other() -> None:
    described = re.findall(r"^\| `(\w+)` \|", (DOCS / "receipt.md").read_text(), re.MULTILINE)

    assert described == list(made())


def test_every_cause_has_a_section_and_every_section_a_cause() -> None:
    described = re.findall(r"^## (\S+)$", (DOCS / "causes.md").read_text(), re.MULTILINE)

    assert described == [kind.value for kind in CauseKind]
    assert set(SUMMARY) == set(REMEDY) == set(CauseKind)


def test_every_outcome_is_described() -> None:
    described = re.findall(
        r"^\| `([a-z-]+)` \|", (DOCS / "load.md").read_text().partition("## Outcomes")[2], re.MULTILINE
    )

    assert described == [outcome.value for outcome in Outcome]
