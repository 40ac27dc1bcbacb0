"""StatefulSets and DaemonSets as flows: plan, release, undo, restart, abort, and a word to what is under way.

Rule: everything is looked at and tried out before the first write, as for a Deployment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from segue.drive.driver import Driver
from segue.drive.flow import Flow, Progress, Sleep, ask, body_of, error_of
from segue.drive.loop import Outcome
from segue.drive.native_loop import DecideNative, NativeDrive
from segue.drive.native_observe import NativeObserver
from segue.drive.prepare import Placed, changes_of, creation, manifest_fault, metadata_of
from segue.drive.running import nothing_changes, with_images
from segue.drive.steering import TRIES_MAX, Steered, Word, said_of, with_word
from segue.model.errors import Conflict, Refused
from segue.model.manifest import Document
from segue.model.natives import PLURALS, Native, Revision
from segue.model.objects import Obj, copy_of, rfc3339
from segue.model.workloads import RESTARTED_AT
from segue.release.actions import PURPOSE
from segue.release.memory import Memory
from segue.release.native_actions import Amend, native_request
from segue.release.native_plan import check_manner, make_native_plan, resume_native_plan
from segue.release.native_release import decide_native, decide_native_abort, decide_settled, is_at
from segue.release.native_snapshot import NativeSnapshot
from segue.release.natives import NATIVE_SETTINGS, NativePlan
from segue.release.plan import Target, digest_of
from segue.release.requests import patch_workload

SEEN_WITHIN_S = 10.0  # a controller sees a new spec within that, or is not there


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeProposal:
    """What a release of one would do: `plan` None where there is nothing to lose or nothing to do."""

    placed: Placed
    live: Obj | None
    target: Target
    plan: NativePlan | None
    note: str = ""
    resumes: bool = False

    @property
    def said(self) -> str:
        """Kind and name."""
        return f"{self.placed.document.kind} {self.placed.document.name}"


def _observer(placed: Placed, driver: Driver) -> NativeObserver:
    return NativeObserver(
        kind=placed.document.kind,
        namespace=placed.namespace,
        name=placed.document.name,
        me=driver.me,
        holder_is_gone=driver.holder_is_gone,
    )


def propose_natives(
    tried: Sequence[tuple[Placed, Obj | None, Obj]], driver: Driver
) -> Flow[tuple[NativeProposal, ...]]:
    """What a release of the manifest's StatefulSets and DaemonSets would do."""
    rows = [row for row in tried if row[0].document.kind in PLURALS]
    alone = all(row[0].document.kind != "Deployment" for row in tried)
    if rows and driver.approach.together:
        said = f"{rows[0][0].document.kind} {rows[0][0].document.name}"
        raise Refused(
            f"--together needs all new pods beside the old ones, which {said} cannot have",
            remedy="release it by a file of its own first",
        )
    found = []
    for placed, live, wanted in rows:
        found.append((yield from _propose(placed, live, wanted, driver, alone=alone)))
    return tuple(found)


def _propose(placed: Placed, live: Obj | None, wanted: Obj, driver: Driver, *, alone: bool) -> Flow[NativeProposal]:
    document = placed.document
    if live is None:
        target = Target(kind="release", template=wanted["spec"]["template"], after={}, metadata={})
        return NativeProposal(placed=placed, live=None, target=target, plan=None, note="it is new: nothing can be lost")
    seen = yield from _seen(_observer(placed, driver))
    changes, memory = changes_of(live, document), seen.memory
    after = {key: wanted["spec"].get(key) for key in {*NATIVE_SETTINGS, *changes} - {"template", "selector"}}
    target = Target(
        kind="release",
        template=wanted["spec"]["template"],
        after=memory.after if memory is not None and memory.kind == "release" else after,
        metadata=metadata_of(document, live),
    )
    proposal = NativeProposal(placed=placed, live=live, target=target, plan=None)
    _check_free(seen, target)
    approach = driver.approach
    if alone:
        check_manner(seen.native, approach)
    if memory is not None:
        plan = resume_native_plan(target, seen, memory, approach)
        return replace(proposal, plan=plan, note="it goes on", resumes=True)
    if seen.native.desired == 0:
        return replace(proposal, note="it has no pods: nothing can be lost")
    plan = make_native_plan(target, seen, approach)
    if is_at(plan, seen):
        changed = [key for key, value in target.after.items() if seen.native.spec.get(key) != value]
        note = f"the pods stay as they are; {', '.join(changed)} changes" if changed else "already at this version"
        return replace(proposal, note=note)
    return replace(proposal, plan=plan)


