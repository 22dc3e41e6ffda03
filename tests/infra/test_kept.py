"""What outlives a deployment: tables, buckets, keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from closedloop.store import schema
from infra.app import build_app

TABLE = "AWS::DynamoDB::GlobalTable"
KEPT = (TABLE, "AWS::S3::Bucket", "AWS::SQS::Queue", "AWS::SecretsManager::Secret", "AWS::KMS::Key")


def resources(template: Any, kind: str) -> list[dict[str, Any]]:
    return [one for one in template.body["Resources"].values() if one["Type"] == kind]


def test_in_production_tables_files_and_keys_outlive_their_stack(stateful: Any) -> None:
    for kind in KEPT:
        assert resources(stateful, kind), kind
        for one in resources(stateful, kind):
            assert (one["DeletionPolicy"], one["UpdateReplacePolicy"]) == ("Retain", "Retain"), kind


def test_in_production_tables_and_stacks_refuse_deletion(prod: Any) -> None:
    for table in prod.stateful.of(TABLE).values():
        assert table["Replicas"][0]["DeletionProtectionEnabled"] is True
    artifacts = json.loads((prod.folder / "manifest.json").read_text())["artifacts"]
    stacks = [one["properties"] for one in artifacts.values() if one["type"] == "aws:cloudformation:stack"]
    assert [one["terminationProtection"] for one in stacks] == [True, True]


def test_a_table_can_be_set_back_to_any_second_of_35_days(stateful: Any) -> None:
    for table in stateful.of(TABLE).values():
        recovery = table["Replicas"][0]["PointInTimeRecoverySpecification"]
        assert recovery == {"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": 35}


def test_tables_cost_nothing_while_idle_are_encrypted_and_tell_of_every_new_item(stateful: Any) -> None:
    tables = stateful.of(TABLE)
    assert len(tables) == 2
    for table in tables.values():
        assert table["BillingMode"] == "PAY_PER_REQUEST"
        assert table["SSESpecification"] == {"SSEEnabled": True, "SSEType": "KMS"}
        assert table["StreamSpecification"]["StreamViewType"] == "NEW_IMAGE"


def test_keys_and_expiry_have_the_names_of_the_schema(stateful: Any) -> None:
    for table in stateful.of(TABLE).values():
        assert [one["AttributeName"] for one in table["KeySchema"]] == [schema.PK, schema.SK]
        assert table["TimeToLiveSpecification"] == {"AttributeName": schema.TTL, "Enabled": True}


def test_only_the_state_table_has_an_index_and_it_is_the_one_of_those_due(stateful: Any) -> None:
    indexes = [one for table in stateful.of(TABLE).values() for one in table.get("GlobalSecondaryIndexes", [])]
    assert [one["IndexName"] for one in indexes] == [schema.BY_DUE]
    assert [one["AttributeName"] for one in indexes[0]["KeySchema"]] == [schema.DUE, schema.DUE_AT]


def test_a_bucket_is_closed_versioned_encrypted_and_owned_by_its_owner(stateful: Any) -> None:
    buckets = stateful.of("AWS::S3::Bucket")
    assert len(buckets) == 3
    for name, bucket in buckets.items():
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}, name
        assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}, name
        assert bucket["BucketEncryption"], name
        assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}], name
        rule, *apart = bucket["LifecycleConfiguration"]["Rules"]
        assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}, name
        assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}, name
        # What was spilled is in the table within days; the queue that names it keeps its messages for fourteen.
        # A dropped list holds names and addresses, which are in the ledger once it is imported.
        forgotten = [("imports/", 30), ("spill/", 30)] if "Lake" in name else []
        assert sorted((one["Prefix"], one["ExpirationInDays"]) for one in apart) == forgotten


def test_a_bucket_refuses_whoever_comes_without_tls(stateful: Any) -> None:
    refused = {
        policy["Bucket"]["Ref"]
        for policy in stateful.of("AWS::S3::BucketPolicy").values()
        for one in policy["PolicyDocument"]["Statement"]
        if one["Effect"] == "Deny" and one.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport") == "false"
    }
    assert refused == set(stateful.of("AWS::S3::Bucket"))


def test_reads_of_lake_and_reports_are_logged_in_a_bucket_apart(stateful: Any) -> None:
    logged = [one for one in stateful.of("AWS::S3::Bucket").values() if "LoggingConfiguration" in one]
    assert len(logged) == 2


def test_the_pepper_is_drawn_by_aws_and_never_seen_here(stateful: Any) -> None:
    (secret,) = stateful.of("AWS::SecretsManager::Secret").values()
    drawn = secret["GenerateSecretString"]
    assert (drawn["GenerateStringKey"], drawn["PasswordLength"]) == ("pepper", 64)


def test_a_development_stage_leaves_nothing_behind_and_a_clock_can_be_stopped(tmp_path: Path) -> None:
    context = {"aws:cdk:bundling-stacks": [], "stage": "dev", "schedules": "off"}
    build_app(context, output=tmp_path / "cdk.out", build=tmp_path / "build").synth()
    kept = json.loads((tmp_path / "cdk.out" / "Stateful.template.json").read_text())["Resources"].values()
    assert {one.get("DeletionPolicy", "Delete") for one in kept if one["Type"] in KEPT} == {"Delete"}
    runs = json.loads((tmp_path / "cdk.out" / "Stateless.template.json").read_text())["Resources"].values()
    schedules = [one["Properties"]["State"] for one in runs if one["Type"] == "AWS::Scheduler::Schedule"]
    assert schedules == ["DISABLED"] * 4
