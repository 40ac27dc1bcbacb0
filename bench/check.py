"""How many manifests `segue check` judges in a second on one core, and what the worst text costs.

The rate is of the library, start excluded: parsed, joined, all rules. Where another linter is on the PATH, both are
timed on the same files, start included. What is hostile goes through the command, in a process of its own each.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.figures import Figure
from segue.check.gathering import Gathered, sets_of
from segue.check.rulebook import judge
from segue.check.settings import Settings

RUNS = 5
COPIES = 12
PAIRS = Path(__file__).parent.parent / "tests" / "golden" / "rules"
SEGUE = [sys.executable, "-c", "from segue.cli.main import main; main()"]
LINTERS = {
    "kube-linter": ["lint", "--fail-if-no-objects-found=false"],
    "kube-score": ["score", "--output-format", "ci"],
}
FILES = 2000
GOOD = "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n"
SIZE = 50_000_000
HOSTILE: dict[str, Callable[[], bytes]] = {
    "50 MB of one scalar": lambda: b"a: " + b"x" * SIZE,
    "50 MB of documents": lambda: b"a: 1\n---\n" * (SIZE // 9),
    "a flow mapping": lambda: b"{" + b", ".join(b"k%d: 1" % at for at in range(240_000)) + b"}",
    "20,000 documents": lambda: (GOOD + "---\n").encode() * 21_000,
    "a line of 3 MB": lambda: b"a: " + b"x" * 3_000_000,
    "depth": lambda: b"[" * 1_000_000,
    "deep JSON": lambda: b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
    "aliases": lambda: (
        b"a0: &a0 [x, x]\n" + b"".join(b"a%d: &a%d [*a%d, *a%d]\n" % (at, at, at - 1, at - 1) for at in range(1, 60))
    ),
    "merges": lambda: (
        b"a0: &a0 {k: 1}\n"
        + b"".join(b"a%d: &a%d {<<: *a%d, k%d: 1}\n" % (at, at, at - 1, at) for at in range(1, 3000))
    ),
    "one key, often": lambda: b"a: 1\n" * 500_000,
    "tabs": lambda: b"a:\n" + b"\t\t\n" * 500_000,
    "NULs": lambda: b"\0" * 1_000_000,
    "UTF-16 without a mark": lambda: GOOD.encode("utf-16-be") * 1000,
    "a template": lambda: b"kind: A\nspec:\n{{- range .Values.x }}\n" + b"  - {{ .y }}\n" * 200_000,
    "JSON objects": lambda: b'{"apiVersion":"v1","kind":"Service","metadata":{"name":"web"}}\n' * 150_000,
}


def figures() -> Iterator[Figure]:
    """The golden pairs' manifests, good and bad, each set in namespaces of its own; then what is hostile."""
    texts = [path.read_text() for path in sorted(PAIRS.glob("*/*.yaml")) if path.stem in {"good", "bad"}]
    yield Figure(
        name="manifests_checked", values=[_rate(texts) for _ in range(RUNS)], unit="/s", goal=2000, at_most=False
    )
    with tempfile.TemporaryDirectory() as folder:
        yield from _beside_others(texts, Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        worst = [_cost([*SEGUE, "check", str(_written(Path(folder), make()))]) for make in HOSTILE.values()]
    yield Figure(name="hostile_manifests_cpu_worst", values=[max(one[0] for one in worst)], unit="s", goal=2)
    yield Figure(name="hostile_manifests_memory_worst", values=[max(one[1] for one in worst)], unit="MB", goal=256)


def _rate(texts: list[str]) -> float:
    objects, began_s = 0, time.process_time()
    gathered = Gathered()
    for copy in range(COPIES):
        for at, text in enumerate(texts):
            gathered.add(text, file=f"{copy}/{at}/web.yaml", namespace=f"n{copy}-{at}")
    for one in sets_of(gathered.sources)[0]:
        objects += judge(one, Settings()).objects
    return objects / (time.process_time() - began_s)


def _beside_others(texts: list[str], folder: Path) -> Iterator[Figure]:
    """segue and each other linter that is there, on the same files."""
    found = {name: path for name in LINTERS if (path := shutil.which(name))}
    if not found:
        return
    files = []
    for at in range(FILES):
        (folder / str(at)).mkdir()
        file = folder / str(at) / "web.yaml"
        file.write_text(texts[at % len(texts)])
        files.append(str(file))
    objects = sum(texts[at % len(texts)].count("apiVersion:") for at in range(FILES))
    commands = {"segue": [*SEGUE, "check", *files]}
    commands |= {name.replace("-", "_"): [path, *LINTERS[name], *files] for name, path in found.items()}
    for name, command in commands.items():
        rates = [objects / _cost(command)[0] for _ in range(RUNS)]
        yield Figure(name=f"manifests_of_files_{name}", values=rates, unit="/s", goal=None)


def _written(folder: Path, content: bytes) -> Path:
    (folder / "bad.yaml").write_bytes(content)
    (folder / "good.yaml").write_text(GOOD)
    return folder


def _cost(command: list[str]) -> tuple[float, float]:
    """Processor seconds and MB at the peak. A small process starts it: a fork keeps the peak of its parent."""
    reader = (
        "import os, sys; pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions="
        "[(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_WRONLY, 0) for fd in (1, 2)]); _, _, u = os.wait4(pid, 0); "
        "print(u.ru_utime + u.ru_stime, u.ru_maxrss / 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", reader, *command],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    cpu_s, memory_mb = map(float, done.stdout.split())
    return cpu_s, memory_mb
