"""The configuration of a Gateway in Envoy's language: a bootstrap, and xDS files that change while it runs.

Weights lie in route files and addresses in endpoint files of their own, so neither change touches a listener or a
cluster: no connection is closed for it.

Rule 1: what is sent again has not been answered, and can be sent again: where no byte was sent any request, else GET,
HEAD and OPTIONS alone. A rule is therefore two routes, one for those methods.
Rule 2: no time limit but the route's own; Envoy's usual 15 s would cut long answers.
Rule 3: file names and versions follow from the content, so that equal configurations are equal files.
"""

from __future__ import annotations

import hashlib
import json

from segue.cluster.gateway.config import Cluster, Config, Entry, seconds_in
from segue.model.objects import Obj

_API = "type.googleapis.com/envoy"
HTTP_MANAGER = f"{_API}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = f"{_API}.extensions.filters.http.router.v3.Router"
HTTP_OPTIONS = f"{_API}.extensions.upstreams.http.v3.HttpProtocolOptions"
PREVIOUS_HOSTS = f"{_API}.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
_KIND = {"lds": "listener.v3.Listener", "cds": "cluster.v3.Cluster", "rds": "route.v3.RouteConfiguration"}
_KIND |= {"eds": "endpoint.v3.ClusterLoadAssignment"}
_SAFE = "GET|HEAD|OPTIONS"
UNSENT = "connect-failure,refused-stream,reset-before-request"
UNANSWERED = f"{UNSENT},reset"
IDLE_S = 1.5  # an idle connection to a pod is given up before servers usually close theirs
CONNECT_S = 1.0
_REDIRECTS = {301: "MOVED_PERMANENTLY", 302: "FOUND", 303: "SEE_OTHER", 307: "TEMPORARY_REDIRECT"}
_REDIRECTS |= {308: "PERMANENT_REDIRECT"}


def bootstrap(node: str) -> Obj:
    """What Envoy is started with, in the directory where its files and its admin socket lie."""
    return {
        "node": {"id": node, "cluster": "segue"},
        "admin": {"address": {"pipe": {"path": "admin.sock", "mode": 0o600}}},
        "dynamic_resources": {"lds_config": _file("lds.json"), "cds_config": _file("cds.json")},
        "layered_runtime": {"layers": [{"name": "static", "static_layer": {}}]},
    }


def files_of(config: Config, address: str) -> dict[str, Obj]:
    """Every xDS file by its name. Those that others name come first: they must be there when they are named."""
    found: dict[str, Obj] = {}
    for cluster in config.clusters.values():
        found[f"eds-{_digest(cluster.name)}.json"] = _response("eds", [_assignment(cluster)])
    found["cds.json"] = _response("cds", [_cluster(one) for _, one in sorted(config.clusters.items())])
    for port, hosts in config.ports.items():
        found[f"rds-{port}.json"] = _response("rds", [_route_config(port, hosts)])
    found["lds.json"] = _response("lds", [_listener(port, address) for port in config.ports])
    return found


def route_versions(files: dict[str, Obj]) -> dict[str, str]:
    """The version of each route configuration, by its name: as Envoy's own dump tells it when it has it."""
    return {
        one["name"]: body["version_info"]
        for name, body in files.items()
        if name.startswith("rds-")
        for one in body["resources"]
    }


def _file(name: str) -> Obj:
    return {"path_config_source": {"path": f"./{name}"}, "resource_api_version": "V3"}


def _response(kind: str, resources: list[Obj]) -> Obj:
    typed = [{"@type": f"{_API}.config.{_KIND[kind]}", **one} for one in resources]
    return {"version_info": _digest(json.dumps(typed, sort_keys=True)), "resources": typed}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _listener(port: int, address: str) -> Obj:
    manager: Obj = {
        "@type": HTTP_MANAGER,
        "stat_prefix": f"port_{port}",
        "codec_type": "AUTO",
        "rds": {"route_config_name": f"port-{port}", "config_source": _file(f"rds-{port}.json")},
        "strip_any_host_port": True,
        "normalize_path": True,
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "drain_timeout": "5s",
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}],
    }
    return {
        "name": f"port-{port}",
        "address": {"socket_address": {"address": address, "port_value": port}},
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }


