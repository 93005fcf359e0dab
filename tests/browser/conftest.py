"""A browser for all tests of a file, and a service with the bundled model behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.browser import Visit, chromium, visit
from tests.integration.service import Service, served


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home: Path = tmp_path_factory.mktemp("home")
    with served(home) as service:
        yield service


@pytest.fixture
def visitor(browser: Browser, service: Service) -> Iterator[Visit]:
    with visit(browser, service.url) as visitor:
        yield visitor
