"""How fast people move on from stage to stage, and deals from opened to won; whoever is still there counts as such."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from closedloop.loops.definition import Loop
from closedloop.reports import survival
from closedloop.reports.deals import Deal
from closedloop.reports.facts import StageStay
from closedloop.reports.statistics import Interval, share
from closedloop.reports.survival import Wait
from closedloop.reports.window import Window, own_currency

MOVED, LOST, STILL, JOINED = "moved", "lost", "still", "joined"
HOURS_A_DAY = 24
MONTH = 30.0
# What a curve shows at most, so that a page stays small.
MOST_POINTS = 60
# With fewer people waiting, one of them moves a curve by a fifth and more.
LEAST_WAITING = 5


@dataclass(frozen=True, slots=True)
class StageVelocity:
    """How long people stay at one stage before they move on.

    Units: days; `median_days` is by Kaplan-Meier with Greenwood's error, those who left the path counting as waiting
    until then; the shares after 30 days are by Aalen-Johansen and sum to 1, None while nobody could stay so long.
    Shapes: `moved` went on to a stage of the path, `lost` left it, `joined` were found to be one with somebody who goes
    on for both, and count as waiting until then; `curve` are days and the share that had moved on, as
    long as five people were waiting.
    """

    stage: str
    entered: int
    moved: int
    lost: int
    still: int
    joined: int
    median_days: float | None
    median_low_days: float | None
    median_high_days: float | None
    moved_30: float | None
    lost_30: float | None
    still_30: float | None
    still_30_interval: Interval | None
    curve: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class PipelineVelocity:
    """What the open deals bring a day if they go as the decided ones went.

    Units: money in minor units; `cycle_days` is the median from opened to won by Kaplan-Meier. None: nothing to
    divide by, or half have not got there yet.
    """

    open: int
    won: int
    lost: int
    win_rate: float | None
    mean_value_minor: int | None
    cycle_days: float | None
    per_day_minor: int | None


def stage_velocity(loop: Loop, stays: Iterable[StageStay]) -> tuple[StageVelocity, ...]:
    """How fast each stage of the path is left; the last one leads nowhere and is left out."""
    of_stage: dict[str, list[Wait]] = {stage: [] for stage in loop.stages[:-1]}
    joined: Counter[str] = Counter()
    for stay in stays:
        if stay.stage in of_stage:
            end = "" if stay.end in (STILL, JOINED) else stay.end
            of_stage[stay.stage].append(Wait(stay.hours / HOURS_A_DAY, end, stay.people))
            joined[stay.stage] += stay.people if stay.end == JOINED else 0
    return tuple(_velocity(stage, waits, joined[stage]) for stage, waits in of_stage.items())


def _velocity(stage: str, waits: list[Wait], joined: int) -> StageVelocity:
    def people(end: str) -> int:
        return sum(wait.people for wait in waits if wait.end == end)

    moving = survival.still_waiting(waits, (MOVED,))
    anyhow = survival.still_waiting(waits, (MOVED, LOST))
    gone = {end: survival.reached(waits, end) for end in (MOVED, LOST)}
    known = survival.is_known_at(waits, MONTH)
    still = survival.at(anyhow, MONTH, 1.0)
    low, high = survival.median_interval(moving)
    curve = [point for point in gone[MOVED] if point.waiting >= LEAST_WAITING]
    step = max(1, -(-len(curve) // MOST_POINTS))
    return StageVelocity(
        stage=stage, entered=sum(wait.people for wait in waits), moved=people(MOVED), lost=people(LOST),
        still=people("") - joined, joined=joined,
        median_days=_days(survival.median(moving)), median_low_days=_days(low),
        median_high_days=_days(high), moved_30=survival.at(gone[MOVED], MONTH, 0.0).share if known else None,
        lost_30=survival.at(gone[LOST], MONTH, 0.0).share if known else None,
        still_30=still.share if known else None, still_30_interval=still.interval if known else None,
        curve=tuple((round(point.time, 3), round(point.share, 6)) for point in [*curve[:-1:step], *curve[-1:]]),
    )


def _days(days: float | None) -> float | None:
    return None if days is None else round(days, 3)


def pipeline_velocity(loop: Loop, deals: Iterable[Deal], seen: Window, as_of: datetime) -> PipelineVelocity:
    """Open deals × share won × mean value, by the days from opened to won; of the deals opened in the period.

    Source: analytics reference 5.2.
    """
    own = [deal for deal in deals if seen.holds(deal.opened_at) and own_currency(deal, loop)]
    won = [deal for deal in own if deal.won_at is not None]
    lost = [deal for deal in own if deal.won_at is None and deal.lost_at is not None]
    waits = [
        Wait(((deal.won_at or deal.lost_at or as_of) - deal.opened_at) / timedelta(days=1),
             MOVED if deal.won_at else LOST if deal.lost_at else "")
        for deal in own
    ]
    cycle = survival.median(survival.still_waiting(waits, (MOVED,)))
    rate = share(len(won), len(won) + len(lost))
    mean = round(sum(deal.revenue_minor for deal in won) / len(won)) if won else None
    is_open = len(own) - len(won) - len(lost)
    return PipelineVelocity(
        open=is_open, won=len(won), lost=len(lost), win_rate=rate, mean_value_minor=mean, cycle_days=_days(cycle),
        per_day_minor=round(is_open * rate * mean / cycle) if rate is not None and mean is not None and cycle else None,
    )
