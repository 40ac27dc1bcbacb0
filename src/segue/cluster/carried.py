"""What an update takes over from the state before, whatever the caller sends. Changes the new object; never the old."""

from __future__ import annotations

from segue.model.objects import Obj, annotations_of

TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"


def carry_over(resource: str, changed: Obj, before: Obj) -> None:
    """A DaemonSet's count of its templates goes on from where it was."""
    if resource != "daemonsets.apps":
        return
    known = annotations_of(before).get(TEMPLATE_GENERATION, "1")
    if known.isdecimal() and changed["spec"].get("template") != before["spec"].get("template"):
        known = str(int(known) + 1)
    changed["metadata"] = {
        **changed["metadata"],
        "annotations": {**annotations_of(changed), TEMPLATE_GENERATION: known},
    }
