"""The Kubernetes driver over a strict double: what it asks, how it takes refusals, and who it is to the API server."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from darkroom.config import FleetSettings, PoolSettings, load
from darkroom.errors import DriverUnavailable
from darkroom.fleet.drivers.kubernetes import DELETION_COST, LOWEST_COST, KubernetesDriver
from darkroom.fleet.drivers.kubernetes_access import Access, find_access
from darkroom.fleet.drivers.kubernetes_api import Api
from darkroom.fleet.nouns import Phase, Pool
from tests.contract.driver_kinds import wait_until
from tests.missing import need

from .kubernetes_api import ROLE, Fault, Kubernetes, serving

TOKEN = "eyJ-a-token-of-the-fleet"
POOL = Pool("p", max_workers=20)
SCALE = "/apis/apps/v1/namespaces/studio/deployments/workers/scale"


@pytest.fixture
def cluster() -> Kubernetes:
    made = Kubernetes(token=TOKEN, start_s=0.05)
    made.add_deployment("workers", "p")
    return made


@pytest.fixture
def driver(cluster: Kubernetes) -> Iterator[KubernetesDriver]:
    with serving(cluster) as url, driving(Access(url, "studio", fixed_token=TOKEN)) as made:
        yield made


@contextlib.contextmanager
def driving(access: Access) -> Iterator[KubernetesDriver]:
    """A driver whose settings name no namespace."""
    fleet = FleetSettings(driver="kubernetes", pools={"p": PoolSettings(max_workers=20)})
    with contextlib.closing(KubernetesDriver(load().model_copy(update={"fleet": fleet}), access)) as made:
        yield made


def ready(driver: KubernetesDriver, workers: int) -> list[str]:
    """Scale, and wait until all are ready; the oldest first."""
    driver.scale(POOL, workers)
    wait_until(lambda: [each.phase for each in driver.members()] == [Phase.READY] * workers, "all are ready")
    return [each.name for each in driver.members()]


def patches(cluster: Kubernetes) -> list[tuple[str, Any]]:
    """What was patched, and with what."""
    return [(path, body) for method, path, body in cluster.asked if method == "PATCH"]


def test_scaling_sets_the_scale_of_the_pool_s_deployment_as_it_was_read(
    cluster: Kubernetes, driver: KubernetesDriver
) -> None:
    version = cluster.deployments["workers"]["metadata"]["resourceVersion"]
    driver.scale(POOL, 2)
    assert patches(cluster) == [(SCALE, {"metadata": {"resourceVersion": version}, "spec": {"replicas": 2}})]
    driver.scale(POOL, 2)
    assert len(patches(cluster)) == 1


def test_those_named_leave_first_and_nobody_keeps_an_old_cost(cluster: Kubernetes, driver: KubernetesDriver) -> None:
    one, two, three, four = ready(driver, 4)
    cluster.pods[one]["metadata"]["annotations"] = {DELETION_COST: "-7", "kept": "yes"}
    driver.scale(POOL, 2, leaving=["somebody", four, two, one])
    assert [each.name for each in driver.members() if each.phase != Phase.LEAVING] == [one, three]
    assert cluster.pods[one]["metadata"]["annotations"] == {"kept": "yes"}
    pods = [(path.rpartition("/")[2], body["metadata"]) for path, body in patches(cluster)[1:-1]]
    said = {name: meta["annotations"][DELETION_COST] for name, meta in pods}
    assert said == {one: None, four: str(LOWEST_COST), two: str(LOWEST_COST + 1)}


def test_one_that_left_by_itself_meanwhile_is_no_fault(cluster: Kubernetes, driver: KubernetesDriver) -> None:
    two = ready(driver, 2)[1]
    cluster.faults = [Fault(404, "PATCH", two)]
    driver.scale(POOL, 1, leaving=[two])
    assert [each.phase for each in driver.members()].count(Phase.READY) == 1


def test_phases_follow_the_pod(cluster: Kubernetes, driver: KubernetesDriver) -> None:
    held = [True]
    cluster.start_s, cluster.is_held = 1e6, lambda: held[0]
    driver.scale(POOL, 1)
    (pod,) = cluster.pods.values()
    seen = []
    for status in (
        {"phase": "Pending"},
        {"phase": "Running"},
        {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]},
        {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    ):
        pod["status"] = status
        seen += [each.phase for each in driver.members()]
    assert seen == [Phase.STARTING] * 3 + [Phase.READY]
    driver.scale(POOL, 0)
    assert [each.phase for each in driver.members()] == [Phase.LEAVING]
    held[0] = False
    wait_until(lambda: not driver.members(), "it is gone")


def test_pods_that_ended_are_no_members(cluster: Kubernetes, driver: KubernetesDriver) -> None:
    (lost,) = ready(driver, 1)
    cluster.lose(lost)
    wait_until(lambda: [each.name != lost for each in driver.members()] == [True], "another is in its place")


def test_a_conflict_is_read_anew_and_tried_again(cluster: Kubernetes, driver: KubernetesDriver) -> None:
    left = iter([True, True])

    def change() -> None:
        if next(left, False):
            cluster.touch("workers")

    cluster.before_patch = change
    driver.scale(POOL, 1)
    assert len(patches(cluster)) == 3
    assert len(driver.members()) == 1


def test_one_that_always_conflicts_is_given_up(cluster: Kubernetes, driver: KubernetesDriver) -> None:
    cluster.before_patch = lambda: cluster.touch("workers")
    with pytest.raises(DriverUnavailable, match="pool p changes again and again"):
        driver.scale(POOL, 1)


def test_a_list_is_read_to_its_end_and_anew_where_it_expires(cluster: Kubernetes, driver: KubernetesDriver) -> None:
    ready(driver, 5)
    cluster.pages = 2
    assert len(driver.members()) == 5
    before = len(cluster.asked)
    cluster.faults = [Fault(410, "GET", "/pods")]
    assert len(driver.members()) == 5
    assert len(cluster.asked) == before + 4
    cluster.faults = [Fault(410, "GET", "/pods", times=99)]
    with pytest.raises(DriverUnavailable, match="loses its list"):
        driver.members()


@pytest.mark.parametrize("code", [429, 500, 503])
def test_what_passes_is_tried_again(cluster: Kubernetes, driver: KubernetesDriver, code: int) -> None:
    cluster.faults = [Fault(code, "GET", "/pods"), Fault(code, "PATCH", "/scale")]
    driver.scale(POOL, 1)
    assert len(driver.members()) == 1


def test_what_does_not_pass_is_said_in_the_server_s_words(cluster: Kubernetes, driver: KubernetesDriver) -> None:
    cluster.faults = [Fault(500, "GET", "/pods", times=99)]
    with pytest.raises(DriverUnavailable, match="answers 500: fault 500"):
        driver.members()


def test_a_role_that_lacks_a_verb_is_named(cluster: Kubernetes, driver: KubernetesDriver) -> None:
    cluster.role = ROLE - {("patch", "deployments/scale")}
    with pytest.raises(DriverUnavailable, match=r'has the Role.* cannot patch resource "deployments/scale"'):
        driver.scale(POOL, 1)


def test_a_wrong_token_is_said_and_not_told(cluster: Kubernetes) -> None:
    with (
        serving(cluster) as url,
        driving(Access(url, "studio", fixed_token="my-secret")) as driver,
        pytest.raises(DriverUnavailable, match="does not accept the credentials") as caught,
    ):
        driver.members()
    assert "my-secret" not in str(caught.value)


def test_a_pool_needs_one_deployment(cluster: Kubernetes, driver: KubernetesDriver) -> None:
    with pytest.raises(DriverUnavailable, match=r"must carry darkroom.dev/pool=other; found: none"):
        driver.scale(Pool("other"), 1)
    cluster.add_deployment("workers-too", "p")
    with pytest.raises(DriverUnavailable, match="found: workers, workers-too"):
        driver.scale(POOL, 1)


def test_a_quota_that_is_used_up_is_not_waited_for(cluster: Kubernetes, driver: KubernetesDriver) -> None:
    cluster.quota = 1
    driver.scale(POOL, 3)
    assert len(driver.members()) == 1


def test_what_is_no_kubernetes_is_said() -> None:
    def answer(body: str) -> Callable[..., Any]:
        return lambda *_: json.loads(body)

    cluster = Kubernetes(token=TOKEN)
    cluster.answer = answer("[]")  # type: ignore[method-assign]
    with (
        serving(cluster) as url,
        contextlib.closing(Api(Access(url, "studio", fixed_token=TOKEN))) as api,
        pytest.raises(DriverUnavailable, match="is not Kubernetes"),
    ):
        api.get("/version")


# Who asks.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `key.pem` and `cert.pem`: a server's, an authority's and a client's in one."""
    folder = tmp_path_factory.mktemp("tls")
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    words += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([need("openssl"), *words, *files], check=True, capture_output=True)
    return folder


