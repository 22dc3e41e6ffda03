"""Evidence that the table has is not written again, whoever repeats it; what is earlier or half there is."""

from __future__ import annotations

import pytest

from closedloop.identity.evidence import EvidenceKind, Link
from closedloop.profiles.flow import KeptEvidence
from tests.builders import JANE, a_link, minutes

NODE = a_link().node


class Table:
    """Evidence as it lies under each node."""

    def __init__(self, **kept: list[Link]) -> None:
        self.kept = {NODE: kept.get("browser", []), JANE: kept.get("address", [])}
        self.reads = 0

    def links(self, node: str) -> list[Link]:
        self.reads += 1
        return self.kept[node]


@pytest.mark.parametrize(("browser", "address", "has"), [
    ([a_link(at=minutes(5))], [a_link(at=minutes(5))], True),
    ([a_link(at=minutes(0))], [a_link(at=minutes(0))], True),
    ([a_link(at=minutes(9))], [a_link(at=minutes(9))], False),
    ([a_link(at=minutes(5), event="z")], [a_link(at=minutes(5), event="z")], False),
    ([a_link(at=minutes(5))], [], False),
    ([], [a_link(at=minutes(5))], False),
    ([a_link(at=minutes(0), kind=EvidenceKind.CLICK)], [a_link(at=minutes(0), kind=EvidenceKind.CLICK)], False),
])
def test_only_what_says_the_same_no_later_at_both_ends_is_kept(
    browser: list[Link], address: list[Link], has: bool
) -> None:
    assert KeptEvidence(Table(browser=browser, address=address)).has(a_link(at=minutes(5))) is has


def test_of_many_that_say_the_same_in_a_batch_one_is_written_and_the_table_read_once() -> None:
    table = Table()
    kept = KeptEvidence(table)
    written = []
    for number in (3, 4, 5, 1, 2):
        link = a_link(at=minutes(number))
        if not kept.has(link):
            written.append(number)
            kept.add(link)
    assert (written, table.reads) == ([3, 1], 1)
