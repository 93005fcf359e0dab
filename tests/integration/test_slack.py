"""Slack, its double, and a service that runs: what people type becomes pictures in their channel."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
import yaml
from PIL import Image
from pydantic import SecretStr

from darkroom.client.asynchronous import AsyncClient
from darkroom.errors import InvalidConfig, Unavailable
from darkroom.integrations.slack import SlackBot
from darkroom.integrations.slack.messages import AGAIN, CANCEL, VARY
from darkroom.integrations.slack.running import http_app, run_bot
from darkroom.slack_settings import SlackSecrets, SlackSettings
from tests.integration import slack_api
from tests.integration.cutting_proxy import CuttingProxy
from tests.integration.service import Service, free_port, served, wait_until
from tests.integration.slack_api import ANN, APP_TOKEN, BEN, BOT_TOKEN, ELSEWHERE, SIGNING_SECRET, SlackApi, Use

ROOT = Path(__file__).parents[2]
MANIFEST = yaml.safe_load((ROOT / "deploy/slack/manifest.yaml").read_text(encoding="utf-8"))
SCOPES = set(MANIFEST["oauth_config"]["scopes"]["bot"])
SMALL = "--size 192x192"
QUICK, LONG = f"--steps 4 {SMALL}", f"--steps 1000 {SMALL}"
PATIENCE_S = 60.0
pytestmark = pytest.mark.slow


class Bot:
    """`darkroom slack` as a process, in a folder of its own."""

    def __init__(self, home: Path, slack: SlackApi, service_url: str, *arguments: str, settings: str = "") -> None:
        self.home, self.arguments = home, arguments
        home.mkdir(exist_ok=True)
        (home / "darkroom.toml").write_text(f'[slack]\napi_url = "{slack.url}/api/"\nurl = "{service_url}"\n{settings}')
        self.said: list[str] = []
        self.start()

    process: subprocess.Popen[str]

    def start(self) -> None:
        secrets = {"BOT_TOKEN": BOT_TOKEN, "APP_TOKEN": APP_TOKEN, "SIGNING_SECRET": SIGNING_SECRET}
        environment = {name: value for name, value in os.environ.items() if name != "DARKROOM_URL"}
        environment |= {"DARKROOM_HOME": str(self.home)} | {f"SLACK_{name}": value for name, value in secrets.items()}
        command = [sys.executable, "-m", "darkroom", "slack", *self.arguments]
        self.said.clear()
        self.process = subprocess.Popen(command, cwd=self.home, env=environment, text=True, stderr=subprocess.PIPE)
        threading.Thread(target=self._listen, args=(self.process,), daemon=True).start()
        wait_until(lambda: self.has_said("slack_ready") or self.process.poll() is not None, PATIENCE_S)
        assert self.has_said("slack_ready"), "".join(self.said)

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr:
            self.said.extend(process.stderr)

    def has_said(self, word: str) -> bool:
        return any(word in line for line in list(self.said))

    def kill(self) -> None:
        if self.process.poll() is None:
            psutil.Process(self.process.pid).kill()
        self.process.wait(10)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with served(tmp_path_factory.mktemp("house"), OMP_NUM_THREADS="1", DARKROOM_THREADS="1") as found:
        yield found


@pytest.fixture(scope="module")
def slack() -> Iterator[SlackApi]:
    with slack_api.slack_api(SCOPES) as found:
        yield found


@contextmanager
def running(*what: Any, **settings: Any) -> Iterator[Bot]:
    bot = Bot(*what, **settings)
    try:
        yield bot
    finally:
        bot.kill()


@pytest.fixture(scope="module")
def bot(service: Service, slack: SlackApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bot]:
    """By socket."""
    with running(tmp_path_factory.mktemp("bot"), slack, service.url) as found:
        yield found


@pytest.fixture(autouse=True)
def _nothing_is_wrong_with_what_slack_is_sent(slack: SlackApi) -> Iterator[None]:
    yield
    assert slack.faults == []


def jobs_of(service: Service) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = service.ask("GET", "/jobs", params={"limit": 100}).json()["data"]
    return found


def thread_of(slack: SlackApi, words: str, user: str = ANN) -> slack_api.Message:
    """The message in the channel that tells of a request with those words."""
    found: list[slack_api.Message] = []

    def look() -> bool:
        found[:] = [each for each in slack.threads() if words in each.text and f"<@{user}>" in each.text]
        return bool(found)

    wait_until(look, PATIENCE_S)
    assert len(found) == 1, f"{words} was told more than once"
    return found[0]


def reply_in(slack: SlackApi, thread: slack_api.Message) -> slack_api.Message:
    """The one message in a thread, once it is there."""
    wait_until(lambda: bool(slack.in_thread(thread)), PATIENCE_S)
    [found] = slack.in_thread(thread)
    return found


def ended(slack: SlackApi, words: str, action: str = VARY, user: str = ANN) -> slack_api.Message:
    """The thread's message, once it has that button."""
    reply = reply_in(slack, thread_of(slack, words, user))
    wait_until(lambda: action in reply.buttons, PATIENCE_S)
    return reply


