"""A browser for all tests of a file, and a service with the bundled model behind it. All of them are slow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.browser import Visit, chromium, visit
from tests.integration.service import Service, served


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each file waits for a service and a browser."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.slow)


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
