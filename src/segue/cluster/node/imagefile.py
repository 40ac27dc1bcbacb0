"""Reads image map files (YAML or JSON, which is YAML too); every complaint names file, line and path.

    images:
      - image: example.org/shop:*
        command: ["{python}", "{here}/shop.py"]
        args: ["--verbose"]
        env: {MODE: demo}

It must never look for the programs it reads about: they may exist only where the containers run.
"""

from __future__ import annotations

import yaml

from segue.cluster.node.images import ImageEntry
from segue.model.errors import ManifestError, Place

_KEYS = ("image", "command", "args", "env")
_REMEDY = "an image map is: images: [{image: PATTERN, command: [PROGRAM, ...], args: [...], env: {NAME: VALUE}}]"


def read_image_map(text: str, *, file: str, here: str) -> tuple[ImageEntry, ...]:
    """The entries of one file; `here` stands for {here}, the file's directory. ManifestError where it is off."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = Place(file=file, line=mark.line + 1 if mark else 0)
        problem = getattr(error, "problem", None) or str(error)
        raise ManifestError(f"not YAML: {problem}", place=place, remedy=_REMEDY) from error
    reader = _Reader(file, here)
    if root is None:
        raise reader.off(None, "$", "the file is empty")
    top = reader.mapping(root, "$", ("images",))
    if "images" not in top:
        raise reader.off(root, "$", '"images" is missing')
    items = reader.sequence(top["images"], "$.images")
    return tuple(reader.entry(item, f"$.images[{at}]") for at, item in enumerate(items))


class _Reader:
    def __init__(self, file: str, here: str) -> None:
        self._file = file
        self._here = here

    def off(self, node: yaml.Node | None, path: str, message: str) -> ManifestError:
        line = node.start_mark.line + 1 if node is not None else 1
        return ManifestError(message, place=Place(file=self._file, line=line, path=path), remedy=_REMEDY)

    def entry(self, node: yaml.Node, path: str) -> ImageEntry:
        fields = self.mapping(node, path, _KEYS)
        if "image" not in fields:
            raise self.off(node, path, '"image" is missing')
        pattern = self.text(fields["image"], f"{path}.image")
        if not pattern:
            raise self.off(fields["image"], f"{path}.image", "the pattern is empty")
        env: list[tuple[str, str]] = []
        if "env" in fields:
            env = [
                (name, self.text(value, f"{path}.env.{name}"))
                for name, value in self.mapping(fields["env"], f"{path}.env", None).items()
            ]
        return ImageEntry(
            pattern=pattern,
            command=self.texts(fields.get("command"), f"{path}.command"),
            args=self.texts(fields.get("args"), f"{path}.args"),
            env=tuple(env),
            source=f"{self._file}:{node.start_mark.line + 1}",
        )

    def mapping(self, node: yaml.Node, path: str, known: tuple[str, ...] | None) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            raise self.off(node, path, "must be a mapping")
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = self.text(key, path)
            if known is not None and name not in known:
                raise self.off(key, f"{path}.{name}", f'unknown field "{name}", known are {", ".join(known)}')
            if name in found:
                raise self.off(key, f"{path}.{name}", f'field "{name}" is there twice')
            found[name] = value
        return found

    def sequence(self, node: yaml.Node, path: str) -> list[yaml.Node]:
        if not isinstance(node, yaml.SequenceNode):
            raise self.off(node, path, "must be a list")
        return list(node.value)

    def texts(self, node: yaml.Node | None, path: str) -> tuple[str, ...]:
        if node is None:
            return ()
        return tuple(self.text(item, f"{path}[{at}]") for at, item in enumerate(self.sequence(node, path)))

    def text(self, node: yaml.Node, path: str) -> str:
        if not isinstance(node, yaml.ScalarNode) or node.tag == "tag:yaml.org,2002:null":
            raise self.off(node, path, "must be a text")
        return str(node.value).replace("{here}", self._here)
