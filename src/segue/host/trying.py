"""What a release tries at its stops, in real time: the user's checks and the sources of an analysis."""

from __future__ import annotations

from segue.host.check_runner import CheckRunner
from segue.host.client import KubeClient
from segue.host.measuring import Measuring


class Trying:
    """Both, and their end."""

    def __init__(self, client: KubeClient) -> None:
        self.checks = CheckRunner(client)
        self.measuring = Measuring()

    async def close(self) -> None:
        """End what runs."""
        await self.checks.close()
        await self.measuring.close()