def posts_of(slack: SlackApi, words: str) -> list[slack_api.Post]:
    return [post for post in slack.posts if words in post.comment]


def job_of(service: Service, message: slack_api.Message) -> dict[str, Any]:
    return service.job(next(iter(message.buttons.values())))


def answered(slack: SlackApi, use: Use) -> str:
    """What the one who asked was told."""
    slack.send(use)
    wait_until(lambda: bool(use.told), PATIENCE_S)
    [told] = use.told
    return told


def test_the_manifest_has_the_command_and_the_buttons() -> None:
    [command] = MANIFEST["features"]["slash_commands"]
    assert command["command"] == SlackSettings().command
    assert MANIFEST["settings"]["interactivity"]["is_enabled"] is True
    assert MANIFEST["settings"]["socket_mode_enabled"] is True


def test_a_command_delivered_twice_becomes_one_picture(service: Service, slack: SlackApi, bot: Bot) -> None:
    use = slack.command(f"night &amp; moon over a lake —seed 7 {QUICK}")
    slack.send(use)
    slack.send(use)
    assert max(use.acked_after_s) < slack_api.ACK_S
    reply = ended(slack, "night &amp; moon")
    job = job_of(service, reply)
    assert job["input"]["prompt"] == "night & moon over a lake"
    assert (job["input"]["seed"], job["input"]["width"], job["steps"]) == (7, 192, 4)
    assert job["metadata"]["slack"] == {
        "team": slack_api.TEAM,
        "bot": slack_api.BOT,
        "channel": slack_api.HOME,
        "thread": reply.thread,
        "user": ANN,
    }
    [post] = posts_of(slack, "night &amp; moon")
    assert (post.channel, post.thread) == (slack_api.HOME, None)
    assert re.search(r"seed 7 · 4 steps · \d+\.\d s", post.comment)
    [upload] = post.files
    stored = service.ask("GET", f"/artifacts/{job['outputs'][0]['artifact_id']}").content
    assert upload.content == stored
    assert upload.name == "darkroom-seed-7.png"
    assert CANCEL in {action for said in reply.said for action in _actions(said)}
    assert CANCEL not in reply.buttons
    assert [each["input"]["prompt"] for each in jobs_of(service)].count("night & moon over a lake") == 1
    assert slack.used_scopes == SCOPES, "the manifest asks for more than is used"


def _actions(said: dict[str, Any]) -> list[str]:
    rows = [block["elements"] for block in said["blocks"] if block["type"] == "actions"]
    return [button["action_id"] for row in rows for button in row]


