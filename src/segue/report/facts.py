"""The figures at the head of a report, and what was asked in words."""

from __future__ import annotations

from collections import Counter

from segue.model.objects import Obj
from segue.proof.bound import say_share
from segue.report.markup import Element, el


def facts(receipt: Obj) -> Element:
    """Of the load where there was one, else of the release."""
    rows = _of_load(receipt) if receipt["sent"] else _of_release(receipt)
    return el(
        "dl",
        *[el("div", el("dt", name), el("dd", value), el("dd", note, class_="note")) for name, value, note in rows],
    )


def asked_words(asked: Obj) -> str:
    """The command, as a person typed it."""
    words = [str(asked.get("command") or f"drill {asked.get('drill', '')}")]
    words += [f"-f {name}" for name in asked.get("files") or []]
    words += [str(asked["deployment"])] if asked.get("deployment") else []
    words += [f"--image {name}" for name in asked.get("images") or []]
    strategy = asked.get("strategy")
    words += [f"--strategy {strategy}"] if strategy and strategy != "all-first" else []
    return "segue " + " ".join(word for word in words if word)


def _of_load(receipt: Obj) -> list[tuple[str, str, str]]:
    load, latency = receipt["load"], receipt["latencyMs"]
    window = receipt["exposure"]
    bound = receipt["lostShareBound95"]
    return [
        ("sent while it mattered", f"{receipt['sent']:,}", f"{window['fromS']:.1f} s to {window['toS']:.1f} s"),
        (
            "lost",
            f"{receipt['lost']:,}",
            f"the true share is at most {say_share(bound)} (95 %)" if bound is not None else "",
        ),
        ("load", f"{load.get('ratePerSecond', 0):,g}/s", f"open loop, {load.get('mode', '')} connections"),
        ("latency", f"{latency['p50']:g} ms", f"p99 {latency['p99']:g} ms, worst {latency['max']:g} ms"),
        ("longest silence", f"{receipt['longestGapMs']:g} ms", "between two good answers"),
    ]


def _of_release(receipt: Obj) -> list[tuple[str, str, str]]:
    window = receipt["exposure"]
    took_s = window["toS"] - window["fromS"]
    reasons = Counter(str(pod["reason"]) for pod in receipt["pods"])
    sources = sorted({str(pod["evidenceSource"]) for pod in receipt["pods"] if pod["evidenceSource"]})
    kinds = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    return [
        ("took", f"{took_s:.1f} s", "from the first action to the last"),
        ("steps", f"{len(receipt['actions']):,}", "each with its reason and its barrier"),
        ("old pods let go", f"{len(receipt['pods']):,}", kinds),
        ("cut off", f"{reasons['capped'] + reasons['forced']:,}", "old pods that were ended while still busy"),
        ("evidence", ", ".join(sources) or "-", "who told whether old pods were quiet"),
    ]
