"""`segue pause`, `segue resume` and `segue promote`: a word to a release under way."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from segue.cli.approach import NoWait
from segue.cli.connection import Cap, Context, Kubeconfig, Namespace, OutputOption, Sampler, Timeout, WorkloadName
from segue.cli.output import Output, emit, say
from segue.cli.reporting import Options, run_and_report
from segue.drive.driver import Driver
from segue.drive.flow import Flow
from segue.drive.groups import steer_group
from segue.drive.loop import Outcome
from segue.drive.native_observe import native_named
from segue.drive.natives import steer_native
from segue.drive.steering import Steered, Word
from segue.host.client import KubeClient
from segue.host.releasing import driver
from segue.release.plan import Approach


def pause(
    deployment: WorkloadName,
    /,
    *,
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    output: OutputOption = Output.TABLE,
) -> int:
    """Let the release under way begin no further step. What serves keeps serving; it can be aborted, too.

    Examples
    --------
    segue pause web
    """
    options = Options(kubeconfig=kubeconfig, context=context, output=output)
    return _steer("pause", deployment, namespace, driver(cap_s=30.0, timeout_s=None), options)


def resume(  # noqa: PLR0913 - one parameter per option
    deployment: WorkloadName,
    /,
    *,
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    timeout: Timeout = None,
    drain_cap: Cap = None,
    sampler_image: Sampler = "",
    no_wait: NoWait = False,
    output: OutputOption = Output.TABLE,
) -> int:
    """Let a paused release go on. Where its command does not run any more, this one drives it.

    Examples
    --------
    segue resume web
    """
    driving = driver(
        cap_s=drain_cap, timeout_s=timeout, sampler_image=sampler_image, approach=Approach(waits=not no_wait)
    )
    options = Options(kubeconfig=kubeconfig, context=context, output=output)
    return _steer("resume", deployment, namespace, driving, options)


def promote(  # noqa: PLR0913 - one parameter per option
    deployment: WorkloadName,
    /,
    *,
    full: Annotated[bool, Parameter(help="past all stops, to the end")] = False,
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    timeout: Timeout = None,
    drain_cap: Cap = None,
    sampler_image: Sampler = "",
    no_wait: NoWait = False,
    output: OutputOption = Output.TABLE,
) -> int:
    """Let a release that holds at a stop go on to the next one. Where its command does not run any more, this one does.

    Examples
    --------
    segue promote web
    segue promote web --full
    """
    driving = driver(
        cap_s=drain_cap, timeout_s=timeout, sampler_image=sampler_image, approach=Approach(waits=not no_wait)
    )
    options = Options(kubeconfig=kubeconfig, context=context, output=output)
    return _steer("promote-full" if full else "promote", deployment, namespace, driving, options)


def _steer(word: Word, deployment: str, namespace: str, driving: Driver, options: Options) -> int:
    told: list[Steered] = []

    def make(client: KubeClient) -> Flow[tuple[Outcome, ...]]:
        where = namespace or client.namespace
        native = yield from native_named(where, deployment, driving.me, driving.holder_is_gone)
        if native is not None:
            told.append((yield from steer_native(native, word, driving)))
        else:
            told.extend((yield from steer_group(where, deployment, word, driving)))
        return tuple(steered.outcome for steered in told if steered.outcome is not None)

    command = word.partition("-")[0]
    asked = {"command": command, "deployment": deployment}
    code = run_and_report(make, asked, again=f"segue {command} {deployment}", options=options)
    for steered in told:  # nobody, where it was stopped before it had said its word
        if steered.outcome is not None:
            continue
        if options.output is not Output.TABLE:
            said = {"deployment": deployment, "said": steered.message, "drivenBy": steered.driven_by or None}
            emit(said, options.output)
        else:
            say(steered.message + (f" (driven by {steered.driven_by})" if steered.driven_by else ""))
    return code
