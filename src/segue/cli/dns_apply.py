"""`segue dns apply`: a better Corefile, rolled out as a release."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from segue.cli.connection import Cap, Context, Kubeconfig, Namespace, OutputOption, Sampler, Timeout
from segue.cli.dns_plan import text_of
from segue.cli.keeping import USUAL as KEPT_USUALLY
from segue.cli.keeping import KeepingOptions
from segue.cli.output import Output, note
from segue.cli.reporting import Options, run_and_report
from segue.dns.corechecks import AUTOPATH, judged, repaired
from segue.dns.corefile import parsed, written
from segue.dns.rollout import changed_template, documents
from segue.dns.sizing import limit_mb
from segue.drive.command import release as release_flow
from segue.drive.core_dns import read_core_dns
from segue.drive.flow import Flow
from segue.drive.keeping_flows import keep_flows
from segue.drive.lanes import all_of
from segue.drive.loop import Outcome
from segue.drive.names import DNS_CONFIG, DNS_NAMESPACE
from segue.drive.side_by_side import prepare_either as prepare
from segue.host.client import KubeClient
from segue.host.releasing import driver
from segue.model.objects import Obj
from segue.release.plan import Approach


def apply(  # noqa: PLR0913 - one parameter per option
    file: Annotated[str, Parameter(help="a Corefile, - for standard input; else the cluster's own, repaired")] = "",
    /,
    *,
    deployment: Annotated[str, Parameter(metavar="NAME", help="what CoreDNS' Deployment is called")] = DNS_CONFIG,
    as_written: Annotated[bool, Parameter(negative="", help="the Corefile as it is, without repairs")] = False,
    cluster_domain: Annotated[str, Parameter(metavar="DOMAIN", help="the cluster's domain")] = "cluster.local",
    namespace: Namespace = DNS_NAMESPACE,
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    timeout: Timeout = None,
    drain_cap: Cap = None,
    sampler_image: Sampler = "",
    keeping: KeepingOptions = KEPT_USUALLY,
    output: OutputOption = Output.TABLE,
) -> int:
    """Roll CoreDNS out with a repaired Corefile without losing a lookup, and keep a receipt.

    New pods read a copy of the ConfigMap of their own; the old ones keep theirs, and answer until nobody asks them any
    more. Probes that are missing are added, and a memory limit that its start would exceed is raised. A CoreDNS that
    does not start with the new Corefile never gets a query: the old one serves on. `segue undo coredns -n kube-system`
    goes back.

    Examples
    --------
    segue dns plan                             # what would be changed
    segue dns apply
    segue dns apply Corefile --timeout 120
    segue dns apply -n my-dns --deployment coredns --receipt dns.json
    """
    text = text_of(file) if file else ""
    driving = driver(
        cap_s=drain_cap, timeout_s=timeout, sampler_image=sampler_image, approach=Approach(pins_config=True)
    )

    def make(_: KubeClient) -> Flow[tuple[Outcome, ...]]:
        found = yield from read_core_dns(namespace, deployment)
        running = found.running
        blocks = parsed(text or running.corefile, file or f"configmap/{running.config}")
        findings = judged(blocks, cluster_domain)
        better = blocks if as_written else repaired(blocks, cluster_domain)
        autopath = any(block.plugin(AUTOPATH) for block in better)
        limit = limit_mb(pods=found.pods, services=found.services, autopath=autopath)
        template, changes = changed_template(running.template, better, limit)
        if better == parsed(running.corefile) and not changes:
            note("nothing to change: the Corefile and the Deployment are in order")
            return ()
        for one in findings:
            left = one.repaired is None or as_written
            note(f"{'left as it is' if left else 'repaired'}: {one.message} (line {one.line})")
        for change in changes:
            note(change)
        corefile = (text or running.corefile) if better == blocks else written(better)
        wanted = documents(running, corefile, template)
        preparation = yield from prepare(wanted, namespace, driving)
        for warning in (said for one in preparation.deployments if one.plan for said in one.plan.warnings):
            note(f"warning: {warning}")
        return (yield from _with_flows(release_flow(preparation, driving), namespace, running.template))

    asked: Obj = {"command": "dns-apply", "deployment": deployment, "files": [file] if file else []}
    words = " ".join(["segue dns apply", *([file] if file else []), f"-n {namespace}", f"--deployment {deployment}"])
    return run_and_report(
        make,
        asked,
        again=words,
        options=Options(kubeconfig=kubeconfig, context=context, keeping=keeping, output=output),
    )


def _with_flows(release: Flow[tuple[Outcome, ...]], namespace: str, template: Obj) -> Flow[tuple[Outcome, ...]]:
    """A release beside which the UDP flows of the old pods are kept."""
    ended: list[bool] = []

    def released() -> Flow[tuple[Outcome, ...] | None]:
        try:
            return (yield from release)
        finally:
            ended.append(True)

    def kept() -> Flow[tuple[Outcome, ...] | None]:
        yield from keep_flows(namespace, template, lambda: bool(ended))
        return None

    (outcomes,) = yield from all_of({"release": released(), "flows": kept()})
    assert outcomes is not None
    return outcomes
