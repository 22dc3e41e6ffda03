"""Questions to addresses: put once, asked within the quotas whoever else asks at the same time, and ended once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from closedloop.events.confirmations import Question
from closedloop.identity.persons import person_id
from closedloop.store.calls import Dynamo
from closedloop.store.questions import Asked
from closedloop.store.state import State
from tests.builders import JANE, KEN, NOW, SITE, address, minutes

PERSON = person_id(JANE)


def a_question(number: int = 1, identifier: str = JANE, network: str = "203.0.113.0") -> Question:
    return Question(SITE, "letters", identifier, f"{SITE}/form/s-{number}", "2026-11", "a hash", NOW, network)


def put(state: State, question: Question) -> Asked:
    """A question as a run finds it."""
    state.ask(question)
    name = Asked(question, "").name
    [asked] = [one for one in state.to_do(person_id(question.identifier))[1] if one.name == name]
    return asked


def test_a_question_is_put_once_and_makes_its_person_due(state: State) -> None:
    asked = put(state, a_question())
    assert asked == Asked(a_question(), "pending")
    state.claim_question(asked, [JANE], NOW)
    state.ask(a_question())
    [again] = state.questions(JANE)
    assert (again.status, again.claimed_at) == ("claimed", NOW)
    assert set(state.due(NOW)) == {PERSON}
    assert state.actions(PERSON) == state.decisions(PERSON) == []


def test_a_question_is_claimed_once(state: State) -> None:
    asked = put(state, a_question())
    assert [state.claim_question(asked, [JANE], NOW) for _ in range(2)] == [True, False]


def test_an_address_is_claimed_once_a_day_whatever_the_submission(state: State) -> None:
    first, second = put(state, a_question(1)), put(state, a_question(2))
    assert state.claim_question(first, [JANE], NOW)
    assert state.free_at(second, minutes(60)) == (NOW + timedelta(hours=24), minutes(60))
    assert not state.claim_question(second, [JANE], NOW + timedelta(hours=23, minutes=59))
    assert state.claim_question(second, [JANE], NOW + timedelta(hours=24))


def test_a_network_is_claimed_five_times_an_hour_and_none_where_it_is_not_known(state: State) -> None:
    asked = [put(state, a_question(n, address(f"guest-{n}@acme.example"))) for n in range(6)]
    claimed = [state.claim_question(one, [one.question.identifier], NOW) for one in asked]
    assert claimed == [True] * 5 + [False]
    assert state.free_at(asked[5], NOW) == (NOW, minutes(60))
    unknown = put(state, a_question(9, KEN, ""))
    assert state.free_at(unknown, NOW) == (NOW, NOW)
    assert state.claim_question(unknown, [KEN], NOW)


def test_a_question_that_is_given_back_may_be_claimed_again_and_counts_once(state: State) -> None:
    asked = put(state, a_question())
    assert state.claim_question(asked, [JANE], NOW)
    state.release_question(replace(asked, status="claimed"))
    assert state.claim_question(asked, [JANE], minutes(5))


def test_a_suppressed_address_is_never_claimed(state: State) -> None:
    asked = put(state, a_question())
    state.suppress(KEN, "complained", NOW)
    assert not state.claim_question(asked, [JANE, KEN], NOW)
    assert state.claim_question(asked, [JANE], NOW), "nothing of the refused claim stayed"


def test_a_question_that_is_postponed_is_due_later_and_one_that_ended_never(state: State) -> None:
    asked = put(state, a_question())
    state.postpone_question(asked, minutes(60))
    assert (set(state.due(minutes(59))), set(state.due(minutes(60)))) == (set(), {PERSON})
    state.claim_question(asked, [JANE], minutes(60))
    state.end_question(replace(asked, status="claimed"), "sent", "", "m-1", minutes(60))
    state.end_question(replace(asked, status="claimed"), "failed", "a slower run", "", minutes(61))
    assert set(state.due(minutes(9999))) == set()
    assert [(one.status, one.reason) for one in state.questions(JANE)] == [("sent", "")]
    assert state.to_do(PERSON) == ([], [])


class Interrupted:
    """A way to call DynamoDB on which somebody else is faster, once, between reading and writing."""

    def __init__(self, dynamo: Dynamo, meanwhile: Callable[[], object]) -> None:
        self._dynamo, self._meanwhile = dynamo, meanwhile

    def call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        if operation == "TransactWriteItems":
            meanwhile, self._meanwhile = self._meanwhile, lambda: None
            meanwhile()
        return self._dynamo.call(operation, parameters)


@pytest.mark.parametrize("other", [a_question(2), a_question(2, KEN)], ids=["address", "network"])
@pytest.mark.parametrize("before", [0, 4])
def test_whoever_reads_the_quotas_before_another_claims_does_not_claim_on_what_was_read(
    engine: tuple[Dynamo, Any], tables: tuple[str, str], state: State, other: Question, before: int
) -> None:
    for number in range(before):
        guest = put(state, a_question(10 + number, address(f"guest-{number}@acme.example")))
        assert state.claim_question(guest, [guest.question.identifier], NOW)
    asked, faster = put(state, a_question(1)), put(state, other)
    claimed: list[bool] = []
    slow = State(
        Interrupted(
            engine[0], lambda: claimed.append(state.claim_question(faster, [faster.question.identifier], NOW))
        ),
        tables[1],
    )
    assert not slow.claim_question(asked, [JANE], NOW)
    assert claimed == [True]
    # Read anew, it is allowed exactly when the quotas allow it.
    allowed = other.identifier != JANE and before < 4
    assert state.claim_question(asked, [JANE], NOW) == allowed