def test_vary_makes_the_same_with_another_seed_for_whoever_presses(service: Service, slack: SlackApi, bot: Bot) -> None:
    slack.send(slack.command(f"a bay in snow --seed 3 --images 2 {QUICK}"))
    first = ended(slack, "a bay in snow")
    slack.send(slack.press(first, VARY, user=BEN))
    second = ended(slack, "a bay in snow", user=BEN)
    was, now = job_of(service, first), job_of(service, second)
    assert now["outputs"][0]["seed"] != was["outputs"][0]["seed"] == 3
    assert (now["input"]["prompt"], now["steps"], len(now["outputs"])) == ("a bay in snow", 4, 2)
    assert [len(post.files) for post in posts_of(slack, "a bay in snow")] == [2, 2]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a wrong preset --preset best", r"--preset: landscapes has no preset 'best'; allowed: .*fast"),
        ("a wrong size --size 7x7", r"--size: .*256"),
        ("a wrong flag --stepz 4", r"there is no --stepz \(did you mean steps\?\); there are: --preset"),
        ("help", r"`--seed` the same seed"),
    ],
)
def test_what_cannot_be_made_is_told_to_the_one_who_asked_alone(
    text: str, told: str, service: Service, slack: SlackApi, bot: Bot
) -> None:
    before, threads = len(jobs_of(service)), list(slack.threads())
    assert re.search(told, answered(slack, slack.command(text)))
    assert len(jobs_of(service)) == before
    assert slack.threads() == threads


def test_no_job_is_made_where_its_answer_could_not_be_shown(service: Service, slack: SlackApi, bot: Bot) -> None:
    before = len(jobs_of(service))
    assert "Invite me" in answered(slack, slack.command("a hill", channel=ELSEWHERE))
    assert len(jobs_of(service)) == before


def test_only_the_one_who_asked_cancels(service: Service, slack: SlackApi, bot: Bot) -> None:
    slack.send(slack.command(f"an endless plain {LONG}"))
    reply = ended(slack, "an endless plain", CANCEL)
    assert answered(slack, slack.press(reply, CANCEL, user=BEN)) == f"Only <@{ANN}>, who asked for it, can cancel this."
    assert job_of(service, reply)["state"] in ("queued", "running")
    wait_until(lambda: "step" in reply.text, PATIENCE_S)
    slack.send(slack.press(reply, CANCEL))
    reply = ended(slack, "an endless plain", AGAIN)
    assert reply.text == "Cancelled"
    assert job_of(service, reply)["state"] == "cancelled"


def test_a_slack_that_is_busy_is_asked_again_when_it_says(service: Service, slack: SlackApi, bot: Bot) -> None:
    for method in ("chat.postMessage", "files.getUploadURLExternal"):
        slack.refuse(method, "ratelimited", retry_after_s=1)
    slack.refuse("files.completeUploadExternal", "internal_error")
    slack.send(slack.command(f"a mill by a brook {QUICK}"))
    ended(slack, "a mill by a brook")
    for method in ("chat.postMessage", "files.getUploadURLExternal"):
        [refused_at] = slack.refused_at[method]
        assert min(at for at in slack.called_at[method] if at > refused_at + 0.1) >= refused_at + 1.0
    [post] = posts_of(slack, "a mill by a brook")
    assert Image.open(io.BytesIO(post.files[0].content or b"")).size == (192, 192)


def test_a_picture_that_slack_refuses_for_good_is_told_in_its_thread(slack: SlackApi, bot: Bot) -> None:
    slack.refuse("files.getUploadURLExternal", "missing_scope")
    slack.send(slack.command(f"a locked gate {QUICK}"))
    reply = reply_in(slack, thread_of(slack, "a locked gate"))
    wait_until(lambda: "lacks a permission" in reply.text, PATIENCE_S)
    assert reply.buttons == {}


