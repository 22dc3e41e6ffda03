"""What kind of people a campaign brings: known or new, wanted or not, staying, or gone when the fireworks are over."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from closedloop.reports.bottleneck import prior
from closedloop.reports.facts import CampaignPeople, NewPerson
from closedloop.reports.statistics import Interval, newcombe, share, wilson

FIREWORK = 0.5


@dataclass(frozen=True, slots=True)
class CampaignQuality:
    """The people of one campaign.

    Units: `met` are people and browsers that met it in the period, `known` those of them who were known before;
    `brought` are new persons whom it met last, `mature` those of them who had thirty days to come back. Shares 0 to 1.
    Shapes: `firework` is 1 − share back by the share back of all that other campaigns brought; `answer` is lasting,
    firework, not_enough_evidence, or empty while there is nobody to compare. `prize_hunters` took a prize and did
    nothing else in thirty days; `no_return` is the share never back, drawn to all campaigns' where few are known.
    """

    campaign: str
    met: int | None
    known: int | None
    brought: int
    fit_share: float | None
    mature: int
    back: int
    back_share: float | None
    back_interval: Interval | None
    others_share: float | None
    firework: float | None
    answer: str
    prize_hunters: int
    prize_share: float | None
    no_return: float | None


def campaign_quality(
    brought: Mapping[str, Sequence[NewPerson]], mature: Mapping[str, Sequence[NewPerson]],
    people: Sequence[CampaignPeople], names: Sequence[str], of_loop: Collection[str], fit: int,
) -> tuple[CampaignQuality, ...]:
    """The people of each campaign named, those who had thirty days beside all others who had them.

    Shapes: `people` are those of the loop's campaigns alone, of which nobody met those left out.
    Source: analytics reference 5.4; the prior by the moments of 6.4.
    """
    met = {name: CampaignPeople(name, 0, 0) for name in of_loop} | {one.campaign: one for one in people}
    back = {name: sum(new.back_30 for new in mature.get(name, ())) for name in names}
    whole = {name: len(mature.get(name, ())) for name in names}
    all_back, everybody = sum(back.values()), sum(whole.values())
    a, b = prior([1 - back[name] / whole[name] for name in names if whole[name]])
    found = []
    for name in names:
        mine, of_all = back[name], whole[name]
        others_back, others = all_back - mine, everybody - of_all
        rate, usual = share(mine, of_all), share(others_back, others)
        index = 1 - rate / usual if rate is not None and usual else None
        hunters = sum(new.prize_only for new in mature.get(name, ()))
        listed = brought.get(name, ())
        told = met.get(name)
        found.append(CampaignQuality(
            campaign=name, met=told.people if told else None, known=told.known if told else None,
            brought=len(listed), fit_share=share(sum(new.fit >= fit for new in listed), len(listed)), mature=of_all,
            back=mine, back_share=rate, back_interval=wilson(mine, of_all),
            others_share=usual if of_all else None, firework=index,
            answer=_answer(index, newcombe(others_back, others, mine, of_all)), prize_hunters=hunters,
            prize_share=share(hunters, of_all), no_return=(of_all - mine + a) / (of_all + a + b) if of_all else None,
        ))
    return tuple(found)


def _answer(index: float | None, fewer: Interval | None) -> str:
    """Whether a campaign's people stay away; a flag only where chance alone does not explain that they do."""
    if index is None or fewer is None:
        return ""
    if index <= FIREWORK:
        return "lasting"
    return "firework" if fewer.low > 0 else "not_enough_evidence"
