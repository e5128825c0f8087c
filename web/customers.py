"""Customers: search, and one customer with all contacts. What a role may not read is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crm_core import customers
from web.languages import NAMES
from web.problems import not_found
from web.schemas import Contact, Customer, CustomerBrief, Customers, Timeline
from web.sentences import word

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiohttp import web

    from web.asking import Ask
    from web.schemas import CustomerQuery, SearchQuery, TimelineQuery

FEWEST_CHARACTERS = 2
PAGE_CONTACTS = 20


async def search_page(ask: Ask, *, query: SearchQuery) -> web.StreamResponse:
    """The search, with what it found."""
    found, is_more = await _found(ask, query)
    return await ask.page("customers.html", q=query.q.strip(), found=found, is_more=is_more)


async def search(ask: Ask, *, query: SearchQuery) -> Customers:
    """What a search found."""
    found, is_more = await _found(ask, query)
    return Customers(customers=found, is_more=is_more)


async def page(ask: Ask, *, query: CustomerQuery) -> web.StreamResponse:
    """One customer."""
    customer = await _customer(ask)
    contacts, before = await _contacts(ask, limit=PAGE_CONTACTS, before=query.before)
    configuration = await ask.services.configured.current(now=ask.now)
    labels = configuration.disposition_labels(ask.language.tag)
    return await ask.page(
        "customer.html",
        customer=customer,
        facts=_facts(ask, customer),
        products=customer.products if "products" in customer.model_fields_set else None,
        contacts=contacts,
        dispositions=labels,
        earlier=before,
        is_continued=query.before is not None,
    )


async def get(ask: Ask) -> Customer:
    """One customer."""
    return await _customer(ask)


async def timeline(ask: Ask, *, query: TimelineQuery) -> Timeline:
    """A part of a customer's contacts."""
    await _customer(ask)
    contacts, before = await _contacts(ask, limit=query.limit, before=query.before)
    return Timeline(contacts=contacts, before=before)


async def _found(ask: Ask, query: SearchQuery) -> tuple[list[CustomerBrief], bool]:
    if len(query.q.strip()) < FEWEST_CHARACTERS:
        return [], False
    rules = (await ask.services.configured.current(now=ask.now)).rules
    async with ask.services.database.read() as connection:
        rows = await customers.search(connection, ask.reader, rules, query.q, limit=query.limit + 1, offset=0)
    return [CustomerBrief(**row) for row in rows[: query.limit]], len(rows) > query.limit


async def _customer(ask: Ask) -> Customer:
    rules = (await ask.services.configured.current(now=ask.now)).rules
    async with ask.services.database.read() as connection:
        row = await customers.customer(connection, ask.reader, rules, ask.customer)
    if row is None:
        raise not_found()
    if "owner" not in row:
        row.pop("owner_name", None)
    return Customer(**row)


async def _contacts(ask: Ask, *, limit: int, before: float | None) -> tuple[list[Contact], float | None]:
    rules = (await ask.services.configured.current(now=ask.now)).rules
    async with ask.services.database.read() as connection:
        rows = await customers.timeline(connection, ask.reader, rules, ask.customer, limit=limit + 1, before=before)
    contacts = [Contact(**row) for row in rows[:limit]]
    return contacts, contacts[-1].at if len(rows) > limit else None


def _facts(ask: Ask, customer: Customer) -> list[tuple[str, Any]]:
    """Label and value of what is known and may be shown."""
    _ = ask.language.gettext
    address = next(iter(customer.addresses), None)
    facts = [
        (_("Kind"), word(_, "kind", customer.kind) if customer.kind else ""),
        (_("Account"), customer.account_number),
        (_("Status"), word(_, "status", customer.status) if customer.status else ""),
        (_("Language"), NAMES.get(customer.language or "", customer.language)),
        (_("Looked after by"), customer.owner_name),
        (_("Numbers"), _joined(number.e164 for number in customer.numbers)),
        (_("E-mail"), _joined(email.address for email in customer.emails)),
        (
            _("Address"),
            _joined([address.street, address.city, address.postcode, address.country]) if address is not None else "",
        ),
        (_("Organisation"), _joined(one.name for one in customer.organisations)),
        (_("People"), _joined(one.name for one in customer.people[:10])),
    ]
    return [(label, value) for label, value in facts if value]


def _joined(parts: Iterable[str | None]) -> str:
    return ", ".join(part for part in parts if part)
