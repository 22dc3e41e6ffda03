"""What a loop's report says of the rates that the next plan may expect."""

from __future__ import annotations

from closedloop.loops.feasibility import GateRate, Past
from closedloop.loops.gates import HoldKind
from closedloop.reports.metrics import GateFlow, Report


def past_of(report: Report) -> Past:
    """The steps of a report, counted: who became known, who fitted, who passed each gate, what a deal was worth.

    Whoever a gate held out was ready; what the next plan holds out is taken off again there.
    """
    people, money = report.people, report.money
    mean = round(money.revenue_minor / money.deals_won) if money.deals_won else 0
    return Past(
        loop=report.loop, day=report.day, running=not report.ended,
        known=(min(people.new_persons, people.unique_users), people.unique_users),
        fit=(people.new_with_fit, people.new_persons), fit_at_least=people.fit_at_least,
        repeat=(round((people.back_30 or 0) * people.cohort_30), people.cohort_30),
        gates={flow.gate: _rate(flow) for flow in report.gates}, deal_value_minor=mean if mean > 0 else None,
    )


def _rate(flow: GateFlow) -> GateRate:
    held_out = sum(because.people for because in flow.holds if because.why == HoldKind.HOLDOUT)
    return GateRate(flow.from_stage, flow.to_stage, flow.advanced + held_out, flow.judged)
