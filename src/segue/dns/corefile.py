"""A Corefile as values: server blocks, their plugins with arguments and nested lines, and where each stands.

Only its form is read here, as CoreDNS reads it: words, quotes, comments, braces. What a plugin makes of its words is
`corechecks`' affair. Snippets and imports are kept as blocks and plugins of their own, not expanded.
"""

from __future__ import annotations

from dataclasses import dataclass

from segue.model.errors import ManifestError, Place

PORT = "53"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """One directive: `cache 30 { ... }`."""

    name: str
    args: tuple[str, ...] = ()
    inner: tuple[tuple[str, ...], ...] = ()  # the lines in its braces, as words
    line: int = 0

    def option(self, name: str) -> tuple[str, ...] | None:
        """The words behind a line of its braces; None where it has no such line."""
        return next((words[1:] for words in self.inner if words[0] == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One server block: the zones it answers for."""

    keys: tuple[str, ...]
    plugins: tuple[Plugin, ...] = ()
    line: int = 0

    @property
    def zones(self) -> tuple[str, ...]:
        """The keys without scheme and port, in lower case; "." for everything."""
        return tuple(zone_of(key) for key in self.keys)

    @property
    def is_snippet(self) -> bool:
        """Whether it is no server but something to import."""
        return len(self.keys) == 1 and self.keys[0].startswith("(")

    def plugin(self, name: str) -> Plugin | None:
        """The first directive of that name."""
        return next((one for one in self.plugins if one.name == name), None)


def zone_of(key: str) -> str:
    """The zone of a server block's key: `dns://cluster.local:53` is cluster.local."""
    plain = key.partition("://")[2] or key
    plain = plain.rstrip(",").lower()
    host, colon, port = plain.rpartition(":")
    if colon and (port.isdigit() or not port):
        plain = host
    return plain.rstrip(".") or "."


def parsed(text: str, file: str = "Corefile") -> tuple[Block, ...]:
    """The blocks; ManifestError with the line where braces do not match."""
    lines = _lines(text, file)
    blocks: list[Block] = []
    at = 0
    while at < len(lines):
        line, words = lines[at]
        keys = list(words)
        while keys[-1] != "{" and keys[-1].endswith(",") and at + 1 < len(lines):
            at += 1
            keys += lines[at][1]
        if keys[-1] != "{":
            raise _off(file, line, f"server block {' '.join(keys)} has no {{")
        plugins, at = _plugins(lines, at + 1, file, line)
        blocks.append(Block(keys=tuple(keys[:-1]), plugins=tuple(plugins), line=line))
    return tuple(blocks)


def _plugins(lines: list[tuple[int, list[str]]], at: int, file: str, began: int) -> tuple[list[Plugin], int]:
    found: list[Plugin] = []
    while at < len(lines):
        line, words = lines[at]
        at += 1
        if words == ["}"]:
            return found, at
        if words[-1] != "{":
            found.append(Plugin(name=words[0], args=tuple(words[1:]), line=line))
            continue
        inner: list[tuple[str, ...]] = []
        depth = 1
        while depth:
            if at >= len(lines):
                raise _off(file, line, f"the {{ of {words[0]} is not closed")
            depth += (lines[at][1][-1] == "{") - (lines[at][1] == ["}"])
            if depth:
                inner.append(tuple(lines[at][1]))
            at += 1
        found.append(Plugin(name=words[0], args=tuple(words[1:-1]), inner=tuple(inner), line=line))
    raise _off(file, began, "the { of this server block is not closed")


def _lines(text: str, file: str) -> list[tuple[int, list[str]]]:
    """Lines with words, numbered from 1."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = _words(line, file, number)
        if words:
            found.append((number, words))
    return found


def _words(line: str, file: str, number: int) -> list[str]:
    """Words; quotes keep blanks, and a # that begins a word ends the line."""
    words: list[str] = []
    word, quoted, begun = "", False, False
    for at, letter in enumerate(line):
        if quoted:
            if letter == '"' and line[at - 1] != "\\":
                quoted = False
            else:
                word += letter
        elif letter == '"' and not begun:
            quoted = begun = True
        elif letter.isspace():
            if begun:
                words.append(word)
            word, begun = "", False
        elif letter == "#" and not begun:
            break
        else:
            word, begun = word + letter, True
    if quoted:
        raise _off(file, number, 'a " is not closed')
    return [*words, word] if begun else words


def _off(file: str, line: int, why: str) -> ManifestError:
    return ManifestError(why, place=Place(file=file, line=line))


def written(blocks: tuple[Block, ...]) -> str:
    """The Corefile of blocks."""
    lines: list[str] = []
    for block in blocks:
        lines.append(f"{' '.join(block.keys)} {{")
        for one in block.plugins:
            head = " ".join(_quoted(word) for word in (one.name, *one.args))
            lines.append(f"    {head} {{" if one.inner else f"    {head}")
            lines += [f"        {' '.join(_quoted(word) for word in words)}" for words in one.inner]
            lines += ["    }"] if one.inner else []
        lines.append("}")
    return "".join(f"{line}\n" for line in lines)


def _quoted(word: str) -> str:
    return f'"{word}"' if not word or any(letter.isspace() for letter in word) or word.startswith("#") else word
