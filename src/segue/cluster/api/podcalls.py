"""log, exec and attach: checks what the API can check (pod, container, command) and hands the call to the node."""

from __future__ import annotations

from segue.cluster.api.results import PodCall
from segue.cluster.api.routes import Route
from segue.cluster.refusals import bad_request
from segue.cluster.registry import Registry
from segue.model.http import ApiRequest
from segue.model.objects import Obj, Ref, seconds_of

VALUES_APART = "\0"  # a query key given more than once (command=) holds its values joined by this
_TRUE = {"true", "1", "True"}


def pod_call(route: Route, request: ApiRequest, registry: Registry) -> PodCall:
    """The call, or StatusError 404 or 400."""
    pod = registry.read(Ref(resource="pods", namespace=route.namespace, name=route.name))
    query = request.query
    container = _container(pod, query.get("container", ""), route.name)
    if route.subresource == "log":
        return PodCall(
            verb="log",
            namespace=route.namespace,
            name=route.name,
            container=container,
            follow=query.get("follow") in _TRUE,
            previous=query.get("previous") in _TRUE,
            timestamps=query.get("timestamps") in _TRUE,
            tail_lines=_number(query.get("tailLines"), "tailLines"),
            since_s=_since(query.get("sinceTime"), query.get("sinceSeconds"), registry.now_s()),
            bytes_max=_number(query.get("limitBytes"), "limitBytes"),
        )
    argv = tuple(query["command"].split(VALUES_APART)) if "command" in query else ()
    verb = "exec" if route.subresource == "exec" else "attach"
    if verb == "exec" and not argv:
        raise bad_request("you must specify at least one command for the container")
    if pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
        phase = pod["status"]["phase"]
        raise bad_request(f"cannot exec into a container in a completed pod; current phase is {phase}")
    return PodCall(
        verb="exec" if verb == "exec" else "attach",
        namespace=route.namespace,
        name=route.name,
        container=container,
        argv=argv,
        stdin=query.get("stdin") in _TRUE,
        stdout=query.get("stdout") in _TRUE,
        stderr=query.get("stderr") in _TRUE,
        tty=query.get("tty") in _TRUE,
    )


def _container(pod: Obj, asked: str, name: str) -> str:
    spec = pod.get("spec", {})
    names = [one["name"] for one in (spec.get("initContainers") or []) + (spec.get("containers") or [])]
    if asked:
        if asked not in names:
            raise bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    main = [one["name"] for one in spec.get("containers") or []]
    if len(main) == 1:
        return str(main[0])
    raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{' '.join(main)}]")


def _number(text: str | None, key: str) -> int | None:
    if text is None:
        return None
    if not text.isdecimal():
        raise bad_request(f"{key}: must be a whole number greater than or equal to 0, not {text!r}")
    return int(text)


def _since(at: str | None, ago: str | None, now_s: float) -> float | None:
    """How far back lines are wanted, in seconds."""
    if at:
        try:
            return max(0.0, now_s - seconds_of(at))
        except ValueError:
            raise bad_request(f"sinceTime: {at!r} is not an RFC 3339 time") from None
    seconds = _number(ago, "sinceSeconds")
    return None if seconds is None else float(seconds)
