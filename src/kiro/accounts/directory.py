"""The person's accounts: rows in the database, secrets in the vault.

Adding an account that is already there (same person by the rules of `_same`) brings it new secrets
as one unit and keeps its id, name, priority and history. Secrets are written before the row and
removed after it, so a crash in between leaves a secret that nobody points to, never an account
without one.

Sign-in, sign-out and refresh of one account take the same lock (`lock`), across processes: a refresh
that comes late cannot bring back an account that was removed. `version` tells a running server that
another process changed something.
"""

import re
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from kiro.accounts import account_rows, health_rows
from kiro.accounts.account import Account, Mode, State, UsageSnapshot
from kiro.accounts.health import Health
from kiro.accounts.identity import SIGNS, is_newer, no_other, with_what_was_known
from kiro.accounts.naming import check_name, free_name, suggested_name
from kiro.auth.credentials import (
    ApiKeyCredentials,
    Credentials,
    can_refresh,
    expiry,
    from_record,
    kind_of,
    long_lived,
    profile_arn,
    to_record,
)
from kiro.auth.fields import is_proxy
from kiro.auth.records import ImportedAccount
from kiro.errors import StorageError, UsageError
from kiro.redaction import Secret, without_password
from kiro.storage.database import Database
from kiro.storage.files import FileLock
from kiro.storage.vault import Vault

_CREDENTIALS: Final = "credentials"
_PROXY: Final = "proxy"
_ROTATED: Final = "rotated"
_MACHINE_ID: Final = re.compile(r"[0-9a-f]{64}")


class Added(msgspec.Struct, frozen=True):
    """What became of an added account: a new one, or one that was there already and has new secrets.

    `kept`: it was there, and its own secrets are the newer ones.
    """

    account: Account
    merged: bool
    kept: bool = False


class Removed(msgspec.Struct, frozen=True):
    """An account that is gone, with the secrets it had, as far as they could be read."""

    account: Account
    credentials: Credentials | None
    proxy: Secret | None