def server_tls(authority: Path, *, asks_client: bool = False) -> ssl.SSLContext:
    """The server's side."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority / "cert.pem", authority / "key.pem")
    if asks_client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(authority / "cert.pem")
    return context


def test_a_pod_shows_its_service_account_and_reads_a_renewed_token(
    cluster: Kubernetes, authority: Path, tmp_path: Path
) -> None:
    (tmp_path / "ca.crt").write_text((authority / "cert.pem").read_text())
    (tmp_path / "namespace").write_text("studio\n")
    (tmp_path / "token").write_text("an old one")
    with serving(cluster, server_tls(authority)) as url:
        host, _, port = url.removeprefix("https://").rpartition(":")
        environment = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
        with driving(find_access(environment, tmp_path)) as driver:
            with pytest.raises(DriverUnavailable, match="credentials"):
                driver.members()
            (tmp_path / "token").write_text(TOKEN + "\n")
            driver.scale(POOL, 1)
            assert len(driver.members()) == 1


def test_a_server_of_another_authority_is_not_spoken_to(cluster: Kubernetes, authority: Path) -> None:
    with (
        serving(cluster, server_tls(authority)) as url,
        driving(Access(url, "studio", fixed_token=TOKEN)) as driver,
        pytest.raises(DriverUnavailable, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        driver.members()
    assert cluster.asked == []


def test_a_kubeconfig_s_client_certificate_is_shown(cluster: Kubernetes, authority: Path, tmp_path: Path) -> None:
    def inline(name: str) -> str:
        return base64.b64encode((authority / name).read_bytes()).decode()

    user = {"token": TOKEN, "client-certificate-data": inline("cert.pem"), "client-key": str(authority / "key.pem")}
    with serving(cluster, server_tls(authority, asks_client=True)) as url:
        place = {"server": url, "certificate-authority-data": inline("cert.pem")}
        access = find_access(kubeconfig(tmp_path, place, user))
        with driving(access) as driver:
            assert driver.members() == []
    assert access.namespace == "studio"


def kubeconfig(folder: Path, cluster: dict[str, Any], user: dict[str, Any], current: str = "here") -> dict[str, str]:
    """A file with one context; returns the environment that names it, behind one that is not there."""
    said = {
        "current-context": current,
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "studio"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
    }
    (folder / "config").write_text(json.dumps(said))  # JSON is YAML
    return {"KUBECONFIG": f"{folder / 'missing'}:{folder / 'config'}"}


def test_a_kubeconfig_s_token_or_its_file_is_shown_and_none_to_a_proxy(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from a file\n")
    place = {"server": "http://127.0.0.1:8001/"}
    said = [find_access(kubeconfig(tmp_path, place, user)) for user in ({"token": "t"}, {"tokenFile": "token"}, {})]
    assert [access.token() for access in said] == ["t", "from a file", ""]
    assert {access.url for access in said} == {"http://127.0.0.1:8001"}


@pytest.mark.parametrize(
    ("cluster", "user", "said"),
    [
        ({"server": "http://example.org"}, {}, "must be https"),
        ({"server": "nonsense"}, {}, "no http or https address"),
        ({"server": "https://example.org"}, {"exec": {"command": "aws"}}, r"program \(exec\)"),
        ({"server": "https://example.org"}, {"username": "u", "password": "p"}, "has a password"),
        ({"server": "https://example.org", "certificate-authority-data": "%"}, {}, "not base64"),
        ({"server": "https://example.org", "certificate-authority": "none.pem"}, {}, "cannot be read"),
    ],
)
def test_a_kubeconfig_that_cannot_serve_says_why(
    tmp_path: Path, cluster: dict[str, Any], user: dict[str, Any], said: str
) -> None:
    with pytest.raises(DriverUnavailable, match=said):
        find_access(kubeconfig(tmp_path, cluster, user))


def test_a_context_that_is_not_there_and_no_file_at_all_are_said(tmp_path: Path) -> None:
    with pytest.raises(DriverUnavailable, match="no context 'gone'"):
        find_access(kubeconfig(tmp_path, {}, {}, current="gone"))
    (tmp_path / "config").write_text("a: [")
    with pytest.raises(DriverUnavailable, match="not valid YAML"):
        find_access({"KUBECONFIG": str(tmp_path / "config")})
    with pytest.raises(DriverUnavailable, match="neither a pod's service account nor a kubeconfig"):
        find_access({"HOME": str(tmp_path)})
