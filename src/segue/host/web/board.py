"""What the page was last told: one document, and everybody who waits for the next one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import msgspec

from segue.model.objects import Obj


@dataclass(slots=True, kw_only=True)
class Board:
    """The parts of the document, by who writes them. A document that says nothing new is not told again."""

    parts: Obj = field(default_factory=dict)
    number: int = 0
    text: bytes = b"{}"
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, **parts: object) -> None:
        """Replace parts of the document."""
        self.parts.update(parts)
        text = msgspec.json.encode(self.parts)
        if text == self.text:
            return
        self.text = text
        self.number += 1
        waiting, self.changed = self.changed, asyncio.Event()
        waiting.set()

    async def newer(self, number: int, limit_s: float) -> bool:
        """Wait for a document after this one; False where none came in time."""
        if self.number > number:
            return True
        try:
            async with asyncio.timeout(limit_s):
                await self.changed.wait()
        except TimeoutError:
            return False
        return True
