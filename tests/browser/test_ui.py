"""What an operator sees in the Dagster UI after a night, in a real browser.

At this level because whether the UI shows our groups, rates and check results depends on Dagster's
pages, not on our code; nothing below would notice that they are gone.
"""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from orchestration.demo import dagster_processes
from orchestration.settings import Home
from sandbox.server import RunningSandbox
from tests.orchestration.conftest import Command

# A first night, two Dagster processes and a browser on a busy machine take minutes.
pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]
PATIENCE_SECONDS = 180


@pytest.fixture(scope="module")
def ui(served: RunningSandbox, thuocdo: Command) -> Iterator[str]:
    """The address of a web server over a home in which one night ran."""
    done = thuocdo("night", str(served.province_file), "--to", "2026-10-31")
    assert done.returncode == 0, done.stdout + done.stderr
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = Home.from_environment({"THUOCDO_HOME": str(served.home)})
    with dagster_processes(home, served.province_file, port=port) as processes:
        address = f"http://127.0.0.1:{port}"
        _wait_for(address, processes)
        yield address


def _wait_for(address: str, processes: object) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        try:
            httpx.get(f"{address}/server_info").raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.5)
        else:
            return
    pytest.fail(f"no answer from {address} within {PATIENCE_SECONDS} s ({processes})")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("needs the Debian packages chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    profile: Path = tmp_path_factory.mktemp("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--user-data-dir={profile}"):
        options.add_argument(argument)
    # The list of assets builds only the rows that are in view, so the window is taller than the list.
    options.add_argument("--window-size=1600,4000")
    with webdriver.Chrome(options=options, service=Service(driver)) as started:
        yield started


def _text(browser: webdriver.Chrome) -> str:
    return str(browser.execute_script("return document.body.innerText"))


def _sees(browser: webdriver.Chrome, *texts: str) -> None:
    """Wait until the page shows all of `texts`."""

    def missing() -> list[str]:
        shown = _text(browser).casefold()
        return [text for text in texts if text.casefold() not in shown]

    WebDriverWait(browser, PATIENCE_SECONDS, poll_frequency=0.5).until(
        lambda _: not missing(), f"{browser.current_url}: the page never showed {texts}"
    )


def test_the_assets_stand_in_their_groups(browser: webdriver.Chrome, ui: str) -> None:
    browser.get(f"{ui}/assets?groupBy=group_name")
    _sees(browser, "raw", "dossiers", "indicators", "scorecards", "publications")


def test_a_target_check_shows_its_numbers(browser: webdriver.Chrome, ui: str) -> None:
    browser.get(f"{ui}/assets/out_verdict?view=checks&checkDetail=target_DL_D1")
    _sees(browser, "target_DL_D1", "so với")


def test_an_integrity_check_passed(browser: webdriver.Chrome, ui: str) -> None:
    browser.get(f"{ui}/assets/core_dossier?view=checks&checkDetail=identities")
    _sees(browser, "identities", "điều kiện đều đúng")


def test_the_schedule_runs_at_one_in_vietnam(browser: webdriver.Chrome, ui: str) -> None:
    browser.get(f"{ui}/automation")
    _sees(browser, "nightly", "don_lan_chay_treo")
    assert browser.find_elements(By.CSS_SELECTOR, "a[href*='schedules/nightly']")
