"""The files that pass between the tasks of one run of the workflow."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from datetime import datetime
from typing import Any

from closedloop.lake import layout
from closedloop.lake.files import Files

SHARD = 1000


class RunFiles:
    """What one run selected, decided and did, shard by shard; the same run writes the same names."""

    def __init__(self, files: Files) -> None:
        self._files = files

    @property
    def bucket(self) -> str:
        return self._files.bucket

    def put_people(self, run: str, people: Sequence[str], due: Container[str] | None = None) -> str:
        """Cut the people into shards; the name of the list of shards.

        Shapes: `due` are those of whom something is known to be due, everybody when it is left out.
        """
        shards = [people[start : start + SHARD] for start in range(0, len(people), SHARD)]
        for number, shard in enumerate(shards):
            self._files.put_json(layout.shard(run, number), {
                "people": list(shard), "due": [person for person in shard if due is None or person in due],
            })
        self._files.put_json(layout.shards(run), [{"run": run, "shard": number} for number in range(len(shards))])
        return layout.shards(run)

    def shard(self, run: str, shard: int) -> tuple[list[str], set[str]]:
        """The people of a shard, and those of them of whom something is known to be due."""
        told = self._files.get_json(layout.shard(run, shard))
        return list(told["people"]), set(told["due"])

    def people(self, run: str, shard: int) -> list[str]:
        return self.shard(run, shard)[0]

    def put_outcome(self, run: str, shard: int, outcome: Mapping[str, Any]) -> None:
        self._files.put_json(layout.outcome(run, shard), outcome)

    def to_act_on(self, run: str, shard: int) -> list[str]:
        """The people of a shard for whom something may be to be done."""
        return list(self._files.get_json(layout.outcome(run, shard))["act_on"])

    def put_performed(self, run: str, shard: int, performed: Mapping[str, Any]) -> None:
        self._files.put_json(layout.performed(run, shard), performed)

    def outcomes(self, run: str) -> list[dict[str, Any]]:
        """What each shard of a run came to."""
        shards = self._files.get_json(layout.shards(run))
        return [dict(self._files.get_json(layout.outcome(run, int(shard["shard"])))) for shard in shards]

    def decided(self, since: datetime) -> list[tuple[str, int]]:
        """The shards that were decided since a moment, by run and number."""
        keys = self._files.keys_since(layout.RUNS, since)
        found = (key.removeprefix(layout.RUNS).rpartition("/outcome-") for key in keys)
        return [(run, int(name.removesuffix(".json"))) for run, _, name in found if run]

    def looked_at(self, run: str, shard: int) -> tuple[str, list[str]]:
        """When the people of a shard were decided about, an ISO time, and who they are."""
        return str(self._files.get_json(layout.outcome(run, shard))["at"]), self.people(run, shard)

    def performed(self, run: str) -> list[dict[str, Any]]:
        shards = self._files.get_json(layout.shards(run))
        return [dict(self._files.get_json(layout.performed(run, int(shard["shard"])))) for shard in shards]
