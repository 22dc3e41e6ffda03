"""What names a person without saying who it is: keyed hashes of addresses and ids, and the nodes of identity.

A node is text: `v:SITE:VISITOR` a browser, `email:HASH` an address, `user:HASH` an id of the site's own users,
`customer:HASH` a number that another system gave, `phone:HASH` a number in E.164, `deal:SITE:ID` an opportunity. Hashes
differ from group to group, so one company's list never meets another's.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata

SAFE = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
ILLEGAL = frozenset((
    "", "0", "null", "none", "nil", "undefined", "nan", "guest", "anonymous", "unknown", "true", "false",
    "[object object]",
))
E164 = re.compile(r"\+[1-9][0-9]{6,14}(;ext=[0-9]{1,11})?\Z", re.ASCII)
ADDRESS = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f]{1,190}\.[^@\s\x00-\x1f.]{2,63}\Z")


def safe(text: str) -> str:
    """Outside text as a part of a key: as it is when harmless, else as its hash."""
    return text if SAFE.match(text) else hashlib.sha256(text.encode()).hexdigest()[:40]


def legal(identity: str) -> bool:
    """Whether a sender's id names somebody; "null" and its kin would glue strangers together."""
    return identity.strip().lower() not in ILLEGAL


def normal_address(text: str) -> str | None:
    """An e-mail address in the one form that we compare, or nothing when it is none.

    Source: RFC 5321; the local part is compared without case, as every large provider does.
    """
    address = unicodedata.normalize("NFKC", text).strip().lower()
    if not ADDRESS.match(address):
        return None
    local, _, domain = address.rpartition("@")
    try:
        return f"{local}@{domain.encode('idna').decode()}"
    except UnicodeError:
        return None


class Hasher:
    """Makes the identifiers of one group under the installation's pepper."""

    __slots__ = ("_key",)

    def __init__(self, pepper: bytes, group: str) -> None:
        self._key = hmac.digest(pepper, group.encode(), "sha256")

    def _hash(self, kind: str, value: str) -> str:
        return f"{kind}:{hmac.digest(self._key, f'{kind}|{value}'.encode(), 'sha256').hex()[:32]}"

    def address(self, text: str) -> str | None:
        """The identifier of an e-mail address; nothing when it is no address."""
        address = normal_address(text)
        return None if address is None else self._hash("email", address)

    def digest(self, text: str) -> str:
        """A name for outside words that may hold personal data: the same words, the same name, and no way back."""
        return hmac.digest(self._key, text.encode(), "sha256").hex()[:40]

    def user(self, user_id: str) -> str | None:
        """The identifier of a site's own user id; an address used as a user id is an address."""
        if not legal(user_id):
            return None
        return self.address(user_id) or self._hash("user", user_id.strip())

    def customer(self, number: str, system: str) -> str | None:
        """The identifier of a customer number in the system that gave it; the same number elsewhere is another."""
        return self._hash("customer", f"{system}:{number.strip()}") if legal(number) else None

    def phone(self, number: str) -> str | None:
        """The identifier of a phone number in E.164, with its extension as RFC 3966 writes it.

        Shapes: any other writing gives nothing, since only a door that knows the country can read it.
        """
        return self._hash("phone", number) if E164.match(number) else None

    def account(self, kind: str, value: str) -> str:
        """The key of a company by what is told of it: its domain, its corporate number, or its id of a group call."""
        return self._hash(kind, value)


def visitor_node(site: str, visitor: str) -> str:
    return f"v:{site}:{visitor}"


def deal_node(site: str, deal: str) -> str:
    return f"deal:{site}:{safe(deal)}"


def is_strong(node: str) -> bool:
    """Whether a node names a human or a buyer by itself, as an address does and a browser does not."""
    return not node.startswith(("v:", "deal:"))


def is_address(node: str) -> bool:
    return node.startswith("email:")


def kind_of(node: str) -> str:
    """What a node is: email, user, customer, phone, v or deal."""
    return node.partition(":")[0]
