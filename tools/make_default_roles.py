"""Generate src/segue/cluster/rights/default_roles.json: the ClusterRoles and bindings that every cluster has.

Taken from a running Kubernetes, which makes them at its start; only names, labels, rules and subjects are kept.
Usage: kubectl get clusterroles,clusterrolebindings -o json | python tools/make_default_roles.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from segue.model.objects import Obj

TARGET = Path(__file__).parent.parent / "src" / "segue" / "cluster" / "rights" / "default_roles.json"
NAMES = {"admin", "cluster-admin", "edit", "view"}
NAMES |= {"system:aggregated-metrics-reader"}  # comes with a metrics-server, as most clusters have one
NAMES |= {"system:basic-user", "system:discovery", "system:public-info-viewer"}


def kept(obj: Obj) -> Obj:
    """What of an object is the same on every cluster."""
    metadata: Obj = {key: obj["metadata"][key] for key in ("name", "labels") if key in obj["metadata"]}
    body: Obj = {key: obj[key] for key in ("rules", "aggregationRule", "roleRef", "subjects") if key in obj}
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata, **body}


def main() -> None:
    """Write the table."""
    items = msgspec.json.decode(sys.stdin.buffer.read(), type=Obj)["items"]
    found = [kept(obj) for obj in items if obj["metadata"]["name"] in NAMES]
    TARGET.write_bytes(msgspec.json.encode(found, order="sorted") + b"\n")
    print(f"{len(found)} objects, {TARGET.stat().st_size} bytes")  # noqa: T201 - a tool's report


if __name__ == "__main__":
    main()