def _cluster(cluster: Cluster) -> Obj:
    protocol: Obj = {"http2_protocol_options": {}} if cluster.http2 else {"http_protocol_options": {}}
    return {
        "name": cluster.name,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": _file(f"eds-{_digest(cluster.name)}.json")},
        "connect_timeout": f"{CONNECT_S}s",
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": {
            "thresholds": [
                {"max_connections": 65536, "max_pending_requests": 65536, "max_requests": 65536, "max_retries": 1024}
            ]
        },
        "outlier_detection": {
            "split_external_local_origin_errors": True,
            "consecutive_local_origin_failure": 2,
            "enforcing_consecutive_local_origin_failure": 100,
            "enforcing_local_origin_success_rate": 0,
            "enforcing_consecutive_5xx": 0,
            "enforcing_consecutive_gateway_failure": 0,
            "enforcing_success_rate": 0,
            "interval": "1s",
            "base_ejection_time": "3s",
            "max_ejection_percent": 50,
        },
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": HTTP_OPTIONS,
                "explicit_http_config": protocol,
                "common_http_protocol_options": {"idle_timeout": f"{IDLE_S}s"},
            }
        },
    }


def _assignment(cluster: Cluster) -> Obj:
    endpoints = [
        {"endpoint": {"address": {"socket_address": {"address": address, "port_value": port}}}}
        for address, port in cluster.addresses
    ]
    return {"cluster_name": cluster.name, "endpoints": [{"lb_endpoints": endpoints}]}


# -- routes ------------------------------------------------------------------------------------------------------------


def _route_config(port: int, hosts: dict[str, tuple[Entry, ...]]) -> Obj:
    return {
        "name": f"port-{port}",
        "virtual_hosts": [
            {
                "name": hostname or "any",
                "domains": [hostname or "*"],
                "routes": [route for entry in entries for route in _routes(entry)],
            }
            for hostname, entries in hosts.items()
        ],
    }


def _routes(entry: Entry) -> list[Obj]:
    """The routes of one entry: for methods that may be sent again, and for all."""
    redirect = next((one["requestRedirect"] for one in entry.filters if one["type"] == "RequestRedirect"), None)
    if redirect is not None:
        return [{"match": _match(entry), "redirect": _redirect(entry, redirect), **_headers(entry)}]
    if sum(one.weight for one in entry.backends) == 0:
        return [{"match": _match(entry), "direct_response": {"status": 500}}]
    every: Obj = {"match": _match(entry), "route": _action(entry, UNSENT), **_headers(entry)}
    if entry.match.method:
        again = entry.match.method in _SAFE.split("|")
        return [{**every, "route": _action(entry, UNANSWERED if again else UNSENT)}]
    safe = _match(entry)
    method: Obj = {"name": ":method", "string_match": {"safe_regex": {"regex": _SAFE}}}
    safe["headers"] = [*safe.get("headers", []), method]
    return [{"match": safe, "route": _action(entry, UNANSWERED), **_headers(entry)}, every]


def _match(entry: Entry) -> Obj:
    match = entry.match
    found: Obj
    if match.path_type == "Exact":
        found = {"path": match.path}
    elif match.path_type == "RegularExpression":
        found = {"safe_regex": {"regex": match.path}}
    elif match.path.rstrip("/"):
        found = {"path_separated_prefix": match.path.rstrip("/")}
    else:
        found = {"prefix": "/"}
    headers = [{"name": name, "string_match": _text(kind, value)} for name, kind, value in match.headers]
    if match.method:
        headers.append({"name": ":method", "string_match": {"exact": match.method}})
    if headers:
        found["headers"] = headers
    if match.queries:
        found["query_parameters"] = [
            {"name": name, "string_match": _text(kind, value)} for name, kind, value in match.queries
        ]
    return found


def _text(kind: str, value: str) -> Obj:
    return {"safe_regex": {"regex": value}} if kind == "RegularExpression" else {"exact": value}