def test_the_bot_comes_back_where_slack_ends_its_connection(slack: SlackApi, bot: Bot) -> None:
    opened = slack.calls["apps.connections.open"]
    slack.hang_up()
    wait_until(lambda: slack.calls["apps.connections.open"] > opened and bool(slack.sockets), PATIENCE_S)
    assert "makes a picture" in answered(slack, slack.command("help"))


def test_a_bot_that_died_goes_on_where_it_was(service: Service, slack: SlackApi, bot: Bot) -> None:
    """With the job that its file names, though it has ended, and with one that still runs, though the file lost it."""
    ends, lives = slack.command(f"a fen at noon --steps 30 {SMALL}"), slack.command(f"a moor for ever {LONG}")
    for use in (ends, lives):
        slack.send(use)
    fen, moor = [ended(slack, words, CANCEL) for words in ("a fen at noon", "a moor for ever")]
    bot.kill()
    journal = bot.home / "slack-open.json"
    owed = json.loads(journal.read_text())
    journal.write_text(json.dumps({job_id: ts for job_id, ts in owed.items() if ts != moor.ts}))
    service.wait_all([next(iter(fen.buttons.values()))])
    assert not posts_of(slack, "a fen at noon")

    bot.start()
    wait_until(lambda: VARY in fen.buttons, PATIENCE_S)
    assert len(posts_of(slack, "a fen at noon")) == 1
    wait_until(lambda: len(slack.in_thread(thread_of(slack, "a moor for ever"))) == 2, PATIENCE_S)
    again, jobs = slack.in_thread(thread_of(slack, "a moor for ever"))[1], len(jobs_of(service))
    slack.send(ends)
    slack.send(slack.press(again, CANCEL))
    wait_until(lambda: again.text == "Cancelled", PATIENCE_S)
    wait_until(lambda: slack.calls["chat.delete"] > 0 and json.loads(journal.read_text()) == {}, PATIENCE_S)
    assert thread_of(slack, "a fen at noon").ts == fen.thread
    assert (len(jobs_of(service)), len(posts_of(slack, "a fen at noon"))) == (jobs, 1)


def test_by_http_what_slack_did_not_sign_just_now_is_refused(service: Service, slack: SlackApi, tmp_path: Path) -> None:
    home, url = tmp_path / "bot", f"http://127.0.0.1:{(port := free_port())}"
    home.mkdir()
    guide = (ROOT / "docs/guides/slack.md").read_text(encoding="utf-8")
    [program] = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    (home / "studio.py").write_text(program)
    settings = 'command = "/draw"\nimage_in = "thread"\nbot = "studio:StudioBot"'
    asked_who = slack.calls["auth.test"]
    with running(home, slack, service.url, "--port", str(port), settings=settings) as bot:
        forged = slack.command(f"a forged hill {QUICK}", name="/draw")
        assert slack.request(url, forged, secret="another").status_code == 401
        assert slack.request(url, forged, age_s=301).status_code == 401
        assert httpx.post(f"{url}/slack/events", content=b"x" * (1 << 20 | 1)).status_code == 413
        use = slack.command(f"a true hill {QUICK}", name="/draw")
        assert [slack.request(url, use).status_code for _ in range(2)] == [200, 200]
        assert max(use.acked_after_s) < slack_api.ACK_S
        reply = ended(slack, "a true hill, at dusk")
        prompts = [job["input"]["prompt"] for job in jobs_of(service)]
        assert prompts.count("a true hill, at dusk") == 1
        assert not any("forged" in prompt for prompt in prompts)
        assert [post.thread for post in posts_of(slack, "a true hill")] == [reply.thread]
        assert slack.calls["auth.test"] == asked_who + 1, "requests wait for what is known since the start"
        bot.process.send_signal(signal.SIGTERM)
        assert bot.process.wait(20) == 0
    assert not any(secret in "".join(bot.said) for secret in (BOT_TOKEN, SIGNING_SECRET, "a true hill"))


def settings_of(slack: SlackApi) -> SlackSettings:
    return SlackSettings(api_url=f"{slack.url}/api/")


