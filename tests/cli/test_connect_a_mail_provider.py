"""The recipe docs/connect-a-mail-provider.md does what it says, line by line."""

from __future__ import annotations

import json
import os
import re
import shlex
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qsl, urlsplit

import botocore.session
import pytest
from botocore.validate import ParamValidator

from closedloop.capture.mail import PROVIDERS
from closedloop.cli.main import main
from closedloop.sites.definition import Site
from closedloop.sites.document import Document
from functions.capture_email import handler
from tests.accounts import forget
from tests.cli.conftest import LEFT_OUT, SETTINGS, Cloud, deploy

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs/connect-a-mail-provider.md").read_text()
BLOCKS = re.findall(r"```(yaml|sh)\n(.*?)```", PAGE, re.DOTALL)
SITE = (ROOT / "examples/sites/demo.yaml").read_text()


@pytest.fixture(scope="module")
def cloud(server: Cloud, aws: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    kept = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    here = Path.cwd()
    with patch.dict(os.environ, {**kept, **SETTINGS, "AWS_ENDPOINT_URL": aws}, clear=True):
        os.chdir(tmp_path_factory.mktemp("recipe"))
        deploy(server)
        yield server
        os.chdir(here)


def a_site(webhooks: str) -> str:
    """The example's site under the page's name, with the page's webhooks."""
    text = SITE.replace("site: demo", "site: my-site").replace("pk_demo_4f1c2a9b", "pk_mysite_4f1c2a9b")
    return text[: text.index("webhooks:")] + webhooks


def commands(block: str) -> list[list[str]]:
    """A block's lines as a shell would cut them; what stands in quotes may go over several lines."""
    words = [shlex.split(line) for line in re.findall(r"(?:[^\n']|'[^']*')+", block)]
    return [line for line in words if line]


def posted(line: list[str]) -> dict[str, Any]:
    """What curl would post, as the gateway hands it over, and the answer."""
    url = next(urlsplit(word) for word in line if word.startswith("ENDPOINT"))
    user, header, body = (line[line.index(flag) + 1] for flag in ("-u", "-H", "-d"))
    name, _, value = header.partition(": ")
    event = {
        "version": "2.0", "rawPath": url.path.removeprefix("ENDPOINT"), "body": body, "isBase64Encoded": False,
        "headers": {name: value, "authorization": f"Basic {b64encode(user.encode()).decode()}", "host": "x.example"},
        "queryStringParameters": dict(parse_qsl(url.query)),
        "pathParameters": {"provider": url.path.rpartition("/")[2]},
        "requestContext": {"http": {"method": "POST", "path": "/", "sourceIp": "192.0.2.1"}},
    }
    return dict(handler.handle(event, None))


def test_the_recipe_works_as_it_is_written(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    Path("my-site.yaml").write_text(a_site(BLOCKS[0][1]))
    for kind, block in BLOCKS[1:4]:
        assert kind == "sh"
        for line in commands(block):
            forget()
            if line[0] == "curl":
                for _ in range(2):
                    assert json.loads(posted(line)["body"]) == {"success": True, "events": 1}
                assert posted(["closedloop:wrong" if word.startswith("closedloop:") else word for word in line])[
                    "statusCode"
                ] == 401
            else:
                assert line[0] == "closedloop"
                with pytest.raises(SystemExit) as ended:
                    main([*line[1:], *(["--json"] if line[1] == "person" else [])])
                assert ended.value.code in (0, None)
                said = capsys.readouterr().out
    shown = json.loads(said.splitlines()[-1])
    assert shown["machine"] == {}
    assert [(one["what"], one["points"]) for one in shown["ledger"]] == [("Email Link Clicked", 5)]
    # A crawler at the same link changes nothing of her, and it is told why.
    lines = [line for _, block in BLOCKS[1:4] for line in commands(block)]
    curl, show = (line for line in lines if "curl" in line or "person" in line)
    crawler = [re.sub(r"Mozilla[^\"]*", "Googlebot/2.1", word).replace("T06", "T07") for word in curl]
    assert posted(crawler)["statusCode"] == 200
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main([*show[1:], "--json"])
    crawled = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert crawled["ledger"] == shown["ledger"]
    assert list(crawled["machine"].values()) == [1]
    assert cloud.secret("closedloop/sites/my-site")["postmark_basic"] == ["closedloop:a-long-password"]


def test_what_the_page_says_of_ses_is_understood_by_the_site_and_by_aws() -> None:
    (kind, webhooks), (_, block) = BLOCKS[4:]
    assert kind == "yaml"
    site = Document(a_site(webhooks).encode(), "my-site.yaml").read_as(Site)
    (topic,) = site.webhooks.sns_topics
    calls = [line for line in commands(block) if line[0] == "aws"]
    assert len(calls) == 6
    for _, service, operation, *words in calls:
        model = botocore.session.get_session().get_service_model(service)
        name = next(one for one in model.operation_names if one.lower() == operation.replace("-", ""))
        shape = model.operation_model(name).input_shape
        # The command line calls a topic's subscriber by a longer name than the service.
        known = {member.lower(): member for member in shape.members} | {"notificationendpoint": "Endpoint"}
        asked: dict[str, Any] = {
            known[flag.removeprefix("--").replace("-", "")]: json.loads(value) if value.startswith("{") else value
            for flag, value in zip(words[::2], words[1::2], strict=True)
        }
        assert ParamValidator().validate(asked, shape).generate_report() == ""
        assert asked.get("TopicArn", topic) == topic


def test_the_page_names_every_provider_and_can_be_found() -> None:
    assert set(re.search(r"report: `(.*?)`", PAGE, re.DOTALL)[1].split()) == PROVIDERS
    assert "docs/connect-a-mail-provider.md" in (ROOT / "README.md").read_text()
