"""What goes into an image: a static program, or a Python application with the interpreter and modules that it needs.

    static_image    one program and nothing else: no shell, no exec
    tools_image     a shell and a few tools, and nothing else: what segue looks from into pods without a shell
    python_image    an application folder, this machine's Python, the standard modules that the application imports,
                    and a few tools (sh, cat, sleep, ...) so that exec works

Rule: an image holds only files of this machine and of this repository; nothing is downloaded.
"""

from __future__ import annotations

import ast
import importlib.util
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segue.model.errors import HostError, UsageError
from testbed.configs import PAUSE_IMAGE
from testbed.layout import SOURCES
from testbed.oci import Entry, Image, file_entry

TOOLS = ("sh", "hostname", "cat", "sleep", "ls", "env", "kill", "ps", "touch", "rm", "grep", "head")
GRACE = "host.org/images/grace"
GRACE_STATIC = "host.org/images/grace-static"
SAMPLER = "host.org/segue/sampler:v1"
AGENT = "host.org/segue/agent:v1"
AGENT_MODULES = ("agent", "quiet", "sockets")
SAMPLER_TOOLS = ("sh", "cat", "sleep", "ss")
VERSIONS = ("v0.1", "v0.2")
_PYTHON_IN_IMAGE = "/usr/bin/python3"
_LIBRARY = re.compile(r"(?:=>\s*)?(/\S+)\s+\(0x")
_ALWAYS = ("encodings",)  # found by name at any time, not by an import
_BY_NAME = {"encodings.idna", "os"}  # what looking up a host name loads; by what Python knows its library
# Loaded when first needed
_PARTS = {
    "concurrent": "concurrent.futures.thread",
    "argparse": "shutil",
    "multiprocessing": "multiprocessing.connection",
}
_ONLY_STANDARD = "only the standard library can be imported there"
_LOADED = """
import sys
for name in sys.argv[1:]:
    __import__(name)
for module in list(sys.modules.values()):
    for file in (getattr(module, "__file__", None), getattr(getattr(module, "__spec__", None), "origin", None)):
        if file and file.startswith("/"):
            print(file)
            break
"""
_BASE = {
    "/tmp": Entry(mode=0o1777),  # noqa: S108 - a folder inside an image
    "/etc/passwd": Entry(content=b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n", mode=0o644),
    "/etc/group": Entry(content=b"root:x:0:\nnogroup:x:65534:\n", mode=0o644),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonApp:
    """A folder of Python files, and which of them is run."""

    folder: Path
    entry: str  # relative to the folder
    env: Mapping[str, str] = field(default_factory=dict)
    packages: Sequence[str] = ()  # installed here, pure Python; they are laid beside the application


def static_image(name: str, program: Path, env: Mapping[str, str] | None = None) -> Image:
    """An image that is this one program; UsageError where the program needs libraries."""
    if not program.is_file():
        raise UsageError(f"no program {program}", remedy="name a file")
    if libraries(program):
        raise UsageError(f"{program} needs shared libraries", remedy="link it statically (Go: CGO_ENABLED=0)")
    return Image(name=name, files={"/app": file_entry(program, 0o755)}, entrypoint=["/app"], env=env or {})


def python_image(name: str, app: PythonApp) -> Image:
    """An image with this application and the Python that runs us."""
    entry = app.folder / app.entry
    if not entry.is_file():
        raise UsageError(f"no {app.entry} in {app.folder}", remedy="name the file to run relative to the folder")
    files = dict(_BASE) | _tools(TOOLS)
    interpreter = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    if not interpreter.is_file():
        interpreter = Path(sys.executable).resolve()
    files |= _program_files(interpreter, str(interpreter))
    files[str(Path(sysconfig.get_path("stdlib")) / "lib-dynload")] = Entry()  # looked for even where nothing is in it
    files[_PYTHON_IN_IMAGE] = Entry(link=str(interpreter), mode=0o777)
    for module in standard_modules(app):
        files |= _module_files(module)
    for file in sorted(app.folder.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            files[f"/app/{file.relative_to(app.folder)}"] = file_entry(file)
    for package in app.packages:
        files |= {f"/app/{name}": file_entry(file) for name, file in package_files(package).items()}
    # No site (-S): nothing but the standard library is there to be found
    return Image(name=name, files=files, entrypoint=[_PYTHON_IN_IMAGE, "-I", "-S", f"/app/{app.entry}"], env=app.env)


def tools_image(name: str, tools: Sequence[str]) -> Image:
    """Programs of this machine with the libraries that they need."""
    return Image(name=name, files=dict(_BASE) | _tools(tools), entrypoint=["/bin/sh"])


def agent_image(name: str = AGENT) -> Image:
    """The agent, as it lies in segue's package."""
    with tempfile.TemporaryDirectory() as folder:
        return python_image(name, PythonApp(folder=Path(folder), entry=lay_out_agent(Path(folder))))


def lay_out_agent(folder: Path) -> str:
    """Copy the agent's modules into a folder for an image; which file of it is run."""
    (folder / "segue" / "app").mkdir(parents=True)
    for file in ("__init__.py", "app/__init__.py", *(f"app/{each}.py" for each in AGENT_MODULES)):
        shutil.copy(SOURCES.parent / "src" / "segue" / file, folder / "segue" / file)
    return "segue/app/agent.py"


def _tools(names: Sequence[str]) -> dict[str, Entry]:
    files: dict[str, Entry] = {}
    for name in names:
        if (place := shutil.which(name, path="/usr/bin:/bin")) is not None:
            files |= _program_files(Path(place).resolve(), f"/bin/{name}")
    return files


def standard_modules(app: PythonApp) -> list[Path]:
    """Files of the standard library that are loaded once the application's imports have been done."""
    library = Path(sysconfig.get_path("stdlib"))
    own = {file.stem for file in app.folder.iterdir()} | {package.partition(".")[0] for package in app.packages}
    wanted = {name for name in imported_names(app.folder.rglob("*.py")) if name.partition(".")[0] not in own}
    for package in app.packages:
        wanted |= _importable(imported_names(package_files(package).values()))
    wanted |= {part for name, part in _PARTS.items() if name in {one.partition(".")[0] for one in wanted}}
    names = sorted(wanted | _BY_NAME)
    # Asked of an interpreter, not read from sources: read, every module leads to every other
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _LOADED, *names], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1]
        raise UsageError(f"{app.folder} imports what an image cannot have: {reason}", remedy=_ONLY_STANDARD)
    found = {Path(file) for file in done.stdout.splitlines()}
    for package in _ALWAYS:
        found |= set((library / package).glob("*.py"))
    return sorted(file for file in found if file.is_relative_to(library))


def package_files(package: str) -> dict[str, Path]:
    """The Python files of an installed package by their path below the place where it is found."""
    try:
        found = importlib.util.find_spec(package)
    except ImportError:
        found = None
    if found is None or not found.submodule_search_locations:
        raise UsageError(f"no package {package} is installed here", remedy="pip install it, or leave it out")
    folder = Path(found.submodule_search_locations[0])
    root = folder.parents[package.count(".")]
    files = [file for file in sorted(folder.rglob("*.py")) if "__pycache__" not in file.parts]
    above = [parent / "__init__.py" for parent in folder.parents if parent != root and parent.is_relative_to(root)]
    return {str(file.relative_to(root)): file for file in [*above, *files]}


def _importable(names: Iterable[str]) -> set[str]:
    """Those of a package's imports that are the standard library's and are there: many are for other systems."""
    standard = {name for name in names if name.partition(".")[0] in sys.stdlib_module_names}
    tried = "import sys\nfor name in sys.argv[1:]:\n try:\n  __import__(name)\n  print(name)\n except ImportError: pass"
    argv = [sys.executable, "-I", "-S", "-c", tried, *sorted(standard)]
    return set(subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split())


def imported_names(files: Iterable[Path]) -> set[str]:
    """Modules that these files name in any import, wherever it stands."""
    names: set[str] = set()
    for file in sorted(files):
        for node in ast.walk(ast.parse(file.read_bytes(), str(file))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module)
    return names


def _module_files(module: Path) -> dict[str, Entry]:
    """A module's source and compiled form, or an extension with its libraries."""
    if module.suffix != ".py":
        return _program_files(module, str(module))
    tag = sys.implementation.cache_tag
    compiled = module.parent / "__pycache__" / f"{module.stem}.{tag}.pyc"
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "module.pyc"
        # without times in it: the file's own time is not kept, and need not be
        form = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(module), str(made), str(module), doraise=True, invalidation_mode=form)
        return {str(module): file_entry(module, 0o644), str(compiled): file_entry(made, 0o644)}


