"""Run a tier of the tests, stage by stage, and keep what came of it.

    python tools/run_tests.py test | full | real   [--again] [--record] [--full | --quick]

test   all pure tests and the pinned cross-section on the embedded cluster
full   everything enumerated and repeated, on the embedded cluster
real   the suite of both clusters on a real Kubernetes, which is started for it and ended after it (--full: all of it,
       --quick: only what can run side by side)

--again   what failed beside others is run once more alone. It is said, and what fails twice has failed.
--record  date and result go into docs/reference/test-runs.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "docs" / "reference" / "test-runs.json"
PAGE = RUNS.with_suffix(".md")
BOTH = "tests/live/both"
HEAD = """# Test runs

<!-- made by tools/run_tests.py --record -->

The last whole run of each tier on 2 cores. Limits: `make test` 15 min, `make test-full` 75 min.

| tier | date | commit | result | minutes |
|---|---|---|---|---|
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One call of pytest."""

    name: str
    args: tuple[str, ...]
    marks: str
    processes: int
    real: bool = False


def stages(tier: str, *, full: bool, quick: bool = False) -> list[Stage]:
    """What a tier runs: tests that mostly wait go many at a time, those that need the machine go alone."""
    everything = tier == "full" or full
    size = "" if everything else " and not full"
    if tier == "real":
        both = Stage(name="both", args=(BOTH,), marks=f"not alone{size}", processes=4, real=True)
        marks = f"real or (alone and states){size}"
        alone = Stage(name="alone", args=("tests/live", "tests/docs"), marks=marks, processes=0, real=True)
        return [both] if quick else [both, alone]
    rest = ("tests", f"--ignore={BOTH}")
    return [
        Stage(name="rest", args=rest, marks=f"not alone and not real{size}", processes=3),
        Stage(name="both", args=(BOTH,), marks=f"not alone and not real{size}", processes=5),
        Stage(name="alone", args=("tests",), marks=f"alone and not real{size}", processes=0),
    ]


@dataclass(slots=True, kw_only=True)
class Result:
    """What came of a stage."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    again: int = 0  # failed beside others, passed alone
    ok: bool = True


def run_stage(stage: Stage, *, again: bool) -> Result:
    """Run it; with `again`, what failed once more and alone."""
    say(f"== {stage.name}: {stage.marks}, {stage.processes or 1} at a time")
    several = ["-n", str(stage.processes), "--dist", "loadgroup"] if stage.processes else []
    cache = ["-o", f"cache_dir=.pytest_cache/{'real' if stage.real else 'embedded'}-{stage.name}"]
    base = ["-q", *stage.args, "-m", stage.marks, *cache]
    code, result = _pytest([*base, *several], real=stage.real)
    result.ok = code in {0, 5}  # 5: no test has these marks
    if code == 1 and again:
        say(f"== {stage.name}: {result.failed} failed beside others; once more, alone")
        code, alone = _pytest([*base, "--last-failed"], real=stage.real)
        result.again, result.failed, result.ok = alone.passed, alone.failed, code == 0
    return result


def _pytest(args: list[str], *, real: bool) -> tuple[int, Result]:
    env = {**os.environ, **({"SEGUE_CLUSTER": "real"} if real else {})}
    result = Result()
    last = ""
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", *args], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True
    ) as going:
        assert going.stdout is not None
        for line in going.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            last = line if " in " in line else last
    for count, word in re.findall(r"(\d+) (passed|failed|skipped|errors?)", last):
        name = "failed" if word.startswith("error") else word
        setattr(result, name, getattr(result, name) + int(count))
    return going.returncode, result


@contextmanager
def bed(tier: str) -> Iterator[None]:
    """A real Kubernetes where the tier needs one; one that ran before is left as it was."""
    if tier != "real":
        yield
        return
    command = [sys.executable, "-m", "testbed"]
    was_up = subprocess.run([*command, "status"], cwd=ROOT, capture_output=True, check=False).returncode == 0
    subprocess.run([*command, "up"], cwd=ROOT, check=True)
    try:
        yield
    finally:
        if not was_up:
            subprocess.run([*command, "down"], cwd=ROOT, check=True)


def record(tier: str, results: list[Result], minutes: float) -> None:
    """Keep date and result of a whole run, and write the page anew."""
    known = json.loads(RUNS.read_text()) if RUNS.exists() else {}
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    told = {name: sum(getattr(result, name) for result in results) for name in ("passed", "failed", "skipped", "again")}
    date = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    known[tier] = {"date": date, "commit": commit.stdout.strip(), "minutes": round(minutes, 1), **told}
    RUNS.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    PAGE.write_text(page(known))


def page(known: dict[str, dict[str, object]]) -> str:
    """The page of all tiers' last runs."""
    rows = []
    for tier, row in sorted(known.items()):
        result = f"{row['passed']} passed, {row['failed']} failed, {row['skipped']} skipped"
        if row["again"]:
            result += f", {row['again']} passed only alone"
        rows.append(f"| {tier} | {row['date']} | {row['commit']} | {result} | {row['minutes']} |")
    return HEAD + "\n".join(rows) + "\n"


def say(text: str) -> None:
    """To the person that waits."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """Run a tier; 0 where all passed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("tier", choices=("test", "full", "real"))
    for option in ("--again", "--record", "--full", "--quick"):
        parser.add_argument(option, action="store_true")
    options = parser.parse_args()
    began_s = time.monotonic()
    with bed(options.tier):
        todo = stages(options.tier, full=options.full, quick=options.quick)
        results = [run_stage(stage, again=options.again) for stage in todo]
    minutes = (time.monotonic() - began_s) / 60
    if options.record:
        words = [f"--{word}" for word in ("full", "quick") if getattr(options, word) and options.tier == "real"]
        record(" ".join((options.tier, *words)), results, minutes)
    say(f"== {options.tier}: {'ok' if all(result.ok for result in results) else 'FAILED'} in {minutes:.1f} min")
    return 0 if all(result.ok for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
