"""Three nodes on one store, five people: whatever happens in between, everybody ends with the same text.

Each example is a random history of typing, deleting, sending (in any order, also twice), losing the
connection, coming back to any node, nodes that die, messages between nodes that are lost or late,
compactions, a store that is away, and a store that loses its newest updates.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycrdt import Doc, Text

from parlour.backends.memory import MemoryDocumentStore
from parlour.core.documents import read_state_vector, scan_update
from parlour.documents.replica import Author, Replica, Stored, Told
from parlour.errors import ParlourError, Unavailable
from parlour.ports import DocumentHead
from parlour.server.tasks import Tasks

NAME: Final = "note:0123456789abcdef"
NODES: Final = 3
PEOPLE: Final = 5
NOTHING: Final = b"\x00\x00"


class Store(MemoryDocumentStore):
    """Can be away, and can lose what it got last, as Redis without a disk does."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.lost = 0

    async def append(
        self, document_id: str, updates: Sequence[bytes], *, generation: int
    ) -> DocumentHead:
        await self._reach()
        return await super().append(document_id, updates, generation=generation)

    async def read(self, document_id: str, *, after: int | None = None, limit: int = 1000) -> Any:
        await self._reach()
        return await super().read(document_id, after=after, limit=limit)

    async def _reach(self) -> None:
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable("The store is away.")

    def lose(self, count: int) -> None:
        document = self._documents[NAME]
        self.lost += 1
        document.epoch = f"life {self.lost}"
        del document.updates[max(0, len(document.updates) - count) :]


class World:
    """Everything there is."""

    def __init__(self, seed: int, tasks: Tasks) -> None:
        self.random = random.Random(seed)
        self.tasks = tasks
        self.store = Store()
        self.nodes: list[Replica] = []
        self.mail: list[tuple[int, Stored]] = []
        self.people = [Person(self, number) for number in range(PEOPLE)]
        self.words = 0

    async def start(self) -> None:
        await self.store.create(NAME)
        for number in range(NODES):
            self.nodes.append(self.replica(number))
            await self.nodes[number].open()

    def replica(self, number: int) -> Replica:
        def tell(changes: Sequence[Told]) -> None:
            for person in self.people:
                if person.node == number:
                    person.inbox += [
                        told.update
                        for told in changes
                        if told.author is None or told.author.sid != person.name
                    ]

        def publish(stored: Stored) -> None:
            self.mail += [(other, stored) for other in range(NODES) if other != number]

        return Replica(
            NAME,
            self.store,
            self.tasks,
            limit=10_000_000,
            tell=tell,
            publish=publish,
            ended=lambda error: None,
        )

    # -- what may happen -------------------------------------------------------------------------

    async def step(self) -> None:
        kinds = ["type"] * 6 + ["send"] * 6 + ["hear"] * 5 + ["mail"] * 5 + ["delete"] * 2
        kinds += ["leave", "come", "come", "die", "compact", "away", "back", "back", "lose"]
        kind = self.random.choice(kinds)
        person = self.random.choice(self.people)
        number = self.random.randrange(NODES)
        match kind:
            case "type":
                person.type()
            case "delete":
                person.delete()
            case "send":
                person.send()
            case "hear":
                person.hear()
            case "mail":
                self.deliver(lose=self.random.random() < 0.2)
            case "leave":
                person.leave()
            case "come":
                await person.come(number)
            case "die":
                await self.die(number)
            case "compact":
                await self.compact(number)
            case "away" | "back":
                self.store.away = kind == "away"
            case "lose":
                self.store.lose(self.random.randrange(4))
        for _ in range(self.random.randrange(4)):
            await asyncio.sleep(0)

    def deliver(self, *, lose: bool) -> None:
        if self.mail:
            number, told = self.mail.pop(self.random.randrange(len(self.mail)))
            if not lose:
                updates = [(change.update, change.author) for change in told.changes]
                self.nodes[number].hear(told.generation, told.epoch, told.first, updates)

    async def die(self, number: int) -> None:
        """Nothing of it is left: not what it had not stored, not its connections."""
        dead = self.nodes[number]
        dead._end(Unavailable("dead"))
        for person in self.people:
            if person.node == number:
                person.leave()
        self.store.away = False
        self.nodes[number] = self.replica(number)
        await self.nodes[number].open()

    async def compact(self, number: int) -> None:
        node = self.nodes[number]
        node.head = replace(node.head, base=(await self.store.head(NAME)).base)
        try:
            await node._compact()
        except ParlourError:
            return

    # -- the end ---------------------------------------------------------------------------------

    async def settle(self) -> None:
        """The network is healed: everybody comes back, everything is delivered."""
        self.store.away = False
        for person in self.people:
            person.leave()
        for node in self.nodes:
            await node.check()
            await node.settled()
        for _ in range(2):
            for number, person in enumerate(self.people):
                await person.come(number % NODES)
                await person.sent()
            while self.mail:
                self.deliver(lose=False)
            for node in self.nodes:
                await node.check()
                await node.settled()
        for person in self.people:
            person.leave()
            await person.come(0)