def _seen(observer: NativeObserver) -> Flow[NativeSnapshot]:
    """A look, once its controller has seen the newest spec, or has had its time for that."""
    seen = yield from observer.observe()
    began_s = seen.now_s
    while seen.newest is None and seen.now_s < began_s + SEEN_WITHIN_S:
        yield Sleep(for_s=0.1)
        seen = yield from observer.observe()
    return seen


def _check_free(seen: NativeSnapshot, target: Target) -> None:
    """Nobody else drives, and what is under way is this very release."""
    native, memory = seen.native, seen.memory
    if seen.held_by:
        raise Conflict(
            f"another segue drives {native.said} now: {seen.held_by}",
            remedy=f"wait until it has ended; segue status {native.name} shows what it does",
        )
    if memory is None:
        return
    if memory.aborting:
        raise Conflict(
            f"the {memory.kind} of {native.said} is being aborted",
            remedy=f"finish that with: segue abort {native.name}",
        )
    if memory.kind != target.kind or memory.digest != target.digest:
        again = {"undo": f"segue undo {native.name}", "restart": f"segue restart {native.name}"}
        command = again.get(memory.kind, "segue release with its own manifest")
        raise Conflict(
            f"another {memory.kind} of {native.said} is under way",
            remedy=f"finish it ({command}), or take it back: segue abort {native.name}",
        )


def release_natives(proposals: Sequence[NativeProposal], driver: Driver) -> Flow[tuple[Outcome, ...]]:
    """One after the other, up to the first that stops or is held: what comes after may need it."""
    outcomes: list[Outcome] = []
    for proposal in proposals:
        outcomes.append((yield from _release(proposal, driver)))
        if not outcomes[-1].goes_on:
            break
    return tuple(outcomes)


def _release(proposal: NativeProposal, driver: Driver) -> Flow[Outcome]:
    placed, target = proposal.placed, proposal.target
    observer = _observer(placed, driver)
    if proposal.plan is not None:
        return (yield from _drive(observer, partial(decide_native, proposal.plan)))
    if proposal.live is None:
        yield Progress(because=proposal.note, action=f"create {proposal.said}")
        _, (answer,) = yield from ask(creation(placed, dry_run=False))
        if answer.code >= 400:
            raise manifest_fault(placed.document, answer)
    else:
        live = Native(kind=observer.kind, obj=proposal.live)
        spec = dict(target.after) | ({"template": target.template} if live.desired == 0 else {})
        if any(live.spec.get(key) != value for key, value in spec.items()):
            yield Progress(because=proposal.note, action=f"update {proposal.said}")
            labels, annotations = target.metadata["labels"], target.metadata["annotations"]
            plural = PLURALS[observer.kind]
            _, (answer,) = yield from ask(
                patch_workload(live.obj, plural, spec, labels=labels, annotations=annotations)
            )
            body_of(answer, proposal.said)
    seen = yield from _seen(observer)
    memory = Memory(id="", kind="release", digest="", begun_s=0.0)
    plan = resume_native_plan(target, seen, memory, driver.approach)
    return (yield from _drive(observer, partial(decide_settled, plan)))


def _drive(observer: NativeObserver, decide: DecideNative) -> Flow[Outcome]:
    return (yield from NativeDrive(observer=observer, decide=decide).run())


def abort_native(observer: NativeObserver, driver: Driver) -> Flow[Outcome]:
    """Back to the version before, the broken pod first."""
    seen = yield from observer.observe()
    memory = seen.memory or Memory(id="", kind="release", digest="", begun_s=0.0)
    plan = resume_native_plan(_target(memory, seen.native.template), seen, memory, driver.approach)
    return (yield from _drive(observer, partial(decide_native_abort, plan)))


def undo_native(observer: NativeObserver, revision: int | None, driver: Driver) -> Flow[Outcome]:
    """Release the template of an earlier revision, with the same care."""
    seen = yield from _seen(observer)
    template = _earlier(seen, revision)
    return (yield from _to(observer, seen, _own_target("undo", template, seen), driver))


def restart_native(observer: NativeObserver, driver: Driver) -> Flow[Outcome]:
    """Other pods of the same version; what tells them apart is kubectl's own annotation."""
    seen = yield from _seen(observer)
    memory, native = seen.memory, seen.native
    template = native.template
    here = Target(kind="restart", template=template, after={}, metadata={})
    arrived = seen.lease is not None and seen.lease.annotations.get(PURPOSE) == here.id
    if memory is None and not arrived:
        template = copy_of(template)
        metadata = template.setdefault("metadata", {})
        metadata["annotations"] = {**(metadata.get("annotations") or {}), RESTARTED_AT: rfc3339(seen.now_s)}
    if native.desired == 0:
        raise Refused(f"{native.said} has no pods to restart", remedy="kubectl scale brings some")
    return (yield from _to(observer, seen, _own_target("restart", template, seen), driver))


