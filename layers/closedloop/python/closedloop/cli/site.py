"""closedloop site: declare a site, look at it, keep its secrets."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from closedloop.cli import console, tail
from closedloop.cli.deployed import AsJson, DryRun, Outputs, Stage, known_site, named
from closedloop.errors import BadDefinition, BadShape
from closedloop.events.money import digits
from closedloop.runtime import clock, doors, turnstile
from closedloop.runtime.sender import Standing, sender_standing
from closedloop.sites.definition import Site, key_hash, version_of
from closedloop.sites.document import Document
from closedloop.sites.notice import NoticeFormat, NoticeLanguage, notice

# What outside systems sign with: any of two live values is believed.
SIGNED = ("deals_", "_key", "_basic")

app = typer.Typer(no_args_is_help=True, help="Sites: what an owner declares of a web property.")
app.command(epilog="Example: closedloop site tail demo --since 1h")(tail.tail)


@app.command(epilog="Example: closedloop site apply examples/sites/demo.yaml")
def apply(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The site's YAML file.")],
    dry_run: DryRun = False, as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Declare a site from its file; the first time, its secret keys are made."""
    document = Document(file.read_bytes(), str(file))
    site = document.read_as(Site)
    where = named(stage, outputs)
    if problems := _problems_with(site, document):
        raise BadDefinition(str(file), problems)
    before = doors.state().site(site.site)
    change = "new" if before is None else "unchanged" if version_of(before) == version_of(site) else "changed"
    if not dry_run:
        secrets = _secrets_of(site)
        doors.state().put_site(site, [secrets["secret_key"]])
    standing = sender_standing(site.mail_sender, register=not dry_run) if site.mail_sender else None
    content = {"site": site.site, "version": version_of(site), "change": change, "written": not dry_run, "where": where}
    if as_json:
        console.as_json({**content, "mail_sender": standing.as_json() if standing else None})
        return
    console.facts(f"site {site.site}", content)
    if standing is not None:
        _show_sender(standing)
    if any(form.turnstile for form in site.forms.values()) and not doors.site_secrets(site.site).get(turnstile.SECRET):
        hint = f"closedloop site secrets {site.site} --set {turnstile.SECRET}=..."
        console.out().print(f"No form is checked by Turnstile yet: its secret is not set. Set it: {hint}")
    if "hubspot" in site.webhooks.deals and not doors.site_secrets(site.site).get("deals_hubspot"):
        hint = f"closedloop site secrets {site.site} --set deals_hubspot=..."
        console.out().print(f"No deal of HubSpot is believed yet: its app's client secret is not set. Set it: {hint}")