class Person:
    """An editor; `node` is where its connection is, None while it is offline."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.name = f"person-{number}"
        self.node: int | None = None
        self.doc: Doc[Any] = Doc(client_id=number + 1)
        self.text = self.doc.get("text", type=Text)
        self.inbox: list[bytes] = []
        self.outbox: list[bytes] = []
        self.acknowledged: list[bytes] = []
        self._mine: list[str] = []
        self._answers: list[asyncio.Task[None]] = []
        self._applying = False
        self.doc.observe(self._changed)

    def _changed(self, event: Any) -> None:
        if not self._applying:
            self.outbox.append(event.update)

    def type(self) -> None:
        self.world.words += 1
        word = f"<{self.world.words}>"
        places = [at for at, letter in enumerate(str(self.text)) if letter == "<"]
        self.text.insert(self.world.random.choice([0, len(self.text), *places]), word)
        self._mine.append(word)

    def delete(self) -> None:
        if self._mine:
            word = self._mine.pop(self.world.random.randrange(len(self._mine)))
            at = str(self.text).find(word)
            if at >= 0:
                del self.text[at : at + len(word)]

    def send(self) -> None:
        """Any of what was typed: in another order, or twice."""
        if self.node is None or not self.outbox:
            return
        at = self.world.random.randrange(min(3, len(self.outbox)))
        update = self.outbox[at]
        if self.world.random.random() < 0.8:
            del self.outbox[at]
        self._answers.append(asyncio.ensure_future(self._send(self.node, update)))

    async def _send(self, number: int, update: bytes) -> None:
        try:
            await self.world.nodes[number].submit(update, Author(self.name, self.name))
        except ParlourError:
            return
        self.acknowledged.append(update)

    async def sent(self) -> None:
        await asyncio.gather(*self._answers)
        self._answers.clear()

    def hear(self) -> None:
        while self.inbox:
            self._apply(self.inbox.pop(0))

    def _apply(self, update: bytes) -> None:
        self._applying = True
        try:
            self.doc.apply_update(update)
        finally:
            self._applying = False

    def leave(self) -> None:
        self.node = None
        self.inbox.clear()

    async def come(self, number: int) -> None:
        """Join: state vectors are exchanged both ways."""
        node = self.world.nodes[number]
        try:
            await node.settled()
        except ParlourError:
            return
        self.node = number
        self.inbox.clear()
        self._apply(node.live.since(self.doc.get_state()))
        lacking = self.doc.get_update(node.live.state_vector())
        self.outbox.clear()
        if lacking != NOTHING:
            await self._send(number, lacking)


async def live_through(seed: int, steps: int) -> World:
    async with Tasks() as tasks:
        world = World(seed, tasks)
        await world.start()
        for _ in range(steps):
            await world.step()
        await world.settle()
        for person in world.people:
            await person.sent()
        for node in world.nodes:
            await node.close()
        return world


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is away is asked again at once."""
    monkeypatch.setattr("parlour.documents.replica.FIRST_WAIT", 0)
    monkeypatch.setattr("parlour.documents.replica.LONGEST_WAIT", 0)


@settings(
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 150))
def test_everybody_ends_with_the_same_text_and_nothing_is_lost_or_doubled(
    seed: int, steps: int
) -> None:
    world = asyncio.run(live_through(seed, steps))

    texts = {str(person.text) for person in world.people}
    stored: Doc[Any] = Doc()
    log = asyncio.run(world.store.read(NAME, limit=1_000_000)) if not world.store.away else None
    assert log is not None
    for update in [*([log.snapshot] if log.snapshot else []), *log.updates]:
        stored.apply_update(update)
    state = read_state_vector(stored.get_state())
    text = str(stored.get("text", type=Text))
    assert texts == {text}
    for person in world.people:
        assert all(scan_update(update).covered_by(state) for update in person.acknowledged)
        assert all(text.count(word) == 1 for word in person._mine)
    assert all(text.count(f"<{number}>") <= 1 for number in range(1, world.words + 1))
