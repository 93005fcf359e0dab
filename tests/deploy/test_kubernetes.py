"""deploy/kubernetes: each folder builds, each object is one that Kubernetes or KEDA takes, and what it says holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

from .cluster import (
    FOLDERS,
    OURS,
    Object,
    built,
    container_of,
    deployment,
    environment_of,
    of_kind,
    pod_of,
    pods,
    settings_of,
)

KEDA = jsonschema.Draft202012Validator(json.loads((Path(__file__).parent / "keda.schema.json").read_text()))
VERSION = "1.28"  # the oldest that the guide names
WORKER = "darkroom-worker"


def test_each_object_is_one_that_the_cluster_takes() -> None:
    distinct = {json.dumps(each, sort_keys=True): each for folder in FOLDERS for each in built(folder)}
    assert len(distinct) > len(built("base"))
    for each in distinct.values():
        if each["apiVersion"].startswith("keda.sh/"):
            KEDA.validate(each)
        else:
            kubernetes_validate.validate(each, VERSION, strict=True)


def test_a_field_that_is_none_would_be_refused() -> None:
    [pod] = [each for each in built("base") if each["metadata"]["name"] == WORKER and each["kind"] == "Deployment"]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**pod, "spec": {**pod["spec"], "replica": 1}}, VERSION, strict=True)
    scaled = of_kind("overlays/keda", "ScaledObject")[WORKER]
    with pytest.raises(jsonschema.ValidationError):
        KEDA.validate({**scaled, "spec": {**scaled["spec"], "minReplicas": 1}})


@pytest.mark.parametrize(
    ("folder", "who"),
    [
        ("base", set()),
        ("overlays/hpa", {"HorizontalPodAutoscaler"}),
        ("overlays/keda", {"ScaledObject"}),
        ("overlays/scale-to-zero", {"ScaledObject"}),
        ("overlays/spot-pool", set()),
        ("overlays/fleet", {"fleet run"}),
    ],
)
def test_at_most_one_sets_the_number_of_workers(folder: str, who: set[str]) -> None:
    found = {each["kind"] for each in built(folder)} & {"HorizontalPodAutoscaler", "ScaledObject"}
    if any(container_of(each)["command"][1:3] == ["fleet", "run"] for each in of_kind(folder, "Deployment").values()):
        found.add("fleet run")
    assert found == who
    for name, each in of_kind(folder, "Deployment").items():  # a number here would undo theirs at each apply
        assert ("replicas" in each["spec"]) != (bool(who) and name.startswith(WORKER)), name


def test_the_autoscaler_of_kubernetes_has_the_numbers_of_the_table() -> None:
    spec = of_kind("overlays/hpa", "HorizontalPodAutoscaler")[WORKER]["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"], spec["scaleTargetRef"]["name"]) == (2, 10, WORKER)
    [metric] = spec["metrics"]
    assert metric["external"]["target"] == {"type": "AverageValue", "averageValue": "5"}
    up, down = spec["behavior"]["scaleUp"], spec["behavior"]["scaleDown"]
    assert up["policies"] == [{"type": "Pods", "value": 2, "periodSeconds": 60}]
    assert down["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 120}]
    assert down["stabilizationWindowSeconds"] == 300


@pytest.mark.parametrize(("folder", "fewest"), [("overlays/keda", 1), ("overlays/scale-to-zero", 0)])
def test_keda_has_the_numbers_of_the_table(folder: str, fewest: int) -> None:
    spec = of_kind(folder, "ScaledObject")[WORKER]["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (fewest, 20)
    assert (spec["pollingInterval"], spec["cooldownPeriod"]) == (15, 300)
    queue, busy = spec["triggers"][:2]
    assert queue["metadata"]["listLength"] == "3"
    assert (busy["metricType"], busy["metadata"]["threshold"]) == ("Value", "70")


def test_running_jobs_keep_the_last_worker() -> None:
    spec = of_kind("overlays/scale-to-zero", "ScaledObject")[WORKER]["spec"]
    [kept] = [each["metadata"] for each in spec["triggers"] if "running" in each["metadata"].get("query", "")]
    assert kept["activationThreshold"] == "0"


def test_each_pod_is_as_narrow_as_it_can_be() -> None:
    for place, each in pods():
        pod, container = pod_of(each), container_of(each)
        assert pod["securityContext"]["runAsNonRoot"], place
        assert pod["securityContext"]["runAsUser"] > 0, place  # the image's user has a name only
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, place
        narrow = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        assert container["securityContext"] == narrow, place
        assert "memory" in container["resources"]["limits"], place
        assert pod.get("automountServiceAccountToken", True) == (pod["serviceAccountName"] in API_USERS), place


API_USERS = ("prometheus", "darkroom-fleet")  # who ask the API server


def test_all_that_is_written_lies_on_a_volume_that_may_be_written() -> None:
    for place, each in pods():
        writable = [mount["mountPath"] for mount in container_of(each)["volumeMounts"] if not mount.get("readOnly")]
        if not place.endswith(":prometheus"):
            homes = {name: value for name, value in environment_of(each).items() if name in ("DARKROOM_HOME", "HOME")}
            assert set(homes.values()) <= set(writable), place
            assert "/tmp" in writable, place
    worker = deployment("base", WORKER)
    downloads, mounts = environment_of(worker)["HF_HOME"], container_of(worker)["volumeMounts"]
    [models] = [mount for mount in mounts if downloads.startswith(f"{mount['mountPath']}/")]
    assert not models.get("readOnly")


def test_what_pods_name_is_there() -> None:
    for folder in FOLDERS:
        base = "base" if folder == "monitoring" else folder
        names = {kind: set(of_kind(folder, kind)) | set(of_kind(base, kind)) for kind in KINDS}
        for each in of_kind(folder, "Deployment").values():
            for kind, name in _named(pod_of(each)):
                assert name in names[kind], f"{folder}: {each['metadata']['name']} names {kind} {name}"


KINDS = ("ConfigMap", "PersistentVolumeClaim", "PriorityClass", "ServiceAccount")


def _named(pod: Object) -> list[tuple[str, str]]:
    found = [("ServiceAccount", pod["serviceAccountName"])]
    found += [("PriorityClass", pod["priorityClassName"])] if "priorityClassName" in pod else []
    for volume in pod["volumes"]:
        if "configMap" in volume:
            found.append(("ConfigMap", volume["configMap"]["name"]))
        if "persistentVolumeClaim" in volume:
            found.append(("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]))
    return found


def test_pods_are_given_the_time_that_they_take_to_stop() -> None:
    from darkroom.cli.serve import GATEWAY_STOP_S
    from darkroom.fleet.supervisor import STOP_MARGIN_S

    for folder in OURS:
        for name, each in of_kind(folder, "Deployment").items():
            given = pod_of(each)["terminationGracePeriodSeconds"]
            if name.startswith(WORKER):
                assert given > settings_of(folder, each)["serve"]["drain_s"] + STOP_MARGIN_S, f"{folder}: {name}"
            elif name == "darkroom-gateway":
                program, seconds = container_of(each)["lifecycle"]["preStop"]["exec"]["command"]
                assert program == "sleep"
                assert given > int(seconds) + GATEWAY_STOP_S


def test_shared_memory_is_memory() -> None:
    worker = deployment("base", WORKER)
    [name] = [mount["name"] for mount in container_of(worker)["volumeMounts"] if mount["mountPath"] == "/dev/shm"]
    [volume] = [volume for volume in pod_of(worker)["volumes"] if volume["name"] == name]
    assert volume["emptyDir"]["medium"] == "Memory"


def test_several_workers_fit_on_a_node() -> None:
    for name, each in of_kind("overlays/fleet", "Deployment").items():
        pod = pod_of(each)
        assert "podAntiAffinity" not in pod.get("affinity", {}), name
        assert not pod.get("hostNetwork"), name
        for port in container_of(each).get("ports", []):
            assert "hostPort" not in port, name
        for spread in pod.get("topologySpreadConstraints", []):
            assert spread["whenUnsatisfiable"] == "ScheduleAnyway", name
    assert of_kind("base", "PersistentVolumeClaim")["darkroom-models"]["spec"]["accessModes"] == ["ReadWriteMany"]


def test_spot_workers_go_to_spot_nodes_and_nobody_else_does() -> None:
    on_demand, spot = (deployment("overlays/spot-pool", f"{WORKER}{suffix}") for suffix in ("", "-spot"))
    affinity = pod_of(spot)["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    labels = {each["key"] for term in affinity["nodeSelectorTerms"] for each in term["matchExpressions"]}
    tolerated = {each["key"] for each in pod_of(spot)["tolerations"]}
    assert {"cloud.google.com/gke-spot", "kubernetes.azure.com/scalesetpriority", "darkroom.dev/spot"} <= tolerated
    assert tolerated - {"nvidia.com/gpu"} <= labels
    assert {each["key"] for each in pod_of(on_demand)["tolerations"]} == {"nvidia.com/gpu"}
    assert "affinity" not in pod_of(on_demand)
    ranks = {name: each["value"] for name, each in of_kind("overlays/spot-pool", "PriorityClass").items()}
    assert ranks[pod_of(spot)["priorityClassName"]] < ranks[pod_of(on_demand)["priorityClassName"]]


def test_the_two_pools_take_only_their_own_pods() -> None:
    for name, pool in ((WORKER, "on-demand"), (f"{WORKER}-spot", "spot")):
        each = deployment("overlays/spot-pool", name)
        chosen, made = each["spec"]["selector"]["matchLabels"], each["spec"]["template"]["metadata"]["labels"]
        assert chosen.items() <= made.items()
        assert chosen["darkroom.dev/pool"] == each["metadata"]["labels"]["darkroom.dev/pool"] == pool
        assert environment_of(each)["DARKROOM_POOL"] == pool


def test_the_settings_of_the_overlays_differ_where_they_say_so_and_nowhere_else() -> None:
    base = settings_of("base", deployment("base", WORKER))["serve"]
    spot = settings_of("overlays/fleet", deployment("overlays/fleet", f"{WORKER}-spot"))
    fleet = settings_of("overlays/fleet", deployment("overlays/fleet", "darkroom-fleet"))
    assert fleet["serve"] == base
    assert {name for name in base.keys() | spot["serve"].keys() if base.get(name) != spot["serve"].get(name)} == {
        "drain_s",
        "tape_every",
    }


def test_our_autoscaler_may_scale_its_pools_and_do_no_more() -> None:
    folder = "overlays/fleet"
    given: dict[str, Any] = {}
    for rule in of_kind(folder, "Role")["darkroom-fleet"]["rules"]:
        given |= {each: (rule["verbs"], rule.get("resourceNames")) for each in rule["resources"]}
    workers = sorted(name for name in of_kind(folder, "Deployment") if name.startswith(WORKER))
    assert given == {
        "pods": (["get", "list", "patch"], None),
        "deployments": (["get", "list"], None),
        "deployments/scale": (["get", "patch"], workers),
    }
    [subject] = of_kind(folder, "RoleBinding")["darkroom-fleet"]["subjects"]
    assert subject["name"] == pod_of(deployment(folder, "darkroom-fleet"))["serviceAccountName"]
    assert deployment(folder, "darkroom-fleet")["spec"]["replicas"] == 1


def test_no_pod_is_reached_or_reaches_out_unless_it_is_said() -> None:
    for folder in OURS:
        policies = of_kind(folder, "NetworkPolicy")
        closed = policies["darkroom-nothing-else"]["spec"]
        assert closed == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
        [worker] = policies["darkroom-to-worker-metrics"]["spec"]["ingress"]
        [source] = worker["from"]
        assert source["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "prometheus"}
        [gateway] = policies["darkroom-to-gateway"]["spec"]["ingress"]
        ingress, watcher, workers = gateway["from"]
        assert ingress["namespaceSelector"]["matchLabels"]
        assert watcher == source
        assert workers["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "worker"
    [figures] = of_kind("monitoring", "NetworkPolicy")["prometheus"]["spec"]["ingress"]
    assert all(source.get("podSelector") or source["namespaceSelector"] for source in figures["from"])


def test_a_budget_and_a_service_choose_the_pods_that_they_mean() -> None:
    for kind in ("PodDisruptionBudget", "Service"):
        for name, each in of_kind("overlays/fleet", kind).items():
            chosen = each["spec"]["selector"].get("matchLabels", each["spec"]["selector"])
            found = {
                owner
                for owner, made in of_kind("overlays/fleet", "Deployment").items()
                if chosen.items() <= made["spec"]["template"]["metadata"]["labels"].items()
            }
            assert found == {name} | ({f"{name}-spot"} if name == WORKER else set())
