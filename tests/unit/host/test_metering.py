"""What `segue metrics` says: numbers of pods that are seen, nothing of those that are not."""

from __future__ import annotations

from segue.drain.judge import NOTHING_SEEN, Evidence, Verdict
from segue.drain.sights import Sight
from segue.host.metering import GROUP, HELP, ROOT, Metered, answer, prometheus_text, registration
from segue.model.objects import Obj
from segue.model.workloads import Pod


def metered(name: str, *, live: int | None = 2, app: str = "web", namespace: str = "shop") -> Metered:
    pod = Pod(obj={"metadata": {"name": name, "namespace": namespace, "labels": {"app": app}}})
    evidence = NOTHING_SEEN
    if live is not None:
        evidence = Evidence(
            verdict=Verdict.BUSY, source="exec", silent_s=0.0, needed_s=2.0, live=live, rate=1.5, arrivals=3
        )
    rate = None if live is None else 1.5
    sight = Sight(
        pod=name, evidence=evidence, rate=rate, connections=(), peers=(), active=live or 0, arrived=12_345_678
    )
    return Metered.of(pod, sight, 1_800_000_000.0)


FOUND = [metered("web-1"), metered("web-2", live=0), metered("db-1", app="db"), metered("dark", live=None)]


def values(path: str, **query: str) -> dict[str, str]:
    code, body = answer(path, query, FOUND)
    assert code == 200, body
    return {item["describedObject"]["name"]: item["value"] for item in body["items"]}


def test_a_pod_that_cannot_be_seen_has_no_value() -> None:
    text = prometheus_text(FOUND)

    assert 'segue_active_connections{namespace="shop",pod="web-1"} 2\n' in text
    assert 'segue_active_connections{namespace="shop",pod="web-2"} 0\n' in text
    assert 'segue_active_connections{namespace="shop",pod="dark"}' not in text
    assert 'segue_pod_seen{namespace="shop",pod="dark",source="timer"} 0\n' in text
    assert all(f"# TYPE {metric} gauge\n" in text for metric in HELP)


def test_a_counter_is_whole_and_nothing_to_scale_on() -> None:
    text = prometheus_text(FOUND)

    assert "# TYPE segue_arrivals_total counter\n" in text
    assert 'segue_arrivals_total{namespace="shop",pod="web-1"} 12345678\n' in text
    assert answer(f"{ROOT}/namespaces/shop/pods/*/segue_arrivals_total", {}, FOUND)[0] == 404


def test_values_are_chosen_by_namespace_name_and_labels() -> None:
    every = f"{ROOT}/namespaces/shop/pods/*/segue_active_connections"

    assert values(every) == {"web-1": "2000m", "web-2": "0m", "db-1": "2000m"}
    assert values(every, labelSelector="app=web") == {"web-1": "2000m", "web-2": "0m"}
    assert values(every.replace("*", "web-1")) == {"web-1": "2000m"}
    assert values(every.replace("shop", "other")) == {}
    assert values(every.replace("active_connections", "arrivals_per_second"), labelSelector="app in (db)") == {
        "db-1": "1500m"
    }


def test_what_there_is_not_is_a_status() -> None:
    bad: list[tuple[str, dict[str, str]]] = [
        (f"{ROOT}/namespaces/shop/pods/*/none", {}),
        (f"{ROOT}/namespaces/shop/pods/dark/segue_open_connections", {}),
        (f"{ROOT}/namespaces/shop/services/web/segue_open_connections", {}),
        ("/apis/other", {}),
        (f"{ROOT}/namespaces/shop/pods/*/segue_open_connections", {"labelSelector": "app in web"}),
    ]
    for path, query in bad:
        code, body = answer(path, query, FOUND)

        assert code in {400, 404}, path
        assert (body["kind"], body["code"]) == ("Status", code)


def test_the_group_lists_its_metrics() -> None:
    code, body = answer(ROOT, {}, ())

    assert code == 200
    assert {row["name"] for row in body["resources"]} == {f"pods/{metric}" for metric in HELP}


def test_the_registration_names_an_address_of_either_family() -> None:
    def slice_of(address: str) -> Obj:
        return next(one for one in registration("shop", address, 9378) if one["kind"] == "EndpointSlice")

    assert [one["kind"] for one in registration("shop", "192.0.2.7", 1)] == ["Service", "EndpointSlice", "APIService"]
    assert registration("shop", "192.0.2.7", 1)[2]["spec"]["group"] == GROUP
    assert (slice_of("192.0.2.7")["addressType"], slice_of("2001:db8::1")["addressType"]) == ("IPv4", "IPv6")
