"""The sites that owners declare, with their write keys and origins."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from closedloop.sites.definition import Site, key_hash, version_of
from closedloop.store import schema
from closedloop.store.calls import CallFailed
from closedloop.store.table import Table, key


class Sites(Table):
    """Keeps what is declared of each site; all that the doors of capture read."""

    def put_site(self, site: Site, secret_keys: Iterable[str] = ()) -> None:
        """Declare a site; its keys are stored as hashes only, and what it has no longer is good for nothing any more.

        Shapes: the definition itself is written last, so that a declaration broken off and made again still knows what
        the former one gave away.
        """
        before = self._get(f"S#{site.site}", "CURRENT")
        body = site.model_dump_json(by_alias=True)
        public = (site.write_key, *site.former_write_keys)
        for word, kind in (*((word, "public") for word in public), *((word, "secret") for word in secret_keys)):
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
        if before is not None:
            for pk in _given(json.loads(before[schema.BODY]["S"])) - _given(json.loads(body)):
                self._take_back(pk, site.site)
        self._put({**key("S", site.site), "list": {"S": site.list_name}})
        self._put({**key(f"S#{site.site}", "CURRENT"), schema.BODY: {"S": body}, "version": {"S": version_of(site)}})

    def _take_back(self, pk: str, site: str) -> None:
        """End what a key or an origin leads to, unless it leads to another site by now."""
        try:
            self._dynamo.call(
                "DeleteItem",
                {
                    "TableName": self._table,
                    "Key": key(pk, "SITE"),
                    "ConditionExpression": "#site = :site",
                    "ExpressionAttributeNames": {"#site": "site"},
                    "ExpressionAttributeValues": {":site": {"S": site}},
                },
            )
        except CallFailed as error:
            if not error.is_condition:
                raise

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


def _given(site: Mapping[str, Any]) -> set[str]:
    """The partitions by which the public keys and the pages' origins of a stored definition lead to its site."""
    keys = {f"K#{key_hash(word)}" for word in (site["write_key"], *site.get("former_write_keys", ()))}
    return keys | {f"O#{origin}" for origin in site["origins"]}
