"""How a command is told whom it is about: by address, phone, user id, customer number, or the id of a person."""

from __future__ import annotations

from closedloop.capture.form_fields import WORDS, WrongValue, normal
from closedloop.errors import BadShape, NotFound
from closedloop.events.identifiers import Hasher
from closedloop.runtime import doors
from closedloop.sites.definition import FormField, Site

PHONE = FormField(name="phone", kind="phone")


def name_of(kind: str, text: str, site: Site) -> str:
    """The identifier of somebody, as a kind and the words for it.

    Shapes: kind is email, phone, user, customer (SYSTEM:NUMBER) or person.
    Errors: BadShape when the words are none of that kind; NotFound when no person has this id.
    """
    hasher = Hasher(doors.pepper(), site.list_name)
    if kind == "person":
        return _anchor(text)
    if kind == "phone":
        try:
            found = hasher.phone(normal(PHONE, text, site.region))
        except WrongValue as problem:
            raise BadShape(f"phone: {WORDS[problem.what][0].format(**problem.words)}") from problem
    elif kind == "customer":
        system, _, number = text.partition(":")
        found = hasher.customer(number, system) if number else None
    else:
        found = hasher.address(text) if kind == "email" else hasher.user(text)
    if found is None:
        expected = {"email": "an e-mail address", "customer": "SYSTEM:NUMBER, such as dealer:1042"}
        raise BadShape(f"{kind}: expected {expected.get(kind, 'a ' + kind)}")
    return found


def name_in(text: str, site: Site) -> str:
    """The identifier of somebody whom one word names.

    Shapes: an address, +81..., p_..., or user:, customer: or phone: and the words for it.
    """
    kind, _, rest = text.partition(":")
    if rest and kind in ("email", "phone", "user", "customer"):
        return name_of(kind, rest, site)
    if text.startswith("p_"):
        return name_of("person", text, site)
    return name_of("phone" if text.startswith("+") else "email", text, site)


def _anchor(person: str) -> str:
    stored = doors.state().profile(person)
    while stored.moved_to:
        stored = doors.state().profile(stored.moved_to)
    if stored.profile is None:
        raise NotFound(f"no person {person!r} is known")
    return stored.profile.anchor
