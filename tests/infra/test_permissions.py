"""Who may do what: one role per function, the very actions, no more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

CAPTURE = ("capture_beacon", "capture_form", "capture_email", "capture_deal", "follow_link", "serve_tracker")

# The only star that names no resource: AWS documents log delivery with it.
LOG_DELIVERY = {
    "logs:CreateLogDelivery",
    "logs:GetLogDelivery",
    "logs:UpdateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies",
    "logs:DescribeLogGroups",
}


def every_statement(template: Any) -> Iterator[dict[str, Any]]:
    for role in template.of("AWS::IAM::Role"):
        yield from template.statements(role)


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_every_function_has_a_role_of_its_own(stateless: Any) -> None:
    roles = [one["Role"]["Fn::GetAtt"][0] for one in stateless.functions().values()]
    assert len(set(roles)) == len(roles)


def test_no_role_takes_a_policy_that_aws_may_change(stateless: Any, stateful: Any) -> None:
    for template in (stateless, stateful):
        assert not [role for role in template.of("AWS::IAM::Role").values() if role.get("ManagedPolicyArns")]


def test_no_statement_has_a_star_among_its_actions(stateless: Any) -> None:
    assert [action for one in every_statement(stateless) for action in listed(one["Action"]) if "*" in action] == []


def test_only_log_delivery_names_no_resource(stateless: Any) -> None:
    starred = [one for one in every_statement(stateless) if "*" in listed(one["Resource"])]
    assert [set(one["Action"]) for one in starred] == [LOG_DELIVERY]


@pytest.mark.parametrize("function", CAPTURE)
def test_a_door_reads_no_facts_and_deletes_nothing(stateless: Any, function: str) -> None:
    actions = stateless.actions(function)
    assert not {action for action in actions if action.split(":")[1].startswith(("Query", "Scan", "Delete", "Update"))}


def test_the_tracker_is_served_without_any_permission_but_its_log(stateless: Any) -> None:
    assert stateless.actions("serve_tracker") == {"logs:CreateLogStream", "logs:PutLogEvents"}


def test_only_the_door_for_mail_events_writes_to_the_state_table(stateless: Any) -> None:
    writers = []
    for function in CAPTURE:
        role = stateless.functions()[function]["Role"]["Fn::GetAtt"][0]
        for statement in stateless.statements(role):
            if "dynamodb:PutItem" in listed(statement["Action"]) and ":StateArn" in json.dumps(statement["Resource"]):
                writers.append(function)
    assert writers == ["capture_email"]


def test_nothing_may_delete_a_fact_a_profile_or_a_file(stateless: Any) -> None:
    actions = {action for one in every_statement(stateless) for action in listed(one["Action"])}
    assert not {action for action in actions if action.startswith(("dynamodb:Delete", "s3:Delete"))}


def test_compaction_writes_compacted_days_alone(stateless: Any) -> None:
    role = stateless.functions()["compact_lake"]["Role"]["Fn::GetAtt"][0]
    (written,) = (json.dumps(one["Resource"]) for one in stateless.statements(role) if "s3:PutObject" in one["Action"])
    assert "compacted/*" in written and "events/" not in written
    assert not {action for action in stateless.actions("compact_lake") if action.startswith("dynamodb:")}


def test_nothing_scans_a_table(stateless: Any) -> None:
    actions = {action for one in every_statement(stateless) for action in listed(one["Action"])}
    assert not actions & {"dynamodb:Scan", "dynamodb:PartiQLSelect"}


def test_only_actions_that_were_decided_send_mail(stateless: Any) -> None:
    senders = [name for name in stateless.functions() if "ses:SendEmail" in stateless.actions(name)]
    assert senders == ["perform_actions"]


def test_only_the_report_tells_of_reports_and_to_one_topic(stateless: Any) -> None:
    tellers = [name for name in stateless.functions() if "sns:Publish" in stateless.actions(name)]
    assert tellers == ["notify_sales", "report_loop"]
    role = stateless.functions()["report_loop"]["Role"]["Fn::GetAtt"][0]
    (statement,) = [one for one in stateless.statements(role) if "sns:Publish" in listed(one["Action"])]
    assert statement["Resource"] == stateless.functions()["report_loop"]["Environment"]["Variables"]["REPORT_TOPIC"]


def test_only_who_performs_speaks_to_the_bus_and_only_who_notifies_speaks_to_sales(stateless: Any) -> None:
    def who(action: str) -> list[str]:
        return [name for name in stateless.functions() if action in stateless.actions(name)]

    assert who("events:PutEvents") == ["perform_actions"]
    role = stateless.functions()["notify_sales"]["Role"]["Fn::GetAtt"][0]
    (statement,) = [one for one in stateless.statements(role) if "sns:Publish" in listed(one["Action"])]
    assert statement["Resource"] == stateless.functions()["notify_sales"]["Environment"]["Variables"]["SALES_TOPIC"]
    assert not stateless.actions("notify_sales") & {"dynamodb:PutItem", "dynamodb:Scan", "s3:GetObject"}


def test_a_function_that_reads_the_product_key_is_told_its_name_and_the_reverse(stateless: Any) -> None:
    for name, function in stateless.functions().items():
        # The secrets of sites are others', under a prefix of their own.
        may = any(
            ":SecretArn" in json.dumps(one["Resource"])
            for one in stateless.statements(function["Role"]["Fn::GetAtt"][0])
            if "secretsmanager:GetSecretValue" in listed(one["Action"])
        )
        assert may == ("SECRET_NAME" in function["Environment"]["Variables"]), name


def test_no_secret_stands_in_a_template(prod: Any) -> None:
    text = "".join(path.read_text() for path in prod.folder.glob("*.template.json"))
    assert "{{resolve:" not in text
    assert prod.stateful.of("AWS::SecretsManager::Secret")
    assert all("SecretString" not in one for one in prod.stateful.of("AWS::SecretsManager::Secret").values())
