"""Networks by name. The house's own are folders of this room; a third party's come by an entry point."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from importlib import metadata

from espalier import networks
from espalier.errors import InputError
from espalier.networks.card import Network
from espalier.spec.load import NetworkEntry

GROUP = "espalier.networks"
"""The entry point group; each entry names a `Network`."""


def names() -> list[str]:
    """The house's own networks, found by their folders. Imports none of them."""
    return sorted(module.name for module in pkgutil.iter_modules(networks.__path__) if module.ispkg)


def get(name: str) -> Network:
    """The card of that name. Entry points are asked only when the house has none; raises InputError with the others."""
    if name in names():
        card: Network = importlib.import_module(f"{networks.__name__}.{name}").CARD
        return card
    return _plug_in(name)


def entry(name: str) -> NetworkEntry:
    """What a spec needs to know of the network; the lookup that `spec.load` is handed."""
    card = get(name)
    return NetworkEntry(card.spec, card.presets)


def for_task(task: str) -> list[Network]:
    """The cards of the house's own networks that can do a task."""
    return [card for card in map(get, names()) if task in card.tasks]


def _plug_in(name: str) -> Network:
    entries = {entry.name: entry for entry in metadata.entry_points(group=GROUP)}
    if name not in entries:
        known = sorted({*names(), *entries})
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        raise InputError(f"there is no network '{name}'; {hint}the networks are: {', '.join(known)}")
    card = entries[name].load()
    if not isinstance(card, Network):
        raise InputError(f"the plug-in '{entries[name].value}' offers no espalier Network as '{name}'")
    return card
