"""What a user chose, changed together with the announcement that tells the user's other devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import Connection, Row, select

from parlour.backends.sql.announcements import announce
from parlour.backends.sql.engine import upsert
from parlour.backends.sql.schema import DAMAGED, user_settings
from parlour.core.users import SETTINGS_BYTES, merge_settings
from parlour.errors import TooLarge
from parlour.ports import UserSettings
from parlour.wire.told import SETTINGS_CHANGED


def read_settings(connection: Connection, user_id: str) -> UserSettings:
    return _settings(_row(connection, user_id))


def change_settings(
    connection: Connection, user_id: str, changes: Mapping[str, Any], *, replace: bool, at: int
) -> tuple[UserSettings, tuple[str, str] | None]:
    """Raises `TooLarge`."""
    # Two devices that change different things at once must both be heard: the row comes first, so that
    # there is one to lock.
    empty = {"user_id": user_id, "settings": {}, "version": 0, "updated_at": at}
    connection.execute(upsert(connection, user_settings).on_conflict_do_nothing(), empty)
    before = _settings(_row(connection, user_id, lock=True))
    after = merge_settings({} if replace else before.settings, changes)
    if after == before.settings:
        return before, None
    if len(orjson.dumps(after)) > SETTINGS_BYTES:
        raise TooLarge("The settings are too large.", limit=SETTINGS_BYTES)
    changed = UserSettings(after, before.version + 1)
    connection.execute(
        user_settings.update()
        .where(user_settings.c.user_id == user_id)
        .values(settings=after, version=changed.version, updated_at=at)
    )
    event = SETTINGS_CHANGED({"settings": after, "version": changed.version})
    source = f"user:{user_id}"
    return changed, announce(connection, source, [event], source=source, cause=None, at=at)


def _row(connection: Connection, user_id: str, *, lock: bool = False) -> Row[Any] | None:
    query = select(user_settings).where(user_settings.c.user_id == user_id)
    return connection.execute(query.with_for_update() if lock else query).one_or_none()


def _settings(row: Row[Any] | None) -> UserSettings:
    if row is None:
        return UserSettings({}, 0)
    return UserSettings({} if row.settings is DAMAGED else row.settings, row.version)
