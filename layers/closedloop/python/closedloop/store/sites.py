"""The sites that owners declare, with their write keys and origins."""

from __future__ import annotations

from collections.abc import Iterable

from closedloop.sites.definition import Site, key_hash, version_of
from closedloop.store import schema
from closedloop.store.table import Table, key


class Sites(Table):
    """Keeps what is declared of each site; all that the doors of capture read."""

    def put_site(self, site: Site, secret_keys: Iterable[str] = ()) -> None:
        """Declare a site; its keys are stored as hashes only."""
        body = site.model_dump_json(by_alias=True)
        self._put({**key(f"S#{site.site}", "CURRENT"), schema.BODY: {"S": body}, "version": {"S": version_of(site)}})
        self._put({**key("S", site.site), "list": {"S": site.list_name}})
        for word, kind in ((site.write_key, "public"), *((word, "secret") for word in secret_keys)):
            self._put(
                {
                    **key(f"K#{key_hash(word)}", "SITE"),
                    "site": {"S": site.site},
                    "use": {"S": kind},
                    schema.BODY: {"S": body},
                }
            )

        for origin in site.origins:
            self._put({**key(f"O#{origin}", "SITE"), "site": {"S": site.site}})

    def site_of_origin(self, origin: str) -> str | None:
        """The name of the site that pages of this origin belong to."""
        item = self._get(f"O#{origin}", "SITE", consistent=False)
        return None if item is None else str(item["site"]["S"])

    def site(self, name: str) -> Site | None:
        item = self._get(f"S#{name}", "CURRENT", consistent=False)
        return None if item is None else Site.model_validate_json(item[schema.BODY]["S"])

    def sites(self) -> dict[str, Site]:
        """Every site of the installation, by name."""
        found = (self.site(item[schema.SK]["S"]) for item in self._query("S", consistent=False))
        return {site.site: site for site in found if site is not None}

    def site_of_key(self, hashed: str) -> tuple[Site, bool] | None:
        """The site that a write key belongs to, and whether the key is the secret one."""
        item = self._get(f"K#{hashed}", "SITE", consistent=False)
        if item is None:
            return None
        return Site.model_validate_json(item[schema.BODY]["S"]), item["use"]["S"] == "secret"
