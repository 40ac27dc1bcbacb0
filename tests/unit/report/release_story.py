"""A release as its raw record tells it, with names as hostile as wanted, and a load if wanted."""

from __future__ import annotations

from segue.load.outcome import Outcome, Phase
from segue.load.plan import Plan
from segue.load.record import Record
from segue.model.timeline import Happening, What
from segue.proof.raw import Raw
from segue.proof.receipt import ActionEntry, Case, EndReason, PodEnd

T0 = 1_800_000_000.0


def pod(
    name: str, version: str, *, born: float, ready: float, let_go: float = 0.0, gone: float = 0.0
) -> list[Happening]:
    """One pod's life, seconds after the start."""
    full = f"shop/{name}"
    rows = [
        Happening(at_s=T0 + born, what=What.POD_CREATED, pod=full, data={"image": "web:1", "version": version}),
        Happening(at_s=T0 + ready, what=What.POD_READY, pod=full, data={"ip": "10.0.0.5"}),
        Happening(at_s=T0 + ready, what=What.ENDPOINT_ADDED, pod=full, data={"service": "web", "ip": "10.0.0.5"}),
    ]
    if gone:
        rows += [
            Happening(at_s=T0 + let_go, what=What.ENDPOINT_REMOVED, pod=full, data={"service": "web"}),
            Happening(at_s=T0 + let_go, what=What.POD_LET_GO, pod=full),
            Happening(at_s=T0 + gone - 1, what=What.POD_DELETION_SET, pod=full, data={"grace_s": 30}),
            Happening(at_s=T0 + gone, what=What.POD_REMOVED, pod=full),
        ]
    return rows


def record(index: int, rate: float, outcome: Outcome = Outcome.OK, version: str = "v1") -> Record:
    """One request of a load at this rate."""
    ok, at_s = outcome is Outcome.OK, T0 + index / rate
    return Record(
        index=index, planned_s=at_s, sent_s=at_s, opened_s=at_s, connected_s=at_s if ok else 0.0,
        first_byte_s=at_s if ok else 0.0, done_s=at_s + 0.002, local_ip="10.99.0.2", local_port=index % 60_000,
        remote_ip="10.88.0.1", remote_port=31002, conn=index, nth=1, bytes_out=80, bytes_in=90,
        status=200 if ok else 0, errno="" if ok else "ECONNREFUSED", phase=Phase.DONE if ok else Phase.CONNECT,
        outcome=outcome, version=version, path="/fast", request_id=f"release-{index}",
    )  # fmt: skip


def release(name: str = "web", *, records: tuple[Record, ...] = (), end: str = "done", reason: str = "quiet") -> Raw:
    """Three old pods leave, three new ones come."""
    happenings = [
        *pod(f"{name}-old", "old", born=-90, ready=-80, let_go=2.0, gone=8.0),
        *pod(f"{name}-new", "new", born=0.1, ready=1.0),
    ]
    case = Case(
        title="release",
        asked={"command": "release", "files": [f"{name}.yaml"]},
        zero_s=T0,
        exposure=(T0, max(T0 + 9.0, records[-1].done_s if records else 0.0)),
        tool_version="0.1.0",
        plan=Plan(url="http://10.88.0.1:31002") if records else None,
        actions=(
            ActionEntry(at_s=T0, action=f"pin Service {name}", because=name, barrier=name, evidence=name),
            ActionEntry(at_s=T0 + 2, action=f"switch Service {name}", because=name, barrier=name),
            ActionEntry(at_s=T0 + 7, action=f"end pod {name}-old", because=name, evidence=name),
        ),
        pods=(
            PodEnd(
                pod=f"{name}-old", version="old", reason=EndReason(reason), at_s=T0 + 7, evidence_source="exec",
                because=f"silent for 5 s, {name}",
            ),
        ),
        end=end,
        end_message=f"Deployment {name} is at version new",
    )  # fmt: skip
    return Raw(case=case, happenings=happenings, records=records)