def _program_files(source: Path, target: str) -> dict[str, Entry]:
    """A program or extension, and the shared libraries it needs, at the places where its loader looks."""
    files = {target: file_entry(source, 0o755)}
    for library in libraries(source):
        files[str(library)] = file_entry(library, 0o755)
    return files


def libraries(program: Path) -> list[Path]:
    """What the loader would map, the loader included; empty for a static program or a script."""
    done = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False)
    if "=> not found" in done.stdout:
        raise HostError(f"{program} lacks libraries:\n{done.stdout}", remedy="install them")
    return [Path(found) for found in _LIBRARY.findall(done.stdout)] if done.returncode == 0 else []


def bed_images(programs: Mapping[str, Path], coredns: str) -> Iterable[Image]:
    """What every bed has: its own pause and DNS, the seed's server twice, with a shell and without, and the sampler."""
    yield static_image(PAUSE_IMAGE, programs["pause"] / "pause")
    yield static_image(coredns, programs["coredns"] / "coredns")
    yield tools_image(SAMPLER, SAMPLER_TOOLS)
    yield agent_image()
    grace = SOURCES.parent / "src" / "segue" / "app" / "grace.py"
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(grace, folder)
        whole = python_image("", PythonApp(folder=Path(folder), entry="grace.py"))
    for version in VERSIONS:
        env = {"VERSION": version}
        name = f"{GRACE}:{version}"
        yield Image(name=name, files=whole.files, entrypoint=whole.entrypoint, env=env)
        yield static_image(f"{GRACE_STATIC}:{version}", programs["grace-static"] / "grace", env)