def _own_target(kind: str, template: Obj, seen: NativeSnapshot) -> Target:
    """A target that changes nothing but the template."""
    memory = seen.memory
    settings: Obj = {key: seen.native.spec.get(key) for key in NATIVE_SETTINGS}
    after = memory.after if memory is not None and memory.kind == kind else settings
    return Target(kind=kind, template=template, after=after, metadata={})


def _to(observer: NativeObserver, seen: NativeSnapshot, target: Target, driver: Driver) -> Flow[Outcome]:
    _check_free(seen, target)
    memory = seen.memory
    if memory is not None:
        plan = resume_native_plan(target, seen, memory, driver.approach)
    else:
        check_manner(seen.native, driver.approach)
        plan = make_native_plan(target, seen, driver.approach)
        for warning in plan.warnings:
            yield Progress(because=warning)
    return (yield from _drive(observer, partial(decide_native, plan)))


def document_of_native(observer: NativeObserver, images: Sequence[str]) -> Flow[Document]:
    """A document of what runs, with these images."""
    seen = yield from observer.observe()
    native, memory = seen.native, seen.memory
    if not images:
        raise nothing_changes(native.said)
    template = with_images(native.template, images, native.said)
    old = seen.revision_named(memory.old_set) if memory is not None else None
    if memory is not None and old is not None and digest_of(template) != memory.digest:
        template = with_images(old.template, images, native.said)
    obj: Obj = {
        "apiVersion": "apps/v1",
        "kind": native.kind,
        "metadata": {"name": native.name, "namespace": native.namespace},
        "spec": {"template": template},
    }
    return Document(obj=obj, file=f"{native.kind.lower()}/{native.name}", line=0, lines={}, from_running=True)


def _earlier(seen: NativeSnapshot, revision: int | None) -> Obj:
    rows: list[Revision] = sorted(seen.revisions, key=lambda one: one.number)
    memory, newest, said = seen.memory, seen.newest, seen.native.said
    if memory is not None and memory.kind == "undo":
        return seen.native.template  # its very first patch has brought it
    here = Target(kind="undo", template=seen.native.template, after={}, metadata={})
    if seen.lease is not None and seen.lease.annotations.get(PURPOSE) == here.id:
        return here.template  # an undo that died before it had dropped its Lease: it has arrived
    if revision is not None:
        named = [one for one in rows if one.number == revision]
        if not named:
            known = ", ".join(str(one.number) for one in rows) or "none"
            raise Refused(f"{said} has no revision {revision} (there are {known})", remedy="segue history")
        return named[0].template
    earlier = [one for one in rows if newest is None or one.number < newest.number]
    if not earlier:
        raise Refused(
            f"{said} has no earlier revision to go back to",
            remedy="its ControllerRevisions are its history; revisionHistoryLimit says how many are kept",
        )
    return earlier[-1].template


def _target(memory: Memory, template: Obj) -> Target:
    return Target(kind=memory.kind, template=template, after=memory.after, metadata=memory.metadata)


def steer_native(observer: NativeObserver, word: Word, driver: Driver) -> Flow[Steered]:
    """Say a word to the release under way, and go on with it where nobody drives it."""
    tried = 0
    while True:
        seen = yield from observer.observe()
        memory = _heard_by(seen, word)
        fresh = with_word(memory, word)
        if fresh == memory:
            break
        action = Amend(native=seen.native, says=word, memory=fresh)
        _, (answer,) = yield from ask(native_request(action))
        if answer.code < 400:
            break
        tried += 1
        if answer.code not in {409, 422} or tried == TRIES_MAX:
            raise error_of(answer, seen.native.said)
    told = f"{fresh.kind} of {seen.native.said} {said_of(fresh, word)}"
    if seen.held_by or word == "pause":
        return Steered(message=told, driven_by=seen.held_by)
    plan = resume_native_plan(_target(fresh, seen.native.template), seen, fresh, driver.approach)
    if digest_of(seen.native.template) != fresh.digest:
        raise Refused(f"{told}, but somebody changed its template", remedy=f"segue abort {seen.native.name} goes back")
    outcome = yield from _drive(observer, partial(decide_native, plan))
    return Steered(message=told, outcome=outcome)


def _heard_by(seen: NativeSnapshot, word: Word) -> Memory:
    memory, native = seen.memory, seen.native
    if memory is None:
        raise Refused(f"no release of {native.said} is under way", remedy="segue status shows what is")
    if memory.aborting:
        raise Refused(f"the {memory.kind} of {native.said} is being aborted", remedy=f"segue abort {native.name}")
    if word.startswith("promote") and not memory.stops and not memory.paused:
        raise Refused(
            f"the {memory.kind} of {native.said} has no stop to be promoted from",
            remedy="segue release --strategy canary has; segue pause holds any",
        )
    return memory
