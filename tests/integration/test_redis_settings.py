"""How the store reaches a Redis and what it says of it: URLs, secrets, rights, other layouts, what may be lost."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from darkroom.cli.serve import House
from darkroom.core import Allowance, ApiKey, JobState
from darkroom.errors import InvalidConfig, StoreUnavailable
from darkroom.jobs import redis, redis_ledger, redis_link
from darkroom.jobs.allowances import COSTS_KEPT_DAYS
from darkroom.jobs.opening import open_store
from darkroom.jobs.redis import RedisStore
from darkroom.jobs.store import STAGED, Store
from tests.integration.gateway_site import settings_in
from tests.integration.redis_site import (
    ANYONE,
    LIMITS,
    NOW,
    Server,
    free_port,
    insert,
    lease,
    new_job,
    picture,
)
from tests.missing import need

KEYED = {"key_id": "k", "allowance": Allowance(9, 9, 9.0, 9.0), "webhook": "https://example.org/"}
SECRET = "s3cret-pass"  # of a server that lives for one test
# docs/architecture/03-redis.md gives these rights to the user that Darkroom is.
RIGHTS = "~darkroom:* -@all +@read +@write +@connection +@scripting +@transaction +time +info +config|get +bgrewriteaof"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.kill()


def live(store: Store) -> None:
    """Every kind of command that a store sends, once."""
    assert isinstance(store, RedisStore)
    insert(store, "x", **KEYED)
    (job,) = store.claim(ANYONE, 1, NOW)
    store.report_step(lease(job), 1, 4, NOW, "data:,x")
    assert store.usage("k", NOW).live_jobs == 1
    assert store.complete(lease(job), [picture(job)], {}, NOW).state == JobState.SUCCEEDED
    assert [event.type for event in store.events("x", 0)][-1] == "succeeded"
    assert store.tail(0, 0.0)[1]
    (call,) = store.due_deliveries(NOW, 1, 30.0)
    assert store.note_delivery(call.id, {"at": NOW}, None, is_delivered=True) in store.deliveries("x")
    store.add_key(ApiKey("k", "t", "n", ("user",), "00", NOW))
    revoked = store.revoke_key("k", NOW)
    assert [revoked] == store.keys()
    assert store.stored_bytes() == 10
    assert store.prune_bytes(0, NOW) == [picture(job)]
    store.wait_for_work(0.01)
    assert store.lead("k", NOW, 5.0)
    assert store.queue().queued == 0
    assert store.cancelling("w") == []
    store.settings_risks()
    store.check()


def test_a_prefix_keeps_two_stores_apart(server: Server) -> None:
    with (
        contextlib.closing(RedisStore(f"{server.url}?prefix=one", LIMITS)) as one,
        contextlib.closing(RedisStore(f"{server.url}?prefix=two", LIMITS)) as two,
    ):
        insert(one, "x")
        assert (one.get("x") is None, two.get("x")) == (False, None)
        with server.client() as client:
            assert {key.split(":")[0] for key in client.scan_iter("*")} == {"one", "two"}


def test_the_depth_of_the_queue_is_the_cardinality_of_one_key(server: Server) -> None:
    with contextlib.closing(RedisStore(server.url, LIMITS)) as store, server.client() as client:
        for number in range(5):
            insert(store, str(number), model="mn"[number % 2])
        insert(store, "later", run_at=NOW + 60)
        store.claim(ANYONE, 1, NOW)
        assert client.type("darkroom:queue") == "zset"  # what KEDA's redis scaler takes, beside lists
        assert client.zcard("darkroom:queue") == store.queue().queued == 4


def test_no_script_queues_many_scheduled_jobs(server: Server) -> None:
    with contextlib.closing(RedisStore(server.url, LIMITS)) as store, server.client() as client:
        store.insert([new_job(str(number), run_at=NOW + 1) for number in range(2 * STAGED + 1)], NOW)
        woken = client.xlen("darkroom:wake")
        assert store.stage_due(NOW + 1) == 2 * STAGED + 1
        assert client.xlen("darkroom:wake") == woken + 3  # one entry a script


def test_a_unix_socket_serves(tmp_path: Path) -> None:
    path = tmp_path / "s"
    server = Server(tmp_path, unixsocket=str(path))
    try:
        with contextlib.closing(open_store(f"unix://{path}?db=3", LIMITS)) as store:
            live(store)
    finally:
        server.kill()


def test_tls_serves_and_a_stranger_is_refused(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    words += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([need("openssl"), *words], check=True, capture_output=True)
    files = {"tls_cert_file": str(certificate), "tls_key_file": str(key), "tls_ca_cert_file": str(certificate)}
    plain = Server(tmp_path)
    plain.kill()  # its port is free again, and no other
    server = Server(tmp_path, **files, tls_port=str(plain.port), tls_auth_clients="no")
    address = f"rediss://127.0.0.1:{plain.port}/0"
    try:
        with contextlib.closing(open_store(f"{address}?ssl_ca_certs={certificate}", LIMITS)) as store:
            live(store)
        with (
            contextlib.closing(RedisStore(address, LIMITS, timeout_s=0.5)) as trusting_nobody,
            pytest.raises(StoreUnavailable),
        ):
            trusting_nobody.check()
    finally:
        server.kill()


# Secrets


@pytest.mark.parametrize(
    "url",
    [
        f"redis://user:{SECRET}@127.0.0.1:{{port}}/0",
        f"redis://:{SECRET}@127.0.0.1:{{port}}/0",
        f"redis://user:{SECRET}@127.0.0.1:1/0",
        f"redis://user:{SECRET}@127.0.0.1:{SECRET}/0",
        f"redis://user:{SECRET}@127.0.0.1:{{port}}/{SECRET}",
        f"redis://user:{SECRET}@127.0.0.1:{{port}}/0?password={SECRET}",
        f"rediss://user:{SECRET}@127.0.0.1:{{port}}/0?ssl_cert_reqs={SECRET}",
        f"redis://[{SECRET}/0",
    ],
)
def test_a_password_is_in_no_message(server: Server, url: str) -> None:
    with pytest.raises((InvalidConfig, StoreUnavailable)) as caught:
        RedisStore(url.replace("{port}", str(server.port)), LIMITS, timeout_s=0.3).check()
    error: BaseException | None = caught.value
    while error is not None and not error.__suppress_context__:
        assert SECRET not in str(error)
        error = error.__cause__ or error.__context__
    assert SECRET not in str(caught.value)


def test_a_wrong_or_missing_password_is_named(server: Server) -> None:
    server.set(requirepass=SECRET)
    for url in (server.url, server.url.replace("//", "//:wrong@")):
        with (
            contextlib.closing(RedisStore(url, LIMITS, timeout_s=60.0)) as store,
            pytest.raises(StoreUnavailable, match="refuses the user name or password, or wants one"),
        ):
            store.check()
    with contextlib.closing(RedisStore(server.url.replace("//", f"//:{SECRET}@"), LIMITS)) as store:
        live(store)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1/0", "scheme"),
        ("redis://127.0.0.1:x/0", "port"),
        ("redis://127.0.0.1/zero", "database"),
        ("redis://127.0.0.1/0?prefix=a:b", "prefix"),
        ("redis://127.0.0.1/0?prefix=", "prefix"),
        ("redis://127.0.0.1/0?pool=3", "'pool' in the query is not known"),
    ],
)
def test_a_url_that_is_not_allowed_is_named(url: str, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said) as caught:
        RedisStore(url)
    assert "allowed: redis://" in str(caught.value)


# Rights


def limited(server: Server, rights: str) -> RedisStore:
    """The store as a user with those rights."""
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "darkroom", "on", f">{SECRET}", *rights.split())
    return RedisStore(server.url.replace("//", f"//darkroom:{SECRET}@"), LIMITS, timeout_s=60.0)


def test_the_rights_that_the_docs_give_are_enough(server: Server) -> None:
    with contextlib.closing(limited(server, RIGHTS)) as store:
        live(store)


def test_fewer_rights_are_enough_where_the_host_gives_no_more(server: Server) -> None:
    with contextlib.closing(limited(server, f"{RIGHTS} -config -info -bgrewriteaof")) as store:
        live(store)
        assert any("does not let us read its settings" in risk for risk in store.settings_risks())


def test_too_few_rights_are_named(server: Server) -> None:
    with (
        contextlib.closing(limited(server, f"{RIGHTS} -evalsha")) as store,
        pytest.raises(StoreUnavailable, match="ACL"),
    ):
        insert(store, "x")


# Other servers


def test_a_replica_is_no_place_to_write(server: Server, tmp_path: Path) -> None:
    with contextlib.closing(RedisStore(server.url, LIMITS, timeout_s=1.0)) as store:
        insert(store, "x")
        with server.client() as client:
            client.replicaof("127.0.0.1", "1")
            with pytest.raises(StoreUnavailable):
                insert(store, "y")
            client.replicaof("NO", "ONE")
    with contextlib.closing(RedisStore(server.url, LIMITS, timeout_s=60.0)) as store:
        insert(store, "y")


def test_a_cluster_is_refused_by_name(tmp_path: Path) -> None:
    server = Server(tmp_path, cluster_enabled="yes", cluster_port=str(free_port()))  # else its port plus 10000
    try:
        with server.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                time.sleep(0.02)
        with (
            contextlib.closing(RedisStore(server.url, LIMITS, timeout_s=60.0)) as store,
            pytest.raises(StoreUnavailable, match="Redis Cluster, which is not supported"),
        ):
            insert(store, "x")
    finally:
        server.kill()


def test_keys_of_another_layout_are_left_alone(server: Server) -> None:
    with server.client() as client:
        client.set("darkroom:layout", "99")
        with (
            contextlib.closing(RedisStore(server.url, LIMITS)) as store,
            pytest.raises(InvalidConfig, match="another prefix"),
        ):
            insert(store, "x")
        assert client.keys("*") == ["darkroom:layout"]


# What may be lost


def risks(server: Server, **settings: str) -> str:
    server.set(**settings)
    with contextlib.closing(RedisStore(server.url, LIMITS)) as store:
        return " ".join(store.settings_risks())


def test_what_each_setting_may_lose_is_said(server: Server) -> None:
    assert risks(server, appendfsync="always") == ""
    assert "up to a second of accepted jobs" in risks(server, appendfsync="everysec")
    assert "half a minute" in risks(server, appendfsync="no")
    assert "while it rewrites it" in risks(server, appendfsync="always", no_appendfsync_on_rewrite="yes")
    assert "jobs may be lost at any time" in risks(server, maxmemory_policy="allkeys-lru")
    assert "idempotency keys may be lost" in risks(server, maxmemory_policy="volatile-ttl")
    assert "it takes none on its own" in risks(server, maxmemory_policy="noeviction", appendonly="no")
    last = risks(server, save="60 1")
    assert "since its last snapshot is lost." in last


def test_settings_that_cannot_be_read_are_guessed_from_what_can(server: Server) -> None:
    server.set(appendonly="no", maxmemory_policy="allkeys-lru")
    with contextlib.closing(limited(server, f"{RIGHTS} -config")) as store:
        said = " ".join(store.settings_risks())
    assert "CONFIG is forbidden" in said
    assert "appendonly no" in said
    assert "allkeys-lru" in said


def test_the_start_up_screen_says_what_may_be_lost(server: Server, tmp_path: Path) -> None:
    settings = settings_in(tmp_path, store=server.url)
    with (
        contextlib.closing(RedisStore(server.url, LIMITS)) as store,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        screen = House(settings, store, listener, [])._screen("1 on this machine", is_forwarding=False)
    [note] = [line for line in screen.splitlines() if line.startswith("  note ")]
    assert "(appendfsync everysec): a power cut may lose up to a second of accepted jobs" in note


# How long things stay


def test_events_of_an_ended_job_have_a_lifetime_and_its_end_outlives_them(server: Server) -> None:
    with contextlib.closing(RedisStore(server.url, LIMITS)) as store, server.client() as client:
        insert(store, "x")
        (job,) = store.claim(ANYONE, 1, NOW)
        store.report_step(lease(job), 1, 4, NOW, "data:,x")
        assert (client.ttl("darkroom:events:x"), client.ttl("darkroom:preview:x")) == (-1, -1)
        store.fail(lease(job), {"code": "x", "message": "y"}, {}, NOW, None)
        assert 0 < client.ttl("darkroom:preview:x") <= 60 < client.ttl("darkroom:events:x") <= 24 * 3600
        end = store.events("x", 0)[-1]
        client.delete("darkroom:events:x", "darkroom:preview:x")  # as time does
        assert store.events("x", 0) == [end]
        assert store.events("x", end.seq) == []


def test_a_day_whose_usage_is_forgotten_stays_so(server: Server) -> None:
    with contextlib.closing(RedisStore(server.url, LIMITS)) as store, server.client() as client:
        insert(store, "x", **KEYED)
        assert 0 < client.ttl("darkroom:usage:k:11") <= 3 * 24 * 3600
        (job,) = store.claim(ANYONE, 1, NOW)
        client.delete("darkroom:usage:k:11")  # as time does
        store.complete(lease(job), [], {"device_s": 1.0}, NOW)
        assert not client.exists("darkroom:usage:k:11")
        assert store.usage("k", NOW).live_jobs == 0


def test_the_stream_of_all_events_holds_no_pictures(server: Server) -> None:
    with contextlib.closing(RedisStore(server.url, LIMITS)) as store, server.client() as client:
        insert(store, "x")
        (job,) = store.claim(ANYONE, 1, NOW)
        for step in range(1, 4):
            store.report_step(lease(job), step, 4, NOW, f"data:,{'x' * 9999}{step}")
        assert client.memory_usage("darkroom:events") < 9999
        shown = [noted.event for noted in store.tail(0, 0.0)[1] if noted.event.type == "preview"]
        assert [event.data["step"] for event in shown] == [3]  # those before have been replaced


def test_what_was_forgotten_leaves_no_key(server: Server) -> None:
    with contextlib.closing(RedisStore(server.url, LIMITS)) as store, server.client() as client:
        insert(store, "x", idempotency_key="k", digest="d", deadline_at=NOW + 9, **KEYED)
        (job,) = store.claim(ANYONE, 1, NOW)
        store.complete(lease(job), [picture(job)], {}, NOW)
        assert [artifact.id for artifact in store.delete("x")] == [picture(job).id]
        assert client.exists("darkroom:charges:11", "darkroom:days") == 2  # it was paid for, until days are pruned
        store.prune(0.0, 0.0, NOW + (COSTS_KEPT_DAYS + 1) * 24 * 3600)
        left = {key.removeprefix("darkroom:") for key in client.keys("*") if not key.startswith("darkroom:claim:")}
        fading = {name for name in left if client.ttl(f"darkroom:{name}") > 0}
        assert fading == {"usage:k:11", "rate:k"}
        lasting = {"layout", "run", "seq", "serial", "virtual", "finish", "ahead_us", "events", "wake", "bytes"}
        assert left - fading == lasting


# The chapter


CHAPTER = (Path(__file__).parents[2] / "docs/architecture/03-redis.md").read_text(encoding="utf-8")
KEY_IN_LUA = re.compile(r"\bP \.\. '([a-z_:]+)'")
KEY_IN_PYTHON = re.compile(r"\bkey\(\"([a-z_]+)\"")


def test_the_chapter_describes_every_key_and_no_other() -> None:
    scripts = "".join(path.read_text() for path in Path(redis_link.__file__).with_name("lua").glob("*.lua"))
    sources = "".join(Path(module.__file__).read_text() for module in (redis, redis_ledger, redis_link))
    used = {name.strip(":") for name in KEY_IN_LUA.findall(scripts) + KEY_IN_PYTHON.findall(sources)}
    used = {name for name in used if not name.startswith("jobs:")} | {"jobs:state", "jobs:tenant"}
    told = {name.strip(":") for name in re.findall(r"`darkroom:([a-z_]+(?::(?:state|tenant))?)", CHAPTER)}
    assert told == used


def test_the_chapter_gives_the_rights_that_are_enough() -> None:
    assert RIGHTS in CHAPTER
