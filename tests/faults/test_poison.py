"""One item that cannot be read holds up nobody: not the batch, not the person, not the replay."""

from __future__ import annotations

from closedloop.identity.persons import person_id
from closedloop.lake.files import Files
from closedloop.lake.runs import RunFiles
from closedloop.loops.flow import decide_shard, select
from closedloop.profiles.check import check
from closedloop.profiles.flow import project, refold
from closedloop.store.calls import Dynamo
from closedloop.store.ledger import Ledger
from closedloop.store.state import State
from tests.builders import JANE, SITE, a_loop, a_packet, a_record, a_site, minutes, the_pepper

SITES = {SITE: a_site()}


def test_a_packet_with_an_event_of_an_unknown_kind_is_left_out_of_the_fold(
    dynamo: Dynamo, tables: tuple[str, str]
) -> None:
    state, ledger = State(dynamo, tables[1], the_pepper), Ledger(dynamo, tables[0], lambda attempt: None)
    good = a_packet(a_record("e1", ids=[JANE]))
    poison = a_packet(a_record("e2", ids=[JANE]), a_record("e3", "teleport", ids=[JANE]), received_at=minutes(1))
    later = a_packet(a_record("e4", ids=[JANE], at=minutes(2)), received_at=minutes(2))
    ledger.append([good, poison, later])
    arrived = [("1", good, good.events), ("3", later, later.events)]
    assert project(arrived, state, ledger, SITES, lambda: minutes(5)).again == set()
    profile, changed, _ = refold(JANE, state, ledger, SITES, lambda: minutes(6))
    assert profile is not None
    assert (profile.events, changed) == (2, False)
    assert profile.person == person_id(JANE)
    assert check(ledger.every_packet(), lambda person: state.profile(person).profile, SITES).stale == ()


def test_a_profile_that_cannot_be_read_is_one_failed_person_of_the_run(
    dynamo: Dynamo, tables: tuple[str, str], files: Files
) -> None:
    state, ledger = State(dynamo, tables[1], the_pepper), Ledger(dynamo, tables[0], lambda attempt: None)
    packet = a_packet(a_record("e1", ids=[JANE]))
    ledger.append([packet])
    project([("1", packet, packet.events)], state, ledger, SITES, lambda: minutes(5))
    dynamo.call(
        "UpdateItem",
        {
            "TableName": tables[1],
            "Key": {"pk": {"S": f"P#{person_id(JANE)}"}, "sk": {"S": "PROFILE"}},
            "UpdateExpression": "SET body = :body",
            "ExpressionAttributeValues": {":body": {"S": "{"}},
        },
    )
    runs = RunFiles(files)
    select("tick", (), state, runs, minutes(6))
    counts = decide_shard("tick", 0, state, runs, [a_loop()], SITES, minutes(6))["counts"]
    assert (counts["failed"], sum(counts.values())) == (1, 1)
    assert list(state.due(minutes(6))) == [person_id(JANE)]
    # The projector does not need the old words: it folds anew and writes over them.
    profile, changed, _ = refold(JANE, state, ledger, SITES, lambda: minutes(6))
    assert profile is not None
    assert changed
    assert state.profile(person_id(JANE)).profile == profile
