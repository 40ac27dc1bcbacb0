"""Every claim of a receipt is forged once, and each forgery is found out by its record."""

from __future__ import annotations

import copy
import gzip
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.cli.main import run
from segue.host.receipts import LINE_MAX, Kept, keep, read_receipts, record_of
from segue.load.outcome import Outcome, Phase
from segue.load.plan import Plan
from segue.load.record import Record
from segue.model.errors import SegueError
from segue.model.objects import Obj
from segue.model.timeline import Happening, What
from segue.proof.raw import Raw, lines_of, read_lines
from segue.proof.receipt import ActionEntry, Case, EndReason, PodEnd
from segue.proof.verify import differences

T0 = 1_800_000_000.123456789
POD = "default/test-abc"


def record(index: int, outcome: Outcome = Outcome.OK) -> Record:
    ok, at_s = outcome is Outcome.OK, T0 + index / 10
    return Record(
        index=index, planned_s=at_s, sent_s=at_s if ok else 0.0, opened_s=at_s, connected_s=at_s if ok else 0.0,
        first_byte_s=at_s + 0.001 if ok else 0.0, done_s=at_s + 0.001 * (1 + index % 3), local_ip="10.99.0.2",
        local_port=40000 + index, remote_ip="10.88.0.1", remote_port=31002, conn=index, nth=1, bytes_out=80,
        bytes_in=90 if ok else 0, status=200 if ok else 0, errno="" if ok else "ECONNREFUSED",
        phase=Phase.DONE if ok else Phase.CONNECT, outcome=outcome, version="v1" if index < 25 else "v2",
        path="/fast", request_id=f"load-{index}",
    )  # fmt: skip


def raw() -> Raw:
    route: Obj = {"service": "default/test", "ip": "10.0.0.5", "node": "node"}
    rows = [
        Happening(at_s=T0 - 9, what=What.POD_CREATED, pod=POD, data={"image": "grace:v1"}),
        Happening(at_s=T0 - 8.9, what=What.SANDBOX_CREATED, pod=POD, data={"ip": "10.0.0.5"}),
        Happening(at_s=T0 - 8.8, what=What.CONTAINER_STARTED, pod=POD, data={"container": "service"}),
        Happening(at_s=T0 - 8.7, what=What.LISTENER_OPENED, pod=POD, data={"port": 10002}),
        Happening(at_s=T0 - 8.0, what=What.RULE_ADDED, pod=POD, data=route),
        Happening(at_s=T0 + 2.0, what=What.POD_DELETION_SET, pod=POD, data={"grace_s": 120}),
        Happening(at_s=T0 + 2.003, what=What.SIGTERM_SENT, pod=POD),
        Happening(at_s=T0 + 2.014, what=What.LISTENER_CLOSED, pod=POD, data={"port": 10002}),
        Happening(at_s=T0 + 2.8, what=What.RULE_REMOVED, pod=POD, data=route),
        *(
            Happening(at_s=T0 + at / 10, what=What.FLOW, data={"src_ip": "10.99.0.2", "src_port": 40000 + at,
                                                               "ip": "10.0.0.5", "port": 10002})
            for at in (10, 22, 25)
        ),
    ]  # fmt: skip
    records = [record(index) for index in range(50)]
    for index in (22, 25, 45):
        records[index] = record(index, Outcome.CONNECT_REFUSED)
    records[30] = record(30, Outcome.OWN_FAULT)
    case = Case(
        title="Delete pods under load",
        asked={"drill": "delete", "ratePerSecond": 10.0},
        zero_s=T0,
        exposure=(T0 + 1.0, T0 + 4.0),
        tool_version="0.1.0",
        plan=Plan(url="http://10.88.0.1:31002", rate=10, duration_s=5, paths=("/fast",)),
        cluster={"kind": "embedded"},
        actions=(ActionEntry(at_s=T0 + 2, action="delete it", because="said", barrier="none", evidence="none"),),
        pods=(PodEnd(pod=POD, version="v1", reason=EndReason.QUIET, at_s=T0 + 3, evidence_source="node path"),),
        end="done",
        end_message="Deployment test is at version v2",
    )
    return Raw(case=case, service="default/test", happenings=rows, records=records)


def paths_of(value: object, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every leaf of a document."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths_of(inner, (*place, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from paths_of(inner, (*place, index))
    else:
        yield place


def document() -> Obj:
    """As it is read back from a file."""
    made = raw().receipt()
    made["record"] = {"requests": 50, "happenings": 12}
    decoded: Obj = msgspec.json.decode(msgspec.json.encode(made))
    return decoded


LEAVES = list(paths_of(document()))


def forged(place: tuple[str | int, ...]) -> Obj:
    """The document with one leaf changed."""
    changed = copy.deepcopy(document())
    at = changed
    for key in place[:-1]:
        at = at[key]  # type: ignore[index]  # a list's index or a dict's key, as paths_of gave it
    value = at[place[-1]]  # type: ignore[index]  # as above
    other = not value if isinstance(value, bool) else value + 1 if isinstance(value, int | float) else f"{value}x"
    at[place[-1]] = other  # type: ignore[index]  # as above
    return changed


def test_a_receipt_agrees_with_its_own_record() -> None:
    assert differences(document(), raw()) == []


def test_the_example_has_losses_causes_gaps_and_ends_to_forge() -> None:
    told = document()

    assert (told["lost"], told["sent"], told["ownFaults"], told["lostOutsideExposure"]) == (2, 30, 1, 1)
    assert told["causes"][0]["cause"] == "listener-closed-first"
    assert told["errors"][0]["evidence"]
    assert {"v1", "v2"} <= set(told["versions"])


@pytest.mark.parametrize("place", LEAVES, ids=lambda place: ".".join(map(str, place)))
def test_a_forged_leaf_is_found_and_named(place: tuple[str | int, ...]) -> None:
    found = differences(forged(place), raw())
    if place[0] == "tool":  # of another version, so only its words go unread
        assert [text.partition(":")[0] for text in found] == [".".join(map(str, place))]
        return
    named = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in place).lstrip(".")

    assert [text.partition(": ")[0] for text in found] == [named]
    assert "the receipt says" in found[0]


