"""Asks apps and Prometheus about pods whose template says so: `drain.told` reads what they answer.

Rule: who fails three times in a row, or tells what is too old, is not asked about that pod again; the pod is left to
the next source, and the reason is said once. Until then its last answer stands, and proves no silence after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from segue.drain.judge import Watch
from segue.drain.samples import ProcText
from segue.drain.told import Word, heard, word_of
from segue.drive.flow import AskWords, Flow, Progress
from segue.model.objects import annotations_of
from segue.model.workloads import Pod

FAILURES_MAX = 3
ASK_EVERY_S = 0.5  # an app does other things than to answer us


@dataclass(slots=True, kw_only=True)
class Words:
    """What is known of the words of one release's pods."""

    namespace: str
    lost: dict[str, str] = field(default_factory=dict)  # by pod: why nobody is asked about it any more
    failures: dict[str, int] = field(default_factory=dict)
    asked_s: dict[str, float] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)

    def listen(self, pods: Iterable[Pod], watches: Mapping[str, Watch], now_s: float) -> Flow[tuple[float, list[Pod]]]:
        """Ask about those that have somebody to ask; the time, and the pods that are left to other sources."""
        words: dict[str, Word] = {}
        due: dict[str, Word] = {}
        rest: list[Pod] = []
        for pod in pods:
            word = None if pod.name in self.lost else self._word(pod)
            if word is None:
                rest.append(pod)
                continue
            words[pod.name] = word
            if now_s - self.asked_s.get(pod.name, -ASK_EVERY_S) >= ASK_EVERY_S:
                due[pod.name] = word
                self.asked_s[pod.name] = now_s
        if due:
            answer = yield AskWords(words=due)
            now_s = answer.now_s
            for name, said in answer.texts.items():
                self._take(words[name], watches[name], name, said, now_s)
        yield from self._tell()
        by_name = {pod.name: pod for pod in pods}
        return now_s, [*rest, *(by_name[name] for name in words if name in self.lost)]

    def _word(self, pod: Pod) -> Word | None:
        word = word_of(annotations_of(pod.obj), pod=pod.name, namespace=self.namespace)
        if isinstance(word, str):
            self.lost[pod.name] = word
            return None
        return word

    def _take(self, word: Word, watch: Watch, name: str, said: ProcText | str, now_s: float) -> None:
        sample = said if isinstance(said, str) else heard(word, said)
        if isinstance(sample, str):
            self.failures[name] = self.failures.get(name, 0) + 1
            if self.failures[name] >= FAILURES_MAX:
                self.lost[name] = sample
            return
        old_s = now_s - sample.at_s
        if old_s > sample.fresh_s:
            self.lost[name] = f"{word.shown}: the newest of it is {old_s:.0f} s old"
            return
        self.failures[name] = 0
        if watch.last is None or sample.counts != watch.last.counts or sample.at_s > watch.last.at_s:
            watch.note(sample)

    def _tell(self) -> Flow[None]:
        """Say once for each reason that other sources are asked instead."""
        reasons = {name: why.replace(name, "...") for name, why in self.lost.items()}
        for reason in sorted(set(reasons.values()) - self.told):
            self.told.add(reason)
            count = sum(one == reason for one in reasons.values())
            yield Progress(because=reason, action=f"look at {count} pod{'s' if count != 1 else ''} in another way")
