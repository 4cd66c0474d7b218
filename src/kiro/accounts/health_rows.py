"""Health that survives restarts: one row per account that has something against it. Blocking functions."""

from collections.abc import Mapping

import msgspec

from kiro.accounts.health import FINE, Health
from kiro.storage.database import Change, Database


def load(database: Database) -> dict[str, Health]:
    """Health by account id. A row that a newer or older version wrote otherwise counts as nothing known."""
    found: dict[str, Health] = {}
    for row in database.rows("SELECT account, health FROM account_health"):
        try:
            found[row["account"]] = msgspec.json.decode(row["health"], type=Health)
        except msgspec.DecodeError:
            continue
    return found


def save(database: Database, changed: Mapping[str, Health]) -> None:
    """Write what has changed; perfect health needs no row, and an account that is gone gets none."""
    with database.change() as change:
        for account_id, health in changed.items():
            if health == FINE:
                forget(change, account_id)
            else:
                change.run(
                    "INSERT OR REPLACE INTO account_health SELECT id, ? FROM accounts WHERE id = ?",
                    (msgspec.json.encode(health).decode(), account_id),
                )


def forget(change: Change, account_id: str) -> None:
    change.run("DELETE FROM account_health WHERE account = ?", (account_id,))
