"""Where every file of the lake and of the reports lies; the only place where paths are spelt."""

from __future__ import annotations

from datetime import date

EVENTS = "events/"
DECISIONS = "decisions/"
FAILED = "failed/"
RUNS = "runs/"
SPILL = "spill/"
# Whole days of events and decisions as Parquet, made from what was delivered.
COMPACTED = "compacted/"
# What owners drop in, and what became of it.
IMPORTS = "imports/"
IMPORTED = "imported/"


def archived(prefix: str, received: date, first: str) -> str:
    """One delivered batch: named after its first record, so a batch delivered again overwrites itself."""
    return f"{of_day(prefix, received)}{first}.ndjson.gz"


def of_day(prefix: str, day: date) -> str:
    """The folder of all that was delivered of one day."""
    return f"{prefix}dt={day:%Y-%m-%d}/"


def compacted(prefix: str, day: date) -> str:
    """One day as one file, always under the same name: what replaces it does so at once and whole."""
    return f"{COMPACTED}{of_day(prefix, day)}part-0.parquet"


def day_of(folder: str) -> date:
    """The day of a folder."""
    return date.fromisoformat(folder.rstrip("/").rpartition("dt=")[2])


def spilled(received: date, name: str) -> str:
    """What the ledger did not take and the queue could not hold."""
    return f"{SPILL}{received:%Y-%m-%d}/{name}.json"


def imported(site: str = "", kind: str = "", source: str = "", name: str = "", file: str = "") -> str:
    """What is kept of an import; with fewer words, the folder of all imports of a source, a kind, a site or at all."""
    parts = [f"site={site}", f"kind={kind}", f"source={source}", name, file]
    given = parts[: next((at for at, word in enumerate((site, kind, source, name, file)) if not word), len(parts))]
    return IMPORTED + "/".join(given) + ("" if file else "/" if given else "")


def refused(name: str) -> str:
    """Why a file that was dropped could not be imported at all."""
    return f"{IMPORTED}refused/{name}.json"


def shards(run: str) -> str:
    """The list of a run's shards."""
    return f"{RUNS}{run}/shards.json"


def shard(run: str, number: int) -> str:
    """The people of one shard."""
    return f"{RUNS}{run}/people-{number:05d}.json"


def outcome(run: str, number: int) -> str:
    """What was decided for the people of one shard."""
    return f"{RUNS}{run}/outcome-{number:05d}.json"


def performed(run: str, number: int) -> str:
    """What was done for the people of one shard."""
    return f"{RUNS}{run}/performed-{number:05d}.json"


def reports_of(site: str, loop: str) -> str:
    """All reports of a loop, under the first site that it names."""
    return f"reports/site={site}/loop={loop}/"


def report_version(site: str, loop: str, version: str) -> str:
    """One report of a loop, which stays as it was written."""
    return f"{reports_of(site, loop)}version={version}/"


def report_folder(site: str, loop: str, day: date) -> str:
    """A loop's newest report of one day."""
    return f"{reports_of(site, loop)}dt={day:%Y-%m-%d}/"


# In the folder of a report: the draft of the next loop, and what it rests on.
DRAFT, ADVICE_FILE = "proposal.yaml", "proposal.json"
# In the folder of a version: what is told of it, and the mark that it was told.
NOTICE_FILE, NOTICED_FILE = "notice.json", "noticed.json"


def console_link(bucket: str, key: str) -> str:
    """Where somebody who may sign in to the account opens a file; it needs no key in it and never runs out."""
    return f"https://s3.console.aws.amazon.com/s3/object/{bucket}?prefix={key}"


def latest_report(site: str, loop: str) -> str:
    """A loop's newest report, always at the same place."""
    return f"{reports_of(site, loop)}latest/"


def report_schema() -> str:
    """What stands in every summary.json."""
    return "schemas/loop-report.schema.json"


def curated_parquet(table: str, site: str, loop: str, day: date) -> str:
    """One day of a table; the loop stands in the file's name, so two loops of a site do not overwrite each other."""
    return f"curated/{table}/site={site}/dt={day:%Y-%m-%d}/{loop}.part-0.parquet"


def curated_csv_folder(table: str, site: str) -> str:
    """All CSV files of one site's table."""
    return f"curated_csv/{table}/site={site}/"


def curated_csv(table: str, site: str, loop: str, year: int) -> str:
    """One year of a table, for machines."""
    return f"{curated_csv_folder(table, site)}{loop}.part-{year}.csv"


def quicksight_manifest(table: str) -> str:
    """What QuickSight reads to find a table's CSV files."""
    return f"manifests/quicksight/{table}.json"
