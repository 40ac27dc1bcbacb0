from __future__ import annotations

import pytest

from segue.cluster.node.imagefile import read_image_map
from segue.cluster.node.images import BUILT_IN, ImageEntry, ImageMap, tag_of
from segue.model.errors import ManifestError

WORDS = {"python": "/usr/bin/python3", "app": "/opt/segue/app"}


def map_of(*entries: ImageEntry) -> ImageMap:
    return ImageMap(entries=BUILT_IN + entries, words=WORDS)


def test_the_seeds_image_is_the_example_server_that_answers_with_its_tag() -> None:
    program = map_of().find("host.org/images/grace:v0.1")

    assert program is not None
    assert program.entrypoint == ("/usr/bin/python3", "-I", "-S", "/opt/segue/app/grace.py")
    assert program.env == (("VERSION", "v0.1"),)


def test_an_image_without_a_tag_is_the_latest() -> None:
    program = map_of().find("host.org/images/grace")

    assert program is not None
    assert program.env == (("VERSION", "latest"),)


def test_an_image_that_nothing_matches_is_not_found_and_the_complaint_names_it() -> None:
    images = map_of()

    assert images.find("nginx:1.29") is None
    assert '"nginx:1.29"' in images.complaint("nginx:1.29")
    assert "host.org/images/grace:*" in images.complaint("nginx:1.29")


def test_a_later_entry_wins() -> None:
    own = ImageEntry(pattern="host.org/*", command=("mine",))
    program = map_of(own).find("host.org/images/grace:v0.1")

    assert program is not None
    assert program.entrypoint == ("mine",)


@pytest.mark.parametrize(
    ("image", "tag"),
    [
        ("nginx", "latest"),
        ("nginx:1.29", "1.29"),
        ("registry:5000/shop", "latest"),
        ("registry:5000/shop:7", "7"),
        ("shop@sha256:abc", "sha256:abc"),
    ],
)
def test_the_tag_of_an_image(image: str, tag: str) -> None:
    assert tag_of(image) == tag


GOOD = """\
images:
  - image: example.org/shop:*
    command: ["{python}", "{here}/shop.py"]
    args: [--port, 8080]
    env:
      MODE: demo
  - image: example.org/free:*
"""


def test_a_file_is_read_with_its_own_directory() -> None:
    shop, free = read_image_map(GOOD, file="images.yaml", here="/srv/maps")

    assert shop.command == ("{python}", "/srv/maps/shop.py")
    assert shop.args == ("--port", "8080")
    assert shop.env == (("MODE", "demo"),)
    assert shop.source == "images.yaml:2"
    assert free.command == ()


def test_json_is_read_too() -> None:
    (entry,) = read_image_map('{"images": [{"image": "a:*", "command": ["b"]}]}', file="images.json", here="/")

    assert entry.command == ("b",)


@pytest.mark.parametrize(
    ("text", "line", "path", "complaint"),
    [
        ("", 1, "$", "the file is empty"),
        ("images: [", 1, "", "not YAML"),
        ("imagse: []", 1, "$.imagse", 'unknown field "imagse", known are images'),
        ("{}", 1, "$", '"images" is missing'),
        ("images:\n  image: a", 2, "$.images", "must be a list"),
        ("images:\n  - command: [a]", 2, "$.images[0]", '"image" is missing'),
        ("images:\n  - image: a\n    comand: [a]", 3, "$.images[0].comand", 'unknown field "comand"'),
        ("images:\n  - image: a\n    command: a", 3, "$.images[0].command", "must be a list"),
        ("images:\n  - image: a\n    command: [[a]]", 3, "$.images[0].command[0]", "must be a text"),
        ("images:\n  - image: a\n    env: {A: }", 3, "$.images[0].env.A", "must be a text"),
        ("images:\n  - image: a\n    image: b", 3, "$.images[0].image", "is there twice"),
        ("images:\n  - image: ''", 2, "$.images[0].image", "the pattern is empty"),
    ],
)
def test_a_file_that_is_off_is_refused_with_its_place(text: str, line: int, path: str, complaint: str) -> None:
    with pytest.raises(ManifestError) as raised:
        read_image_map(text, file="images.yaml", here="/")

    assert complaint in raised.value.message
    assert raised.value.place is not None
    assert raised.value.place.file == "images.yaml"
    assert raised.value.place.path == path
    if path:
        assert raised.value.place.line == line
    assert "images:" in raised.value.remedy