class AccountDirectory:
    """All accounts. Blocking calls; an account is named by its name or its id. Any thread may call."""

    def __init__(self, database: Database, vault: Vault, locks_dir: Path) -> None:
        self._database = database
        self._vault = vault
        self._locks_dir = locks_dir

    def version(self) -> int:
        """Changes whenever any process changes an account. One small query."""
        return self._database.counter("accounts_version")

    def list(self) -> list[Account]:
        """All accounts, in the order they are used and shown."""
        return [
            account_rows.read(row)
            for row in self._database.rows("SELECT * FROM accounts ORDER BY priority, created_at, id")
        ]

    def find(self, name: str) -> Account | None:
        row = self._database.row("SELECT * FROM accounts WHERE id = ? OR name = ? ORDER BY id <> ?", (name, name, name))
        return None if row is None else account_rows.read(row)

    def get(self, name: str) -> Account:
        """Raises UsageError naming what there is."""
        account = self.find(name)
        if account is None:
            names = ", ".join(one.name for one in self.list())
            raise UsageError(
                f"There is no account {name!r}.",
                hint=f"There is: {names}." if names else "`kiro login` adds the first.",
            )
        return account

    def lock(self, account_id: str) -> FileLock:
        """Held while the secrets of an account change."""
        return FileLock(self._locks_dir / f"account-{account_id}.lock")

    def add(
        self,
        imported: ImportedAccount,
        *,
        name: str | None = None,
        mode: Mode = "own",
        source: str | None = None,
        now: datetime | None = None,
        keep_newer: bool = False,
    ) -> Added:
        """Add an account, or renew the secrets of the one it is. `name` is the person's choice for a new one.

        `keep_newer`: a sign-in that works and was refreshed after the newcomer stays; an old copy would end it.
        """
        if name is not None:
            check_name(name)
        known = self.known(imported, source)
        if known is not None:
            if name is not None:
                self._refuse_taken(name, except_id=known.id)
            if keep_newer and is_newer(known, imported):
                return Added(known if name is None else self.rename(known.id, name), merged=True, kept=True)
            return Added(self._renew(known, imported, name, mode, source), merged=True)
        account = self._new(imported, name, mode, source, now or datetime.now(UTC))
        self._vault.put(account.id, _CREDENTIALS, to_record(imported.credentials))
        if imported.proxy is not None:
            self._vault.put(account.id, _PROXY, imported.proxy.reveal().encode())
        with self._database.change() as change:
            account_rows.insert(change, account)
        return Added(account, merged=False)

    def known(self, imported: ImportedAccount, source: str | None = None) -> Account | None:
        """The account that this one is, if it is here. An account that follows `source` is known by that, too."""
        same = self._same(imported)
        if same is not None or source is None:
            return same
        kind = kind_of(imported.credentials)
        alike = [account for account in self.list() if account.mode != "own" and account.kind == kind]
        return next((account for account in alike if account.source == source and no_other(account, imported)), None)

    def credentials(self, account_id: str) -> Credentials | None:
        """The secrets of an account, decrypted anew each time."""
        record = self._vault.get(account_id, _CREDENTIALS)
        return None if record is None else from_record(record)

    def save_credentials(self, account_id: str, credentials: Credentials) -> bool:
        """Replace the secrets, flushed to the disk. False when the account is gone. The caller holds `lock`."""
        if self.find(account_id) is None:
            return False
        self._vault.put(account_id, _CREDENTIALS, to_record(credentials))
        self._update(account_id, expires_at=expiry(credentials), profile_arn=profile_arn(credentials))
        return True

    def rotated(self, account_id: str) -> bytes | None:
        """The mark of the tokens in another program's store that newer ones of ours replace; None when none wait."""
        return self._vault.get(account_id, _ROTATED)

    def set_rotated(self, account_id: str, mark: bytes | None) -> None:
        if mark is None:
            self._vault.remove(account_id, _ROTATED)
        else:
            self._vault.put(account_id, _ROTATED, mark)

    def set_mode(self, name: str, mode: Mode, source: str | None) -> Account:
        """Whose the sign-in is. `source` is the other program's store, None for an `own` one."""
        return self._update(self.get(name).id, mode=mode, source=source)

    def set_profile(self, name: str, arn: str) -> Account:
        """Remember the company profile that was found or chosen; secrets and row say the same."""
        account = self.get(name)
        with self.lock(account.id):
            credentials = self.credentials(account.id)
            if credentials is not None and hasattr(credentials, "profile_arn"):
                self.save_credentials(account.id, msgspec.structs.replace(credentials, profile_arn=arn))
        if account.state == "needs_profile":
            self.set_state(account.id, "active")
        return self.get(account.id)

    def proxy(self, account_id: str) -> Secret | None:
        """The account's own proxy with its password; `direct` means none at all."""
        stored = self._vault.get(account_id, _PROXY)
        return None if stored is None else Secret(stored.decode())

    def set_proxy(self, name: str, url: str | None) -> Account:
        """`None` removes it, so that `upstream.proxy` rules again."""
        account = self.get(name)
        if url is None:
            self._vault.remove(account.id, _PROXY)
            return self._update(account.id, proxy=None)
        if not is_proxy(url):
            raise UsageError("This proxy address cannot be used.", hint="http://, https:// or socks5://, or `direct`.")
        self._vault.put(account.id, _PROXY, url.encode())
        return self._update(account.id, proxy=without_password(url))

    def rename(self, name: str, new_name: str) -> Account:
        account = self.get(name)
        check_name(new_name)
        self._refuse_taken(new_name, except_id=account.id)
        return self._update(account.id, name=new_name)

    def enable(self, name: str, enabled: bool) -> Account:
        return self._update(self.get(name).id, enabled=enabled)

    def change(
        self,
        name: str,
        *,
        priority: int | None = None,
        region: str | None = None,
        flavour: Literal["ide", "cli", "runtime"] | None = None,
        email: str | None = None,
        user_id: str | None = None,
    ) -> Account:
        """Set what is given; `region` as an empty text forgets it."""
        given = {"priority": priority, "region": region, "flavour": flavour, "email": email, "user_id": user_id}
        changes: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
        if changes.get("region") == "":
            changes["region"] = None
        account = self.get(name)
        return self._update(account.id, **changes) if changes else account

    def set_overage_budget(self, name: str, budget: float | None) -> Account:
        """How many credits of overage it may use in a period; None for what the settings say."""
        return self._update(self.get(name).id, overage_budget=budget)

    def set_state(self, account_id: str, state: State, reason: str | None = None) -> None:
        """Record how the account fares. Does nothing when it already says so, or the account is gone."""
        with self._database.change() as change:
            change.run(
                "UPDATE accounts SET state = ?, reason = ? WHERE id = ? AND (state <> ? OR reason IS NOT ?)",
                (state, reason, account_id, state, reason),
            )

    def health(self) -> dict[str, Health]:
        """What was learned about accounts from Kiro's refusals, by id; perfect health is left out."""
        return health_rows.load(self._database)

    def restore(self, name: str) -> Account:
        """Nothing speaks against the account any more: no rest, no set-aside. Whether it is enabled stays."""
        account = self.get(name)
        with self._database.change() as change:
            health_rows.forget(change, account.id)
            change.run("UPDATE accounts SET state = 'active', reason = NULL WHERE id = ?", (account.id,))
        return self.get(account.id)

    def set_usage(self, account_id: str, usage: UsageSnapshot) -> None:
        with self._database.change() as change:
            account_rows.update(change, account_id, {"usage": usage})

    def set_person(self, account_id: str, email: str | None, user_id: str | None) -> None:
        """What Kiro tells of the owner, where nothing is known yet."""
        with self._database.change() as change:
            for column, told in (("email", email), ("user_id", user_id)):
                if told:
                    sql = f"UPDATE accounts SET {column} = ? WHERE id = ? AND {column} IS NULL"  # noqa: S608  constant names
                    change.run(sql, (told, account_id))

    def remove(self, name: str) -> Removed:
        """Forget the account and its secrets; they are handed out once more, for ending the session at its service."""
        account = self.get(name)
        with self.lock(account.id):
            try:
                removed = Removed(account, self.credentials(account.id), self.proxy(account.id))
            except StorageError:  # whatever cannot be read can be forgotten all the same
                removed = Removed(account, None, None)
            with self._database.change() as change:
                change.run("DELETE FROM accounts WHERE id = ?", (account.id,))
            self._vault.remove(account.id)
        return removed

    def _renew(
        self, account: Account, imported: ImportedAccount, name: str | None, mode: Mode, source: str | None
    ) -> Account:
        imported = with_what_was_known(account, imported)
        with self.lock(account.id):
            if not self.save_credentials(account.id, imported.credentials):
                raise StorageError(f"The account {account.name} was removed meanwhile.", hint="Add it again.")
        if imported.proxy is not None:
            self.set_proxy(account.id, imported.proxy.reveal())
        if name is not None:
            self.rename(account.id, name)
        self._update(
            account.id,
            kind=kind_of(imported.credentials),
            provider=imported.provider or account.provider,
            region=imported.api_region or account.region,
            auth_region=imported.auth_region,
            email=imported.email or account.email,
            user_id=imported.user_id or account.user_id,
            start_url=imported.start_url,
            mode=mode,
            source=source,
        )
        self.restore(account.id)
        self.set_state(account.id, _first_state(imported))
        return self.get(account.id)

    def _new(
        self, imported: ImportedAccount, name: str | None, mode: Mode, source: str | None, now: datetime
    ) -> Account:
        if name is not None:
            self._refuse_taken(name)
        machine_id = imported.machine_id or ""
        return Account(
            id=imported.id if imported.id and self.find(imported.id) is None else secrets.token_hex(6),
            name=name or free_name(suggested_name(imported), lambda text: self.find(text) is not None),
            kind=kind_of(imported.credentials),
            provider=imported.provider,
            state=_first_state(imported),
            enabled=imported.enabled,
            region=imported.api_region,
            auth_region=imported.auth_region,
            profile_arn=profile_arn(imported.credentials),
            priority=imported.priority or 0,
            email=imported.email,
            user_id=imported.user_id,
            start_url=imported.start_url,
            machine_id=machine_id if _MACHINE_ID.fullmatch(machine_id) else secrets.token_hex(32),
            flavour=imported.flavour or "ide",
            mode=mode,
            source=source,
            proxy=without_password(imported.proxy.reveal()) if imported.proxy else None,
            created_at=now,
            expires_at=expiry(imported.credentials),
        )

    def _same(self, imported: ImportedAccount) -> Account | None:
        """The account this one is. The surest sign decides, whatever the order of the accounts.

        The same long-lived secret is the same sign-in, also when its kind was guessed differently; it rotates, so this
        only helps until the next refresh, and is all that bare tokens have. Then, among those of the same kind,
        the id in a file of kiro's own; the same user; the same email, when nothing else tells the two apart.
        """
        accounts = self.list()
        secret = long_lived(imported.credentials)
        for account in accounts:
            stored = self.credentials(account.id)
            if stored is not None and long_lived(stored) == secret:
                return account
        kind = kind_of(imported.credentials)
        alike = [account for account in accounts if account.kind == kind]
        return next((account for sign in SIGNS for account in alike if sign(account, imported)), None)

    def _refuse_taken(self, name: str, except_id: str | None = None) -> None:
        other = self.find(name)
        if other is not None and other.id != except_id:
            raise UsageError(f"There is already an account named {other.name}.", hint="Choose another name.")

    def _update(self, account_id: str, **changes: Any) -> Account:
        with self._database.change() as change:
            account_rows.update(change, account_id, changes)
        return self.get(account_id)


def _first_state(imported: ImportedAccount) -> State:
    """A sign-in that can neither be refreshed nor used as it stands needs a person."""
    credentials = imported.credentials
    if not can_refresh(credentials) and not isinstance(credentials, ApiKeyCredentials) and expiry(credentials) is None:
        return "misconfigured"
    return "active"