@pytest.mark.parametrize("field", [key for key in document() if key != "record"])
def test_a_claim_that_is_left_out_is_found(field: str) -> None:
    changed = document()
    del changed[field]

    assert any(text.startswith(f"{field}: the receipt leaves it out") for text in differences(changed, raw()))


@pytest.mark.parametrize("field", ["errors", "causes", "seconds", "actions", "pods"])
def test_a_list_that_is_shorter_is_found(field: str) -> None:
    changed = document()
    changed[field] = changed[field][1:]

    assert any(text.startswith(f"{field}: the receipt has") for text in differences(changed, raw()))


def test_a_claim_that_no_record_knows_is_found() -> None:
    assert differences({**document(), "certified": True}, raw()) == [
        "certified: the receipt says True, its record knows nothing of it"
    ]


def test_a_record_without_one_of_its_losses_disproves_the_receipt() -> None:
    whole = raw()
    fewer = [one for one in whole.records if one.index != 22]
    other = Raw(case=whole.case, service=whole.service, happenings=whole.happenings, records=fewer)

    assert any(text.startswith("lost:") for text in differences(document(), other))


def test_words_of_another_version_are_not_held_against_it() -> None:
    changed = document()
    changed["causes"][0]["remedy"] = "said better"
    changed["tool"]["version"] = "0.0.9"

    assert [text.partition(":")[0] for text in differences(changed, raw())] == ["tool.version"]


def test_a_record_read_back_makes_the_same_receipt() -> None:
    back = read_lines(list(lines_of(raw())), "it")

    assert back.receipt() == raw().receipt()
    assert sum(row.what is What.FLOW for row in back.happenings) == 2  # of what was answered, no connection is kept


# -- in files --------------------------------------------------------------------------------------------------------


def kept(tmp_path: Path) -> Path:
    path = tmp_path / "release.json"
    keep([raw()], path)
    return path


def test_files_agree_and_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = kept(tmp_path)

    assert run(["receipt", "verify", str(path)]) == 0
    assert "every claim follows from release.record.gz (50 requests, 11 happenings" in capsys.readouterr().out


def test_a_forged_file_ends_with_14_and_names_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = kept(tmp_path)
    path.write_text(path.read_text().replace('"lost": 2', '"lost": 0'))

    assert run(["receipt", "verify", str(path)]) == 14
    assert "lost: the receipt says 0, its record says 2" in capsys.readouterr().err


def test_a_changed_record_does_not_fit_its_digest(tmp_path: Path) -> None:
    path = kept(tmp_path)
    target = tmp_path / "release.record.gz"
    target.write_bytes(gzip.compress(gzip.decompress(target.read_bytes()), compresslevel=1))
    _, wrong = record_of(read_receipts(path)[0])

    assert [text.partition(":")[0] for text in wrong] == ["record.sha256"]


def test_two_runs_keep_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        keep([raw()], tmp_path / name / "release.json")

    assert (tmp_path / "one" / "release.record.gz").read_bytes() == (
        tmp_path / "two" / "release.record.gz"
    ).read_bytes()


def test_several_workloads_have_a_record_each(tmp_path: Path) -> None:
    path = tmp_path / "shop.json"
    keep([raw(), raw()], path)

    assert [record_of(one)[1] for one in read_receipts(path)] == [[], []]
    assert sorted(found.name for found in tmp_path.iterdir()) == ["shop-1.record.gz", "shop-2.record.gz", "shop.json"]


@pytest.mark.parametrize("name", ["../secret.gz", "/etc/passwd", "..", "a/b", 7])
def test_a_receipt_leads_nowhere_else(tmp_path: Path, name: object) -> None:
    with pytest.raises(SegueError, match="must lie beside it"):
        record_of(Kept(path=tmp_path / "x.json", document={"record": {"file": name}}))


def test_a_record_that_is_gone_cut_or_garbage_is_an_error_and_no_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = kept(tmp_path)
    target = tmp_path / "release.record.gz"
    whole = target.read_bytes()
    for damaged in (
        whole[: len(whole) // 2],
        b"no gzip",
        gzip.compress(b"{}\n"),
        gzip.compress(b""),
        whole[:-1] + b"x",
    ):
        target.write_bytes(damaged)
        assert run(["receipt", "verify", str(path)]) in {1, 14}
        assert "a fault of segue itself" not in capsys.readouterr().err
    target.write_bytes(gzip.compress(bytes(LINE_MAX + 1)) * 2)

    assert run(["receipt", "verify", str(path)]) == 1
    target.unlink()

    assert run(["receipt", "verify", str(path)]) == 1
    assert "belong into one directory" in capsys.readouterr().err


@given(text=st.one_of(st.binary(max_size=60), st.sampled_from([b"[]", b"{}", b'{"receipts": []}', b'{"receipts": 3}'])))
def test_no_file_makes_reading_fall_over(text: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("any") / "x.json"
    path.write_bytes(text)

    with pytest.raises(SegueError):
        read_receipts(path)
