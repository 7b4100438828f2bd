"""Random uses of a message against a plain string: what clients fold is what the author has (I3, I11)."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import pytest

import parlour as cl
from parlour.core.thread import ThreadState, digest, fold
from tests.unit.chat.conftest import Desk

ALPHABET = "ab é🙂\n`*"
Operation = Callable[[cl.Message, random.Random], Awaitable[object]]


def words(chance: random.Random) -> str:
    return "".join(chance.choices(ALPHABET, k=chance.randint(1, 8)))


async def stream(message: cl.Message, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 5)):
        await message.stream_token(words(chance))


async def replace(message: cl.Message, chance: random.Random) -> None:
    await message.stream_token(words(chance), is_sequence=True)


async def assign(message: cl.Message, chance: random.Random) -> None:
    message.content = words(chance)


async def extend(message: cl.Message, chance: random.Random) -> None:
    message.content += words(chance)


async def send(message: cl.Message, chance: random.Random) -> None:
    await message.send()


async def update(message: cl.Message, chance: random.Random) -> None:
    message.metadata["n"] = chance.randint(0, 2)
    await message.update()


OPERATIONS: list[Operation] = [stream, stream, replace, assign, extend, send, update]


@pytest.mark.parametrize("seed", range(8))
async def test_clients_fold_what_the_author_wrote(desk: Desk, seed: int) -> None:
    chance = random.Random(seed)
    written: dict[str, str] = {}

    async def work() -> None:
        for _ in range(12):
            message = cl.Message(content=chance.choice(["", words(chance)]))
            for operation in chance.choices(OPERATIONS, k=chance.randint(1, 8)):
                await operation(message, chance)
            await message.send()
            written[message.id] = message.content

    await desk.run(work)

    events = await desk.talk.events()
    folded, _ = fold(ThreadState(), events)
    shown = {key: folded.messages[key]["content"] for key in written}
    assert shown == written
    assert not any(message.get("streaming") for message in folded.messages.values())
    assert folded.messages == (await desk.talk.state()).messages


@pytest.mark.parametrize("seed", range(4))
async def test_every_closing_event_carries_the_digest_of_the_text_at_its_place(
    desk: Desk, seed: int
) -> None:
    chance = random.Random(seed)

    async def work() -> None:
        message = cl.Message()
        for operation in chance.choices(OPERATIONS, k=20):
            await operation(message, chance)

    await desk.run(work)

    state, closings = ThreadState(), 0
    for event in await desk.talk.events():
        state, _ = fold(state, [event])
        if event.type == "message:done":
            content = state.messages[event.data["id"]]["content"]
            assert (event.data["length"], event.data["hash"]) == digest(content)
            closings += 1
    assert closings > 0