def _action(entry: Entry, retry_on: str) -> Obj:
    clusters = [{"name": one.cluster or "not-there", "weight": one.weight} for one in entry.backends]
    action: Obj = {
        "weighted_clusters": {"clusters": clusters},
        "cluster_not_found_response_code": "INTERNAL_SERVER_ERROR",
        "timeout": f"{entry.timeout_s or 0:g}s",
        "retry_policy": _retry(entry, retry_on),
    }
    if entry.mirrors:
        action["request_mirror_policies"] = [
            {
                "cluster": cluster,
                "runtime_fraction": {
                    "default_value": {"numerator": round(share * 1_000_000), "denominator": "MILLION"}
                },
            }
            for cluster, share in entry.mirrors
        ]
    rewrite = next((one["urlRewrite"] for one in entry.filters if one["type"] == "URLRewrite"), None)
    if rewrite is not None:
        action |= _rewrite(entry, rewrite)
    return action


def _retry(entry: Entry, retry_on: str) -> Obj:
    policy: Obj = {
        "retry_on": retry_on,
        "num_retries": 2,
        "retry_host_predicate": [
            {"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": {"@type": PREVIOUS_HOSTS}}
        ],
        "host_selection_retry_max_attempts": 3,
        "retry_back_off": {"base_interval": "0.01s", "max_interval": "0.1s"},
    }
    said = entry.retry
    if said:
        policy["num_retries"] = int(said.get("attempts", 2))
        if said.get("codes"):
            policy |= {"retry_on": f"{retry_on},retriable-status-codes", "retriable_status_codes": said["codes"]}
        pause_s = seconds_in(said.get("backoff"))
        if pause_s:
            policy["retry_back_off"] = {"base_interval": f"{pause_s:g}s", "max_interval": f"{pause_s * 10:g}s"}
    if entry.try_s:
        policy["per_try_timeout"] = f"{entry.try_s:g}s"
    return policy


def _headers(entry: Entry) -> Obj:
    """Changes of headers, of requests and of answers."""
    found: Obj = {}
    for one in entry.filters:
        for key, side in (("requestHeaderModifier", "request"), ("responseHeaderModifier", "response")):
            if key not in one:
                continue
            said = one[key]
            rows = [(row, "OVERWRITE_IF_EXISTS_OR_ADD") for row in said.get("set") or []]
            rows += [(row, "APPEND_IF_EXISTS_OR_ADD") for row in said.get("add") or []]
            found[f"{side}_headers_to_add"] = [
                {"header": {"key": row["name"], "value": row["value"].replace("%", "%%")}, "append_action": action}
                for row, action in rows
            ]
            found[f"{side}_headers_to_remove"] = list(said.get("remove") or [])
    return found


def _redirect(entry: Entry, said: Obj) -> Obj:
    found: Obj = {"response_code": _REDIRECTS[int(said.get("statusCode", 302))]}
    for key, name in (("scheme", "scheme_redirect"), ("hostname", "host_redirect"), ("port", "port_redirect")):
        if key in said:
            found[name] = said[key]
    path = said.get("path") or {}
    if path.get("type") == "ReplaceFullPath":
        found["path_redirect"] = path["replaceFullPath"]
    elif path.get("type") == "ReplacePrefixMatch":
        found |= _prefix(entry, str(path["replacePrefixMatch"]))
    return found


def _rewrite(entry: Entry, said: Obj) -> Obj:
    found: Obj = {"host_rewrite_literal": said["hostname"]} if "hostname" in said else {}
    path = said.get("path") or {}
    if path.get("type") == "ReplaceFullPath":
        found["regex_rewrite"] = {"pattern": {"regex": "^[^?]*"}, "substitution": path["replaceFullPath"]}
    elif path.get("type") == "ReplacePrefixMatch":
        found |= _prefix(entry, str(path["replacePrefixMatch"]))
    return found


def _prefix(entry: Entry, wanted: str) -> Obj:
    """A replaced prefix; one that becomes nothing must not leave two slashes."""
    if wanted.rstrip("/"):
        return {"prefix_rewrite": wanted.rstrip("/") if entry.match.path.rstrip("/") else wanted.rstrip("/") + "/"}
    pattern = f"^{entry.match.path.rstrip('/')}/*"
    return {"regex_rewrite": {"pattern": {"regex": pattern}, "substitution": "/"}}
