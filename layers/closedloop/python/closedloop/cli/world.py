"""closedloop world: a small world with known truth, written to a folder and played through the real doors."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from closedloop.cli import console
from closedloop.cli.deployed import AsJson, Outputs, Stage, known_site, named
from closedloop.errors import NotFound
from closedloop.events.identifiers import Hasher
from closedloop.runtime import clock, doors, settings
from closedloop.world import files, mailbox
from closedloop.world.courier import Played
from closedloop.world.generate import generate
from closedloop.world.offices import offices as hard_to_tell
from closedloop.world.offices import resolved
from closedloop.world.pages import serve
from closedloop.world.play import play as play_world
from closedloop.world.post import OverHttp
from closedloop.world.react import react as play_reactions

app = typer.Typer(
    invoke_without_command=True, help="A synthetic world: visitors, buyers, bots and prize hunters with known truth.",
)


@app.callback()
def world(
    context: typer.Context,
    people: Annotated[int, typer.Option(min=1, help="How many people.")] = 200,
    seed: Annotated[int, typer.Option(help="The same seed is the same world.")] = 1,
    out: Annotated[Path | None, typer.Option(help="The folder to write.")] = None,
    until: Annotated[datetime | None, typer.Option(help="The last day; today when left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a world: events, forms, deals, mails, costs, reactions, and the truth about all of it."""
    if context.invoked_subcommand is not None:
        return
    if out is None:
        raise typer.BadParameter("--out: name a folder to write the world to")
    end = until.replace(tzinfo=UTC) if until else clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    with console.progress("people and visits", None) as bar:
        written = files.write(
            generate(people, seed, end), out,
            lambda done, total: bar.update(bar.task_ids[0], completed=done, total=total),
        )
    content = {
        "folder": str(written.folder), "people": people, "seed": seed, "until": end.isoformat(),
        "counts": written.counts,
    }
    console.as_json(content) if as_json else console.facts("world", content)


def _on_progress(bar: Any) -> Callable[[str, int, int], None]:
    return lambda what, done, total: bar.update(bar.task_ids[0], description=what, completed=done, total=total)


@app.command(epilog="Example: closedloop world play world/ --site demo")
def play(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
    site: str = "demo", as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Send a world's events, forms, deals, mails and costs through the real routes."""
    named(stage, outputs)
    secrets = dict(doors.site_secrets(known_site(site).site))
    sign = _mail_provider(site, secrets)
    post = OverHttp()
    with console.progress("events", None) as bar:
        played = play_world(
            folder, settings.settings()[settings.PUBLIC_URL], secret_key=secrets["secret_key"],
            deals_secret=secrets["deals_standard"][0], post=post, now=clock.now, wait=clock.sleep,
            on_progress=_on_progress(bar), sign_mail=sign, site=site,
        )
    post.close()
    _show(played, as_json)


@app.command(epilog="Example: closedloop world react world/ --mailbox http://127.0.0.1:4566")
def react(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
    mailbox_url: Annotated[str, typer.Option("--mailbox", help="The emulator that kept the mails.")],
    loop: Annotated[str, typer.Option(help="The loop whose mails they are.")],
    site: str = "demo", as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Let those who were mailed react: they click, read, ask and buy."""
    named(stage, outputs)
    known = known_site(site)
    secrets = dict(doors.site_secrets(site))
    found = doors.state().loop(loop)
    if found is None:
        raise NotFound(f"no loop {loop!r} is known")
    post = OverHttp()
    subjects = {campaign.mail.subject: campaign.name for campaign in found.campaigns if campaign.mail}
    with console.progress("reactions", None) as bar:
        played = play_reactions(
            folder, settings.settings()[settings.PUBLIC_URL], mailbox.mailbox(mailbox_url, post, subjects),
            write_key=known.write_key, deals_secret=secrets["deals_standard"][0], post=post, now=clock.now,
            wait=clock.sleep, on_progress=_on_progress(bar), site=site,
        )
    post.close()
    _show(played, as_json)


@app.command(epilog="Example: closedloop world pages examples/pages --port 8000")
def pages(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
    port: int = 8000, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Serve the example pages on this machine until Ctrl-C, with the tracker pointed at the deployment."""
    named(stage, outputs)
    with serve(folder, settings.settings()[settings.PUBLIC_URL], port) as server:
        server.serve_forever()


@app.command(epilog="Example: closedloop world offices --people 2000")
def offices(
    people: Annotated[int, typer.Option(min=2, help="How many people.")] = 1000,
    seed: Annotated[int, typer.Option(help="The same seed is the same world.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Tell people apart who share browsers, logins and telephones, and hold it against the truth; nothing is sent."""
    end = clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    found = resolved(hard_to_tell(people, seed, end, Hasher(b"a world of its own", "demo")))
    content = asdict(found) | {"precision": round(found.precision, 4), "recall": round(found.recall, 4)}
    console.as_json(content) if as_json else console.facts("persons against the truth", content)


def _show(played: Played, as_json: bool) -> None:
    content = asdict(played)
    console.as_json(content) if as_json else console.facts("played", content)
    if played.failures:
        raise typer.Exit(1)


def _mail_provider(site: str, secrets: dict[str, Any]) -> Callable[[bytes], dict[str, str]]:
    """Stand in for SendGrid: a key pair of our own, whose public half the site is told.

    Source: SendGrid, "Getting Started with the Event Webhook Security Features": ECDSA over timestamp and raw body.
    """
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = ec.generate_private_key(ec.SECP256R1())
    public = base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    doors.put_site_secrets(site, {**secrets, "sendgrid_key": public})

    def sign(body: bytes) -> dict[str, str]:
        stamp = str(int(clock.now().timestamp()))
        signature = key.sign(stamp.encode() + body, ec.ECDSA(hashes.SHA256()))
        return {
            "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
            "X-Twilio-Email-Event-Webhook-Timestamp": stamp,
        }

    return sign
