"""Sessions in Redis.

`user_env` holds people's keys. Redis may write its memory to a disk, so it is not stored here: a
session that is taken up again has the `user_env` that its client sent with this connection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from parlour.backends.redis.connection import Redis
from parlour.backends.redis.link import Word
from parlour.backends.redis.scripts import script
from parlour.backends.sessions import changed_fields
from parlour.errors import Forbidden, NotFound
from parlour.ports import SessionRecord

_TEXTS = ("id", "user_id", "client_type", "thread_id", "chat_profile", "language")
_NUMBERS = ("created_at", "last_seen")


class RedisSessionStore:
    """`ports.SessionStore` in Redis. Values of all threads of a session stand in one hash."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def bind(self, record: SessionRecord) -> SessionRecord:
        fresh = _flat(
            {name: value for name, value in changed_fields(record).items() if name in _TEXTS}
        )
        every = _flat({name: getattr(record, name) for name in (*_TEXTS, *_NUMBERS)})
        reply = await self._redis.run(
            script("session_bind"),
            [self._session(record.id), self._index(record.id)],
            (record.id, record.user_id, record.last_seen, len(fresh), *fresh, *every),
        )
        if not reply:
            raise Forbidden("this session belongs to somebody else")
        stored = _record(reply)
        stored.user_env = record.user_env
        return stored

    async def load(self, session_id: str) -> SessionRecord | None:
        reply = await self._redis.call("HGETALL", self._session(session_id))
        return _record(reply) if reply else None

    async def touch(self, session_id: str, at: int) -> None:
        keys = [self._session(session_id), self._index(session_id)]
        await self._redis.run(script("session_touch"), keys, (session_id, at))

    async def values(self, session_id: str, thread_id: str) -> dict[str, bytes]:
        reply = await self._redis.call("HGETALL", self._values(session_id))
        begin = _field(thread_id, "")
        return {
            name[len(begin) :].decode(): value
            for name, value in zip(reply[::2], reply[1::2], strict=True)
            if name.startswith(begin)
        }

    async def threads(self, session_id: str) -> Sequence[str]:
        names = await self._redis.call("HKEYS", self._values(session_id))
        return sorted({name.partition(b"\0")[0].decode() for name in names})

    async def write_values(
        self, session_id: str, thread_id: str, changes: Mapping[str, bytes | None]
    ) -> None:
        """Raises `NotFound` where the session is gone, so that no value outlives it."""
        gone = [_field(thread_id, key) for key, value in changes.items() if value is None]
        kept = [
            word
            for key, value in changes.items()
            if value is not None
            for word in (_field(thread_id, key), value)
        ]
        keys = [self._session(session_id), self._values(session_id)]
        values: list[Word] = [len(gone), *gone, *kept]
        if not await self._redis.run(script("session_write"), keys, values):
            raise NotFound("there is no such session")

    async def expired(self, before: int, limit: int) -> Sequence[SessionRecord]:
        names: list[bytes] = []
        for part in self._redis.keys.parts("sessions"):
            if len(names) < limit:
                left = limit - len(names)
                names += await self._redis.call(
                    "ZRANGEBYSCORE", part, "-inf", f"({before}", "LIMIT", 0, left
                )
        found = [await self.load(name.decode()) for name in names]
        return [one for one in found if one is not None]

    async def delete(self, session_id: str) -> bool:
        keys = self._keys(session_id)
        return bool(await self._redis.run(script("session_delete"), keys, (session_id,)))

    def _keys(self, session_id: str) -> list[str]:
        return [self._session(session_id), self._values(session_id), self._index(session_id)]

    def _session(self, session_id: str) -> str:
        return self._redis.keys.own(f"session:{session_id}")

    def _values(self, session_id: str) -> str:
        return f"{self._session(session_id)}:values"

    def _index(self, session_id: str) -> str:
        return self._redis.keys.index("sessions", f"session:{session_id}")


def _field(thread_id: str, key: str) -> bytes:
    return f"{thread_id}\0{key}".encode()


def _flat(fields: Mapping[str, Any]) -> list[Any]:
    return [word for name, value in fields.items() if value is not None for word in (name, value)]


def _record(reply: Sequence[bytes]) -> SessionRecord:
    stored = {
        name.decode(): value.decode() for name, value in zip(reply[::2], reply[1::2], strict=True)
    }
    fields: dict[str, Any] = {name: stored.get(name) for name in _TEXTS}
    fields |= {name: int(stored.get(name, "0")) for name in _NUMBERS}
    return SessionRecord(**fields)
