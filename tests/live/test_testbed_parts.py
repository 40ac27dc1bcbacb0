"""What a bed is made of, without starting one: images that hold what they need, files that say what they must."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from segue.model.errors import UsageError
from testbed import cgroups, configs
from testbed.building import Program, folder_of, programs
from testbed.image_recipes import PythonApp, imported_names, python_image, standard_modules, static_image
from testbed.layout import Bed, bed
from testbed.oci import Entry, Image, layer_tar, write_archive
from testbed.versions import RELEASES, release

pytestmark = pytest.mark.live
APP = Path(__file__).resolve().parents[2] / "src" / "segue" / "app"


def test_an_archive_names_every_image_and_stores_a_layer_once(tmp_path: Path) -> None:
    files = {"/app": Entry(content=b"program")}
    images = [Image(name=f"host.org/x:v{n}", files=files, entrypoint=["/app"], env={"V": str(n)}) for n in (1, 2)]

    write_archive(images, tmp_path / "images.tar")

    with tarfile.open(tmp_path / "images.tar") as archive:
        told = archive.extractfile("index.json")
        assert told is not None
        index = json.loads(told.read())
        blobs = [name for name in archive.getnames() if name.startswith("blobs/")]
    assert [m["annotations"]["io.containerd.image.name"] for m in index["manifests"]] == [i.name for i in images]
    assert len(blobs) == 1 + 2 + 2, "one layer; a config and a manifest for each"


def test_equal_files_make_equal_layers_whatever_their_order() -> None:
    one = {"/a/b": Entry(content=b"1"), "/c": Entry(link="/a/b")}
    other = dict(reversed(one.items()))

    assert layer_tar(one) == layer_tar(other)


def test_a_layer_brings_the_folders_its_files_lie_in() -> None:
    with tarfile.open(fileobj=io.BytesIO(layer_tar({"/a/b/c": Entry(content=b"x")}))) as layer:
        assert layer.getnames() == ["a", "a/b", "a/b/c"]


def test_a_python_image_runs_with_nothing_but_its_own_files(tmp_path: Path) -> None:
    """Unpacked into a folder and entered as root of the file system, it says what it should."""
    if os.geteuid() != 0:
        pytest.skip("chroot needs root")
    (tmp_path / "app").mkdir()
    code = 'import json, socket\nprint(json.dumps([1]), "ü".encode("idna"))\n'
    (tmp_path / "app" / "main.py").write_text(code)
    image = python_image("host.org/x:v1", PythonApp(folder=tmp_path / "app", entry="main.py"))
    with tarfile.open(fileobj=io.BytesIO(layer_tar(image.files))) as layer:
        layer.extractall(tmp_path / "root", filter="fully_trusted")

    done = subprocess.run(["chroot", tmp_path / "root", *image.entrypoint], capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("[1] b'xn--tda'\n", "")


def test_a_python_that_imports_nothing_finds_its_library_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("print('hello')\n")
    files = python_image("host.org/x:v1", PythonApp(folder=tmp_path, entry="main.py")).files

    assert any(path.endswith("/os.py") for path in files)
    assert any(path.endswith("/lib-dynload") for path in files)


def test_a_python_image_holds_what_is_imported_and_little_else(tmp_path: Path) -> None:
    shutil.copy(APP / "grace.py", tmp_path)
    names = {file.stem for file in standard_modules(PythonApp(folder=tmp_path, entry="grace.py"))}

    assert {"socket", "selectors", "signal", "os"} <= names
    assert names.isdisjoint({"asyncio", "unittest", "pydoc", "tkinter"})


def test_an_installed_package_is_laid_beside_the_application(tmp_path: Path) -> None:
    """With what it imports of the standard library, and without what is not there: some is for other systems."""
    (tmp_path / "main.py").write_text("from gunicorn.app.wsgiapp import run\n")
    app = PythonApp(folder=tmp_path, entry="main.py", packages=("gunicorn", "packaging", "segue.app"))
    files = python_image("host.org/x:v1", app).files

    assert {"/app/gunicorn/arbiter.py", "/app/packaging/version.py"} <= set(files)
    assert {"/app/segue/__init__.py", "/app/segue/app/gunicorn.py"} <= set(files)
    assert "/app/segue/cli/main.py" not in files
    assert any(path.endswith("/concurrent/futures/thread.py") for path in files)
    with pytest.raises(UsageError, match="no package surely_not_there"):
        python_image("host.org/x:v1", replace(app, packages=("surely_not_there",)))


def test_an_application_that_imports_more_than_the_standard_library_is_refused(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import surely_not_there\n")

    assert imported_names(tmp_path.rglob("*.py")) == {"surely_not_there"}
    with pytest.raises(UsageError, match="surely_not_there"):
        python_image("host.org/x:v1", PythonApp(folder=tmp_path, entry="main.py"))


def test_an_entry_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no main\.py"):
        python_image("host.org/x:v1", PythonApp(folder=tmp_path, entry="main.py"))


def test_a_program_with_shared_libraries_is_no_static_image() -> None:
    with pytest.raises(UsageError, match="shared libraries"):
        static_image("host.org/x:v1", Path(sys.executable).resolve())


@pytest.mark.parametrize("name", RELEASES)
def test_programs_of_one_release_have_folders_of_their_own(name: str) -> None:
    folders = [folder_of(program) for program in programs(release(name))]

    assert len(set(folders)) == len(folders)


def test_a_program_of_another_version_is_another_program() -> None:
    one = Program(name="x", module="m", version="v1", packages=(("x", "."),))
    other = Program(name="x", module="m", version="v2", packages=(("x", "."),))

    assert folder_of(one) != folder_of(other)


def test_a_release_nobody_knows_is_refused() -> None:
    with pytest.raises(UsageError, match=r"1\.12"):
        release("1.12")


def test_a_state_folder_that_the_node_would_hide_is_refused() -> None:
    with pytest.raises(UsageError, match="of its own"):
        bed(Path("/var/lib/x"))


def test_the_proxy_mode_reaches_kube_proxy(tmp_path: Path) -> None:
    paths = dict.fromkeys(("kube", "etcd", "containerd"), tmp_path)
    for mode in ("nftables", "iptables"):
        texts = configs.files(Bed(state=tmp_path), configs.Plan(release="v1", proxy=mode, programs=paths))

        assert json.loads(texts["kube-proxy.json"])["mode"] == mode


def test_removing_a_control_group_that_never_was_leaves_nothing() -> None:
    assert cgroups.remove("segue-testbed-never") == []
