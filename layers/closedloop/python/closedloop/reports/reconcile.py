"""The promises that every report keeps before anybody sees it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from closedloop.attribution.rules import RULES
from closedloop.errors import NotReconciled
from closedloop.reports.credit import Credits
from closedloop.reports.facts import Facts
from closedloop.reports.metrics import Check, Report

RELATIONS = {"=": int.__eq__, "≥": int.__ge__}


def reconciled(report: Report, facts: Facts, credits: Credits) -> Report:
    """The report with its checks.

    Errors: NotReconciled names the checks that do not hold; such a report is not published.
    """
    checks = tuple(_checks(report, facts, credits))
    failed = tuple(f"{check.name}: {check.left} {check.relation} {check.right}" for check in checks if not check.holds)
    if failed:
        raise NotReconciled(failed)
    return replace(report, reconciles=True, checks=checks)


def _check(name: str, left: int, relation: str, right: int) -> Check:
    return Check(name, left, relation, right, bool(RELATIONS[relation](left, right)))


def _checks(report: Report, facts: Facts, credits: Credits) -> Iterator[Check]:
    quality, people, money = facts.quality, report.people, report.money
    yield _check("events_counted_once", quality.counted + quality.set_aside, "=", quality.distinct_ids)
    yield _check("delivered_covers_counted", quality.delivered, "≥", quality.counted)
    yield _check("page_views_cover_users", people.page_views, "≥", people.unique_users)
    yield _check("users_are_known_or_anonymous", people.known + people.anonymous, "=", people.unique_users)
    yield _check("persons_cover_new", people.persons_known, "≥", people.new_persons)
    yield _check("new_cover_fit", people.new_persons, "≥", people.new_with_fit)
    yield _check("campaigns_brought_all_new", sum(c.brought for c in report.campaigns), "=", people.new_persons)
    yield _check("days_are_new", sum(day.new_persons for day in report.days), "=", people.new_persons)
    yield _check("days_are_deals", sum(day.deals_won for day in report.days), "=", money.deals_won)
    yield _check("days_are_revenue", sum(day.revenue_minor for day in report.days), "=", money.revenue_minor)
    first_seen = sum(week.first_seen for week in report.weeks)
    yield _check("cohorts_are_first_seen", sum(cohort.people for cohort in report.cohorts), "=", first_seen)
    quality_brought = sum(one.brought for one in report.campaign_quality)
    yield _check("quality_covers_new", quality_brought, "=", people.new_persons)
    for one in report.campaign_quality:
        if one.met is not None and one.known is not None:
            yield _check(f"met_covers_known:{one.campaign}", one.met, "≥", one.known)
    listed = report.addresses
    words = listed.bounced + listed.complained + listed.stopped + listed.gone_quiet + listed.alive
    yield _check("addresses_sum", listed.addresses, "=", words)
    entries = {stage.stage: stage for stage in report.stages}
    for pace in report.velocity:
        entered, now = (entries[pace.stage].entered, entries[pace.stage].now)
        stays = pace.moved + pace.lost + pace.still + pace.joined
        yield _check(f"stays_are_entries:{pace.stage}", stays, "=", entered)
        yield _check(f"still_is_now:{pace.stage}", pace.still, "=", now)
    yield _check("paths_whole", facts.broken_paths, "=", 0)
    for stage in report.stages:
        yield _check(f"stage_balance:{stage.stage}", stage.entered - stage.left, "=", stage.now)
    yield _check("everybody_stands_somewhere", sum(stage.now for stage in report.stages), "=", people.persons_in_loop)
    yield _check("paths_cover_persons", facts.paths, "≥", people.persons_in_loop)
    yield _check("advances_moved", facts.advances_without_move, "=", 0)
    for gate in report.gates:
        said = sum(count.people for count in facts.verdicts if count.gate == gate.gate)
        yield _check(f"verdicts_sum:{gate.gate}", gate.advanced + gate.held + gate.excluded, "=", said)
    judged = sum(count.people for count in facts.verdicts)
    yield _check("gates_cover_verdicts", sum(gate.judged for gate in report.gates), "=", judged)
    for arms in facts.arms:
        yield _check(f"arms_sum:{arms.kind}:{arms.gate}", arms.treated + arms.holdout + arms.mixed, "=", arms.eligible)
    for rule, by_channel in credits.by_rule.items():
        value = sum(share.value for share in by_channel.values())
        yield _check(f"credit_is_revenue:{rule}", value, "=", money.revenue_minor)
        whole = sum((share.conversions for share in by_channel.values()), Fraction(0))
        yield Check(f"credit_is_deals:{rule}", int(whole), "=", money.deals_won, whole == money.deals_won)
    for model in report.models:
        shown = sum(share.revenue_minor for share in model.channels.values())
        yield _check(f"table_is_revenue:{model.model}", shown, "=", money.revenue_minor)
    for rule in RULES:
        shown = sum(getattr(campaign, rule).revenue_minor for campaign in report.campaigns)
        yield _check(f"campaigns_are_revenue:{rule}", shown, "=", money.revenue_minor)
    apart = sum(foreign.revenue_minor for foreign in report.foreign)
    yield _check("funnel_is_revenue", sum(row.revenue_minor for row in facts.funnel), "=", money.revenue_minor + apart)
    entered = sum(stage.entered for stage in report.stages)
    yield _check("stages_cover_funnel", entered, "≥", sum(row.entered for row in facts.funnel))
    for mail in report.mails:
        done = mail.sent + mail.pending + mail.failed + mail.unknown
        yield _check(f"actions_sum:{mail.campaign}", mail.asked_for, "=", done)