def _problems_with(site: Site, document: Document) -> tuple[tuple[int, int, str], ...]:
    """What the file says that cannot be true beside the other sites, or of this world."""
    problems = []
    former = [(("former_write_keys", number), word) for number, word in enumerate(site.former_write_keys)]
    for place, word in ((("write_key",), site.write_key), *former):
        owner = doors.state().site_of_key(key_hash(word))
        if owner is not None and owner[0].site != site.site:
            problems.append((*document.at(place), f"{place[0]}: this key is site {owner[0].site}'s; make another"))
    try:
        ZoneInfo(site.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        text = f"time_zone: expected a time zone, such as Asia/Tokyo, found '{site.time_zone}'"
        problems.append((*document.at(("time_zone",)), text))
    if site.currency is not None and digits(site.currency) is None:
        text = f"currency: expected a currency of ISO 4217, such as JPY, found '{site.currency}'"
        problems.append((*document.at(("currency",)), text))
    from phonenumbers import SUPPORTED_REGIONS

    if site.region not in SUPPORTED_REGIONS:
        text = f"region: expected a country by its two letters, such as JP, found '{site.region}'"
        problems.append((*document.at(("region",)), text))
    return tuple(sorted(problems))


def _show_sender(standing: Standing) -> None:
    """Say whether mails may leave, and what to set in the domain's DNS while they may not."""
    if standing.verified:
        console.out().print(f"Mails may be sent: Amazon SES has verified {standing.identity}.")
        return
    why = standing.problem or f"{standing.identity} is not verified with Amazon SES"
    console.out().print(f"No mail can be sent yet: {why}.")
    if standing.records:
        console.table(
            f"Set these records in the DNS of {standing.identity}; SES then verifies it by itself",
            ("type", "name", "value"), [("CNAME", name, value) for name, value in standing.records],
        )


def _secrets_of(site: Site) -> dict[str, Any]:
    """The site's secrets; what is missing is made once and then kept."""
    secrets = dict(doors.site_secrets(site.site))
    made = dict(secrets)
    made.setdefault("secret_key", "sk_" + clock.new_secret().hex())
    if "standard" in site.webhooks.deals:
        made.setdefault("deals_standard", ["whsec_" + base64.b64encode(clock.new_secret()).decode()])
    if "salesforce" in site.webhooks.deals:
        made.setdefault("deals_salesforce", [clock.new_secret().hex()])
    if made != secrets:
        doors.put_site_secrets(site.site, made)
    return made


@app.command()
def show(site: str, as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None) -> None:
    """Show a site as it was applied."""
    named(stage, outputs)
    content = known_site(site).model_dump(mode="json", by_alias=True)
    console.as_json(content) if as_json else console.facts(f"site {site}", content)


@app.command(epilog="Example: closedloop site snippet demo")
def snippet(site: str, stage: Stage = None, outputs: Outputs = None) -> None:
    """Print the line that goes into the site's pages."""
    from closedloop.runtime import settings

    named(stage, outputs)
    endpoint, known = settings.settings()[settings.PUBLIC_URL], known_site(site)
    print(f'<script async src="{endpoint}/t.js" data-site="{known.write_key}" data-consent="{known.consent}"></script>')


@app.command("notice", epilog="Example: closedloop site notice demo --lang ja --format html > notice.html")
def notice_(
    site: str,
    lang: Annotated[NoticeLanguage, typer.Option(help="The language of the notice.")] = NoticeLanguage.JA,
    format_: Annotated[NoticeFormat, typer.Option("--format", help="How it is written.")] = NoticeFormat.MARKDOWN,
    stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Print the notice of what the site's pages send, to whom, why and how to refuse it, ready to publish."""
    from closedloop.runtime import settings

    named(stage, outputs)
    print(notice(known_site(site), settings.settings()[settings.PUBLIC_URL], lang, format_), end="")


def _with_the_last(old: Any, value: str) -> list[str]:
    """A new secret, and the last one until the sender has changed over."""
    return [value, *(one for one in (old if isinstance(old, list) else [old]) if one and one != value)][:2]


@app.command(epilog="Example: closedloop site secrets demo --set sendgrid_key=MFkw...")
def secrets(
    site: str,
    set_: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE, from the provider's console.")] = None,
    show_values: Annotated[bool, typer.Option("--show", help="Print the values, not only the names.")] = False,
    as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """List or set what outside systems sign with; values are shown only when asked for."""
    named(stage, outputs)
    kept = dict(doors.site_secrets(known_site(site).site))
    for pair in set_ or ():
        name, mark, value = pair.partition("=")
        if not mark or not value:
            raise BadShape(f"--set {name}: expected NAME=VALUE")
        if name == "secret_key":
            raise BadShape("--set secret_key: this key is made by `closedloop site apply`, and is its own")
        signs = name.startswith(SIGNED) or name.endswith(SIGNED)
        kept[name] = _with_the_last(kept.get(name), value) if signs else value
    if set_:
        doors.put_site_secrets(site, kept)
    content = kept if show_values else dict.fromkeys(kept, "(set)")
    console.as_json(content) if as_json else console.facts(f"secrets of {site}", content)
