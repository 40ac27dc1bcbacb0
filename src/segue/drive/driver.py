"""Who drives and how: the identity of a run, what its user asked for, and one run over one Deployment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from segue.drain.judge import Policy
from segue.drive.flow import Flow
from segue.drive.loop import Decide, Drive, Outcome
from segue.drive.observe import Observer
from segue.drive.pinned_config import own_copies
from segue.release.beside import Beside
from segue.release.plan import Approach


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """Who drives and how: this run's identity, and what the user asked for."""

    me: str
    holder_is_gone: Callable[[str], bool]
    approach: Approach = field(default_factory=Approach)
    sampler_image: str = ""  # what looks into old pods that have no shell

    def observer(self, namespace: str, name: str, beside: Beside | None = None) -> Observer:
        """Eyes on one Deployment, or on two side by side."""
        return Observer(
            namespace=namespace,
            name=name,
            me=self.me,
            holder_is_gone=self.holder_is_gone,
            beside=beside,
            route=self.approach.route,
        )

    def drive(self, observer: Observer, decide: Decide, policy: Policy) -> Flow[Outcome]:
        """One run over one Deployment. `policy` says what counts as a live connection: the plan's, where there is
        one, for a release that another command began may keep idle connections although this one's user did not ask."""
        run = Drive(observer=observer, decide=decide, policy=policy, sampler_image=self.sampler_image)
        outcome = yield from run.run()
        if outcome.goes_on and outcome.newest is not None:
            yield from own_copies(observer.namespace, outcome.newest)
        return outcome