def test_a_service_that_is_down_is_told_in_words(slack: SlackApi, tmp_path: Path) -> None:
    secrets = SlackSecrets(SecretStr(BOT_TOKEN), None, SecretStr(SIGNING_SECRET))
    use = slack.command("a lost hill")

    async def ask() -> None:
        async with AsyncClient(f"http://127.0.0.1:{free_port()}", "", retries=1) as client:
            bot = SlackBot(settings_of(slack), secrets, client, tmp_path / "open.json")
            await bot.start()
            http = httpx.AsyncClient(transport=httpx.ASGITransport(http_app(bot)), base_url="http://bot")
            async with http:
                answer = await http.post("/slack/events", **slack.signed(use))
                assert answer.status_code == 200
            while not use.told:
                await asyncio.sleep(0.05)
            await bot.stop()

    asyncio.run(asyncio.wait_for(ask(), PATIENCE_S))
    assert use.told == ["Darkroom does not answer just now. Try again in a minute."]
    assert not [each for each in slack.threads() if "a lost hill" in each.text]


def test_an_answer_that_was_lost_is_asked_for_again_and_the_job_has_its_thread(
    service: Service, slack: SlackApi, tmp_path: Path
) -> None:
    proxy = CuttingProxy(("127.0.0.1", urlsplit(service.url).port or 80))
    proxy.rule = lambda line, before, now: 0 if line.startswith("POST /v1/jobs") and not proxy.cuts else None
    secrets = SlackSecrets(SecretStr(BOT_TOKEN), None, SecretStr(SIGNING_SECRET))
    use = slack.command(f"a found hill {QUICK}")

    async def ask() -> None:
        async with AsyncClient(proxy.url, "", retries=0) as client:
            bot = SlackBot(settings_of(slack), secrets, client, tmp_path / "open.json")
            await bot.start()
            http = httpx.AsyncClient(transport=httpx.ASGITransport(http_app(bot)), base_url="http://bot")
            async with http:
                await http.post("/slack/events", **slack.signed(use))
            while not posts_of(slack, "a found hill"):
                await asyncio.sleep(0.05)
            await bot.stop()

    try:
        asyncio.run(asyncio.wait_for(ask(), PATIENCE_S))
    finally:
        proxy.close()
    assert (proxy.cuts, use.told) == (1, [])
    assert [job["input"]["prompt"] for job in jobs_of(service)].count("a found hill") == 1


@pytest.mark.parametrize(("bot_token", "app_token"), [("xoxb-wrong", APP_TOKEN), (BOT_TOKEN, "xapp-wrong")])
def test_a_bot_whose_tokens_slack_refuses_does_not_start(
    bot_token: str, app_token: str, slack: SlackApi, tmp_path: Path
) -> None:
    secrets = SlackSecrets(SecretStr(bot_token), SecretStr(app_token), None)

    async def start() -> None:
        async with AsyncClient(f"http://127.0.0.1:{free_port()}", "") as client:
            bot = SlackBot(settings_of(slack), secrets, client, tmp_path / "open.json")
            await run_bot(bot, secrets, None)

    with pytest.raises(InvalidConfig, match="Slack refuses the tokens of the app: invalid_auth"):
        asyncio.run(start())


def test_slack_that_is_not_reached_is_told_by_its_name(slack: SlackApi, tmp_path: Path) -> None:
    secrets = SlackSecrets(SecretStr(BOT_TOKEN), SecretStr(APP_TOKEN), None)
    settings = SlackSettings(api_url=f"http://127.0.0.1:{free_port()}/api/")

    async def start() -> None:
        async with AsyncClient(slack.url, "") as client:
            await run_bot(SlackBot(settings, secrets, client, tmp_path / "open.json"), secrets, None)

    with pytest.raises(Unavailable, match=re.escape(settings.api_url)):
        asyncio.run(start())
