"""What a Corefile does badly for a cluster, and the Corefile without that.

Rule: a repair changes nothing else; what needs an answer of the owner's is said and left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from segue.dns.corefile import Block, Plugin
from segue.model.objects import Obj

CACHE_S = "30"
LAMEDUCK = "12s"  # until all nodes send elsewhere; users report that 5 to 10 s lose little, not nothing
CONCURRENT = "1000"  # about 2 kB each
AUTOPATH = "autopath"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing, and the blocks as they would be without it; `repaired` is None where the owner must choose."""

    line: int
    message: str
    why: str
    repaired: Callable[[Block], Block] | None = None

    def as_obj(self) -> Obj:
        """For machines."""
        return {"line": self.line, "message": self.message, "why": self.why, "repaired": self.repaired is not None}


def judged(blocks: tuple[Block, ...], domain: str = "cluster.local") -> list[Finding]:
    """All findings, by line."""
    found = [one for block in blocks if not block.is_snippet for one in _of_block(block, domain)]
    return sorted(found, key=lambda one: one.line)


def repaired(blocks: tuple[Block, ...], domain: str = "cluster.local") -> tuple[Block, ...]:
    """The same without what can be repaired."""
    made = []
    for block in blocks:
        after = block
        for one in [] if block.is_snippet else _of_block(block, domain):
            after = one.repaired(after) if one.repaired else after
        made.append(after)
    return tuple(made)


def _of_block(block: Block, domain: str) -> Iterator[Finding]:
    yield from _autopath(block, domain)
    yield from _life(block)
    forward = block.plugin("forward")
    if forward is not None and block.plugin("cache") is None:
        yield Finding(
            line=forward.line,
            message="forward without cache",
            why="every question for a name outside goes upstream, and so does every name of the search list",
            repaired=lambda one: _with(one, Plugin(name="cache", args=(CACHE_S,))),
        )
    if forward is not None and forward.option("max_concurrent") is None:
        yield Finding(
            line=forward.line,
            message="forward without max_concurrent",
            why="an upstream that is silent fills the memory with questions that wait; beyond it they are refused",
            repaired=lambda one: _within(one, "forward", ("max_concurrent", CONCURRENT)),
        )
    for name, why in _WANTED.items():
        if block.plugin(name) is None:
            yield Finding(line=block.line, message=f"no {name}", why=why, repaired=_adding(name))


_WANTED = {
    "errors": "what fails is not logged",
    "prometheus": "nobody can see requests, cache hits and failures; segue dns measure reads them",
}


def _adding(name: str) -> Callable[[Block], Block]:
    args = (":9153",) if name == "prometheus" else ()
    return lambda one: _with(one, Plugin(name=name, args=args))


def _autopath(block: Block, domain: str) -> Iterator[Finding]:
    found = block.plugin(AUTOPATH)
    if found is None:
        return
    kubernetes = block.plugin("kubernetes")
    if not found.args:
        yield Finding(
            line=found.line,
            message="autopath without an argument",
            why="CoreDNS does not start with it: autopath must be told whose search list, @kubernetes or a resolv.conf",
            repaired=lambda one: _without(one, AUTOPATH),
        )
    elif found.args[-1] == "@kubernetes" and kubernetes is None:
        yield Finding(
            line=found.line,
            message="autopath @kubernetes in a block without kubernetes",
            why="the search list comes from the kubernetes plugin of the same block, and names of the search list "
            f"(...{domain}) never come to a block of other zones",
            repaired=lambda one: _without(one, AUTOPATH),
        )
    elif found.args[-1] == "@kubernetes" and kubernetes is not None and kubernetes.option("pods") != ("verified",):
        yield Finding(
            line=found.line,
            message="autopath @kubernetes without pods verified",
            why="only then does CoreDNS know which pod asks; it costs memory for every pod",
        )


def _life(block: Block) -> Iterator[Finding]:
    if block.plugin("kubernetes") is None:
        return
    health, ready = block.plugin("health"), block.plugin("ready")
    if health is None or health.option("lameduck") is None:
        yield Finding(
            line=health.line if health else block.line,
            message="health without lameduck",
            why="a CoreDNS that is replaced stops at once, while nodes still send it questions: lookups wait for 5 s",
            repaired=lambda one: _within(one, "health", ("lameduck", LAMEDUCK)),
        )
    if ready is None:
        yield Finding(
            line=block.line,
            message="no ready",
            why="a readiness probe has nothing to ask, so a CoreDNS that knows no Service yet gets questions",
            repaired=_adding("ready"),
        )


def _with(block: Block, plugin: Plugin) -> Block:
    return block if block.plugin(plugin.name) else replace(block, plugins=(*block.plugins, plugin))


def _without(block: Block, name: str) -> Block:
    return replace(block, plugins=tuple(one for one in block.plugins if one.name != name))


def _within(block: Block, name: str, line: tuple[str, ...]) -> Block:
    """The block with one more line in a plugin's braces."""
    known = _with(block, Plugin(name=name))
    plugins = (replace(one, inner=(*one.inner, line)) if one.name == name else one for one in known.plugins)
    return replace(known, plugins=tuple(plugins))
