"""The image map: which command stands for which container image, so that manifests run unchanged.

An entry is {"image": PATTERN, "command": [...], "args": [...], "env": {...}}. A pattern is an image reference in which
`*` stands for any text; later entries win, so a file of the user's overrides what ships. In `command`, `args` and `env`
`{python}`, `{app}`, `{tag}`, `{image}` are replaced: interpreter, directory of the example servers, the image's tag.
It must never look at a disk: whether a command exists is found out by starting it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from segue.model.http import NO_SUCH_IMAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEntry:
    """One line of the map; `source` says where it stands, for messages."""

    pattern: str
    command: tuple[str, ...]
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageProgram:
    """What an image means on this machine: Docker's entrypoint, its default arguments, its environment."""

    entrypoint: tuple[str, ...]
    default_args: tuple[str, ...]
    env: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageMap:
    """All entries; `words` fills the placeholders {python} and {app}."""

    entries: tuple[ImageEntry, ...]
    words: Mapping[str, str]

    def find(self, image: str) -> ImageProgram | None:
        """What the image means, None where no entry matches."""
        for entry in reversed(self.entries):
            if _matches(entry.pattern, image):
                words = {**self.words, "tag": tag_of(image), "image": image}
                return ImageProgram(
                    entrypoint=tuple(_filled(part, words) for part in entry.command),
                    default_args=tuple(_filled(part, words) for part in entry.args),
                    env=tuple((name, _filled(value, words)) for name, value in entry.env),
                )
        return None

    def complaint(self, image: str) -> str:
        """What to tell somebody whose image is not in the map; "" where it is."""
        if any(_matches(entry.pattern, image) for entry in self.entries):
            return ""
        known = ", ".join(dict.fromkeys(entry.pattern for entry in self.entries)) or "nothing"
        return (
            f'{NO_SUCH_IMAGE} "{image}" (it knows {known}); containers run as processes '
            "of this machine: add an entry to an image map file and start the cluster with it"
        )


BUILT_IN = (
    ImageEntry(
        pattern="host.org/images/grace:*",
        command=("{python}", "-I", "-S", "{app}/grace.py"),
        env=(("VERSION", "{tag}"),),
        source="built in",
    ),
    ImageEntry(
        pattern="host.org/segue/agent:*",
        command=("{python}", "-I", "-S", "{app}/agent.py"),
        source="built in",
    ),
)


def tag_of(image: str) -> str:
    """The tag of an image reference; "latest" where it has none, the digest where it is given by one."""
    name, at, digest = image.partition("@")
    if at:
        return digest
    last = name.rsplit("/", 1)[-1]
    return last.partition(":")[2] or "latest"


def _matches(pattern: str, image: str) -> bool:
    if fnmatchcase(image, pattern):
        return True
    has_tag = ":" in image.rsplit("/", 1)[-1] or "@" in image
    return not has_tag and fnmatchcase(f"{image}:latest", pattern)


def _filled(text: str, words: Mapping[str, str]) -> str:
    for name, value in words.items():
        text = text.replace("{" + name + "}", value)
    return text
