"""What every `ChannelStore` promises, with the `Announcements` that it writes."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest

from parlour.core.access import Kind
from parlour.core.channels import (
    AddMembers,
    Change,
    ChannelKind,
    ChannelLimits,
    CreateChannel,
    DeleteChannel,
    DeleteMessage,
    EditMessage,
    MarkRead,
    Mute,
    Pin,
    PostMessage,
    React,
    Reader,
    RemoveMember,
    Role,
    Said,
    SetRole,
    Standing,
    UpdateChannel,
    format_mention,
    is_unread,
)
from parlour.core.users import User
from parlour.errors import Conflict, Forbidden, InvalidPayload, NotFound, ParlourError, TooLarge
from parlour.ports import Announcements, Changed, ChannelStore, UserRecord, UserStore

NOW = 1_700_000_000_000
LIMITS = ChannelLimits()

Wire = Mapping[str, Any]


class ChannelStoreContract:
    """Give it the fixtures `channels`, `announcements` and `users`, on one database."""

    @pytest.fixture
    async def channels(self) -> ChannelStore:
        raise NotImplementedError

    @pytest.fixture
    async def announcements(self) -> Announcements:
        raise NotImplementedError

    @pytest.fixture
    async def users(self) -> UserStore:
        raise NotImplementedError

    @pytest.fixture
    def person(self, users: UserStore) -> Callable[..., Awaitable[User]]:
        """Make a user."""

        async def make(name: str = "Ann", role: str = "user") -> User:
            record = UserRecord(uuid.uuid4().hex, name, role)
            await users.add_user(record)
            return User(record.id, name, role)

        return make

    @pytest.fixture
    async def ann(self, person: Callable[..., Awaitable[User]]) -> User:
        return await person("Ann")

    @pytest.fixture
    async def bob(self, person: Callable[..., Awaitable[User]]) -> User:
        return await person("Bob")

    @pytest.fixture
    async def group(self, channels: ChannelStore, ann: User, bob: User) -> str:
        """A private channel: Ann owns it, Bob is a member."""
        return await create(channels, ann, ChannelKind.GROUP, bob)

    # -- making channels -------------------------------------------------------------------------

    async def test_the_creator_owns_a_channel_and_is_listed_there(
        self, channels: ChannelStore, ann: User, bob: User
    ) -> None:
        channel_id = await create(channels, ann, ChannelKind.GROUP, bob, name="  Plans ")

        of_ann, of_bob = [await channels.channels_of(one.id) for one in (ann, bob)]

        assert [(c["id"], c["name"], c["membership"]["role"]) for c in of_ann] == [
            (channel_id, "Plans", "owner")
        ]
        assert of_bob[0]["membership"]["role"] == "member"
        assert of_bob[0]["member_count"] == 2
        assert list(await channels.channel_ids_of(bob.id)) == [channel_id]

    async def test_who_is_in_no_channel_is_told_apart_at_once(
        self, channels: ChannelStore, ann: User, bob: User
    ) -> None:
        await create(channels, ann, ChannelKind.GROUP, name="Alone")

        found = await channels.members_of_any([bob.id, ann.id, fresh()])

        assert list(found) == [ann.id]

    async def test_there_is_one_direct_channel_for_a_set_of_users(
        self, channels: ChannelStore, ann: User, bob: User
    ) -> None:
        made = [
            await do(channels, one, CreateChannel(fresh(), ChannelKind.DIRECT, member_ids=(to.id,)))
            for one, to in ((ann, bob), (bob, ann), (ann, bob))
        ]

        assert len({one.answer["channel"]["id"] for one in made}) == 1
        assert [one.answer["created"] for one in made] == [True, False, False]
        assert {m["name"] for m in made[0].answer["channel"]["members"]} == {"Ann", "Bob"}

    async def test_two_who_open_it_at_once_get_the_same_direct_channel(
        self, channels: ChannelStore, ann: User, bob: User
    ) -> None:
        made = await asyncio.gather(
            *(
                do(channels, one, CreateChannel(fresh(), ChannelKind.DIRECT, member_ids=(to.id,)))
                for one, to in ((ann, bob), (bob, ann)) * 3
            )
        )

        assert len({one.answer["channel"]["id"] for one in made}) == 1

    @pytest.mark.parametrize(
        ("change", "error"),
        [
            (CreateChannel("", ChannelKind.GROUP, "x", member_ids=("nobody",)), NotFound),
            (CreateChannel("", ChannelKind.GROUP, "   "), InvalidPayload),
            (CreateChannel("", ChannelKind.DIRECT), InvalidPayload),
            (
                CreateChannel("", ChannelKind.GROUP, "x", grants={"everyone": "read"}),
                InvalidPayload,
            ),
            (CreateChannel("", ChannelKind.STANDARD, "x", grants={"all": "read"}), InvalidPayload),
            (
                CreateChannel("", ChannelKind.STANDARD, "x", grants={"everyone": "own"}),
                InvalidPayload,
            ),
        ],
    )
    async def test_a_bad_channel_is_refused_and_leaves_nothing(
        self, channels: ChannelStore, ann: User, change: CreateChannel, error: type[ParlourError]
    ) -> None:
        with pytest.raises(error):
            await do(channels, ann, change)

        assert list(await channels.channels_of(ann.id)) == []

    async def test_limits_hold(
        self, channels: ChannelStore, ann: User, bob: User, person: Callable[..., Awaitable[User]]
    ) -> None:
        await create(channels, ann, ChannelKind.GROUP)
        carl = await person("Carl")

        with pytest.raises(TooLarge):
            await channels.change(
                CreateChannel(fresh(), ChannelKind.GROUP, "x"),
                ann,
                at=NOW,
                limits=ChannelLimits(channels_per_user=1),
            )
        with pytest.raises(TooLarge):
            await channels.change(
                CreateChannel(fresh(), ChannelKind.GROUP, "x", member_ids=(bob.id,)),
                carl,
                at=NOW,
                limits=ChannelLimits(members_per_channel=1),
            )

        assert list(await channels.channels_of(carl.id)) == []

    async def test_a_taken_id_is_a_conflict(
        self, channels: ChannelStore, ann: User, bob: User, group: str
    ) -> None:
        with pytest.raises(Conflict):
            await do(channels, bob, CreateChannel(group, ChannelKind.GROUP, "mine now"))

    # -- access ----------------------------------------------------------------------------------

    async def test_a_stranger_learns_nothing_of_a_private_channel(
        self, channels: ChannelStore, group: str, person: Callable[..., Awaitable[User]]
    ) -> None:
        eve = await person("Eve", role="admin")
        changes: list[Change] = [
            PostMessage(group, fresh(), "hi"),
            UpdateChannel(group, name="x"),
            DeleteChannel(group),
            AddMembers(group, (eve.id,)),
            RemoveMember(group, eve.id),
            MarkRead(group),
            Mute(group),
        ]
        for change in changes:
            with pytest.raises(NotFound):
                await do(channels, eve, change)

        assert await channels.channel(group, eve) is None
        assert await channels.standing(group, eve) == Standing(ChannelKind.GROUP, admin=True)

    async def test_a_standard_channel_is_found_and_joined_by_whom_its_grants_let_read(
        self, channels: ChannelStore, ann: User, bob: User
    ) -> None:
        channel_id = await create(channels, ann, ChannelKind.STANDARD)

        found = await all_open(channels, bob)
        with pytest.raises(Forbidden):
            await do(channels, bob, PostMessage(channel_id, fresh(), "not yet"))
        await do(channels, bob, AddMembers(channel_id, (bob.id,)))
        await do(channels, bob, PostMessage(channel_id, fresh(), "now"))

        assert channel_id in found
        assert list(await channels.members_among(channel_id, [bob.id, "x"])) == [bob.id]

    async def test_grants_are_for_everyone_a_role_or_a_user_and_can_be_taken_back(
        self, channels: ChannelStore, ann: User, bob: User, person: Callable[..., Awaitable[User]]
    ) -> None:
        channel_id = await create(channels, ann, ChannelKind.STANDARD)
        carl = await person("Carl", role="guest")
        grants = {f"user:{bob.id}": "write", "role:guest": "read"}

        await do(channels, ann, UpdateChannel(channel_id, grants=grants))
        held = [await channels.granted(Kind.CHANNEL, channel_id, one) for one in (ann, bob, carl)]
        await do(channels, bob, PostMessage(channel_id, fresh(), "by grant"))
        await do(channels, ann, UpdateChannel(channel_id, grants={}))
        after = [await channels.granted(Kind.CHANNEL, channel_id, one) for one in (bob, carl)]

        assert held == [(False, False), (True, True), (True, False)]
        assert after == [(False, False), (False, False)]
        assert await channels.channel(channel_id, bob) is None

    async def test_members_come_and_go_by_those_who_may(
        self,
        channels: ChannelStore,
        group: str,
        ann: User,
        bob: User,
        person: Callable[..., Awaitable[User]],
    ) -> None:
        carl = await person("Carl")
        with pytest.raises(Forbidden):
            await do(channels, bob, AddMembers(group, (carl.id,)))
        await do(channels, ann, SetRole(group, bob.id, Role.MANAGER))
        await do(channels, bob, AddMembers(group, (carl.id, ann.id)))
        with pytest.raises(Forbidden):
            await do(channels, bob, RemoveMember(group, ann.id))
        await do(channels, bob, RemoveMember(group, carl.id))
        await do(channels, bob, RemoveMember(group, bob.id))

        page = await channels.members(group, after=None, limit=10)

        assert [(m["user"]["name"], m["role"]) for m in page.items] == [("Ann", "owner")]

    async def test_a_channel_keeps_an_owner(
        self, channels: ChannelStore, group: str, ann: User, bob: User
    ) -> None:
        for change in (RemoveMember(group, ann.id), SetRole(group, ann.id, Role.MEMBER)):
            with pytest.raises(Conflict):
                await do(channels, ann, change)
        await do(channels, ann, SetRole(group, bob.id, Role.OWNER))

        await do(channels, ann, RemoveMember(group, ann.id))

        assert await channels.channel(group, ann) is None

    async def test_nobody_is_added_to_or_removed_from_a_direct_channel(
        self, channels: ChannelStore, ann: User, bob: User, person: Callable[..., Awaitable[User]]
    ) -> None:
        channel_id = await create(channels, ann, ChannelKind.DIRECT, bob)
        carl = await person("Carl")

        for change in (
            AddMembers(channel_id, (carl.id,)),
            RemoveMember(channel_id, bob.id),
            RemoveMember(channel_id, ann.id),
            SetRole(channel_id, bob.id, Role.OWNER),
            DeleteChannel(channel_id),
        ):
            with pytest.raises(Forbidden):
                await do(channels, ann, change)

    async def test_a_deleted_channel_is_gone_and_its_id_stays_taken(
        self, channels: ChannelStore, group: str, ann: User, bob: User
    ) -> None:
        message = await say(channels, ann, group, "old")

        await do(channels, ann, DeleteChannel(group))

        assert list(await channels.channels_of(bob.id)) == []
        assert await channels.standing(group, ann) is None
        assert await channels.message(group, message["id"]) is None
        with pytest.raises(Conflict):
            await do(channels, ann, CreateChannel(group, ChannelKind.GROUP, "again"))

    # -- messages --------------------------------------------------------------------------------

    async def test_a_message_comes_back_as_sent(
        self, channels: ChannelStore, group: str, ann: User, bob: User
    ) -> None:
        text = f"hello {format_mention(bob.id, 'Bob')} \u0000 😀"
        post = PostMessage(group, fresh(), text, data={"k": [1]}, files=({"id": "f1"},))

        sent = (await do(channels, ann, post)).answer["message"]

        assert sent["content"] == text
        assert (sent["seq"], sent["data"], sent["files"]) == (1, {"k": [1]}, [{"id": "f1"}])
        assert sent["author"] == {"id": ann.id, "name": "Ann"}
        assert sent["mentions"] == [bob.id]
        assert await channels.message(group, sent["id"]) == sent
        assert list(await channels.channel_ids_of_file("f1"))[-1:] != []

    async def test_replies_are_counted_on_their_parent_and_listed_under_it(
        self, channels: ChannelStore, group: str, ann: User, bob: User
    ) -> None:
        parent = await say(channels, ann, group, "question")
        first = await say(channels, bob, group, "answer", parent_id=parent["id"])
        second = await say(channels, bob, group, "more", parent_id=parent["id"])
        await do(channels, bob, DeleteMessage(group, first["id"]))

        top = await channels.messages(group, limit=10)
        replies = await channels.messages(group, parent_id=parent["id"], limit=10)

        assert [(m["id"], m["reply_count"]) for m in top.items] == [(parent["id"], 1)]
        assert [m["id"] for m in replies.items] == [second["id"]]

    async def test_a_reply_needs_a_parent_and_a_quote_a_message_of_the_channel(
        self, channels: ChannelStore, group: str, ann: User, bob: User
    ) -> None:
        elsewhere = await say(
            channels, ann, await create(channels, ann, ChannelKind.GROUP), "other"
        )
        parent = await say(channels, ann, group, "parent")
        reply = await say(channels, bob, group, "reply", parent_id=parent["id"])

        for how, error in (
            ({"parent_id": elsewhere["id"]}, NotFound),
            ({"reply_to_id": elsewhere["id"]}, NotFound),
            ({"parent_id": reply["id"]}, InvalidPayload),
        ):
            with pytest.raises(error):
                await do(channels, ann, PostMessage(group, fresh(), "x", **how))

        quoted = await say(channels, ann, group, "yes", reply_to_id=reply["id"])
        assert quoted["reply_to_id"] == reply["id"]

    async def test_only_the_author_edits_and_those_who_lead_may_delete(
        self, channels: ChannelStore, group: str, ann: User, bob: User
    ) -> None:
        of_ann, of_bob = [await say(channels, one, group, "text") for one in (ann, bob)]
        with pytest.raises(Forbidden):
            await do(channels, ann, EditMessage(group, of_bob["id"], "changed"))
        with pytest.raises(Forbidden):
            await do(channels, bob, DeleteMessage(group, of_ann["id"]))
        edited = await do(channels, bob, EditMessage(group, of_bob["id"], "better"))
        await do(channels, ann, DeleteMessage(group, of_bob["id"]))

        with pytest.raises(NotFound):
            await do(channels, bob, EditMessage(group, of_bob["id"], "back?"))

        assert (edited.answer["message"]["content"], edited.answer["message"]["edited_at"]) == (
            "better",
            NOW,
        )
        assert [m["id"] for m in (await channels.messages(group, limit=9)).items] == [of_ann["id"]]

    async def test_a_deleted_message_keeps_its_place_while_it_has_replies(
        self, channels: ChannelStore, group: str, ann: User, bob: User
    ) -> None:
        parent = await say(channels, ann, group, "secret")
        await say(channels, bob, group, "reply", parent_id=parent["id"])

        await do(channels, ann, DeleteMessage(group, parent["id"]))
        shown = (await channels.messages(group, limit=9)).items[0]

        assert (shown["id"], shown["content"], shown["deleted_at"]) == (parent["id"], "", NOW)

    async def test_a_reaction_counts_once_per_user_and_emoji(
        self, channels: ChannelStore, group: str, ann: User, bob: User
    ) -> None:
        message = await say(channels, ann, group, "hi")
        for one, emoji in ((ann, "👍"), (ann, "👍"), (bob, "👍"), (bob, "🎉")):
            await do(channels, one, React(group, message["id"], emoji))
        both = (await channels.message(group, message["id"]) or {})["reactions"]

        await do(channels, bob, React(group, message["id"], "🎉", remove=True))
        await do(channels, bob, React(group, message["id"], "🎉", remove=True))
        left = (await channels.message(group, message["id"]) or {})["reactions"]

        assert {r["emoji"]: r["count"] for r in both} == {"👍": 2, "🎉": 1}
        assert [(r["emoji"], sorted(r["user_ids"])) for r in left] == [
            ("👍", sorted([ann.id, bob.id]))
        ]

    async def test_pins_are_listed(self, channels: ChannelStore, group: str, ann: User) -> None:
        messages = [await say(channels, ann, group, str(number)) for number in range(3)]
        for message in messages[:2]:
            await do(channels, ann, Pin(group, message["id"]))
        await do(channels, ann, Pin(group, messages[0]["id"], pinned=False))

        pinned = await channels.pins(group, before=None, limit=9)

        assert [m["id"] for m in pinned.items] == [messages[1]["id"]]
        assert pinned.items[0]["pinned_by"] == ann.id

    # -- paging ----------------------------------------------------------------------------------

    async def test_pages_of_a_live_list_neither_skip_nor_repeat(
        self, channels: ChannelStore, group: str, ann: User, bob: User
    ) -> None:
        sent = [(await say(channels, ann, group, str(n)))["id"] for n in range(10)]

        seen: list[str] = []
        given: list[str] = []
        before: int | None = None
        while True:
            page = await channels.messages(group, before=before, limit=3)
            seen = [m["id"] for m in page.items] + seen
            given = [*seen] if before is None else given
            if not page.more:
                break
            before = page.items[0]["seq"]
            # Somebody writes, and deletes what was given already.
            await say(channels, bob, group, "meanwhile")
            await do(channels, ann, DeleteMessage(group, given.pop()))

        assert seen == sent

    async def test_writers_at_once_get_numbers_without_gaps_and_readers_forward_see_each_once(
        self, channels: ChannelStore, group: str, ann: User, bob: User
    ) -> None:
        writing = asyncio.gather(
            *(say(channels, one, group, str(n)) for n in range(10) for one in (ann, bob))
        )
        seen: list[int] = []
        while len(seen) < 20:
            page = await channels.messages(group, after=seen[-1] if seen else 0, limit=4)
            seen += [m["seq"] for m in page.items]
            await asyncio.sleep(0)
        await writing

        assert seen == list(range(1, 21))

    async def test_search_takes_every_letter_literally_in_any_case(
        self, channels: ChannelStore, group: str, ann: User
    ) -> None:
        parent = await say(channels, ann, group, "100 axb ÄPFEL")
        exact = await say(channels, ann, group, "is 100% a_b \\", parent_id=parent["id"])

        found = {
            text: [
                m["id"] for m in (await channels.search(group, text, before=None, limit=9)).items
            ]
            for text in ("100%", "a_b", "\\", "äpfel", "100")
        }

        assert found == {
            "100%": [exact["id"]],
            "a_b": [exact["id"]],
            "\\": [exact["id"]],
            "äpfel": [parent["id"]],
            "100": [parent["id"], exact["id"]],
        }

    # -- unread ----------------------------------------------------------------------------------

    async def test_unread_counts_are_those_of_the_rule(
        self,
        channels: ChannelStore,
        group: str,
        ann: User,
        bob: User,
        person: Callable[..., Awaitable[User]],
    ) -> None:
        carl = await person("Carl")
        await do(channels, ann, AddMembers(group, (carl.id,)))
        people = [ann, bob, carl]
        world = World(random.Random(7), channels, group, people)
        for _ in range(60):
            await world.step()

        counted = {one.id: (await channels.channels_of(one.id))[0]["unread"] for one in people}

        assert counted == {one.id: world.unread(one) for one in people}

    async def test_what_was_said_before_joining_is_read(
        self, channels: ChannelStore, group: str, ann: User, person: Callable[..., Awaitable[User]]
    ) -> None:
        await say(channels, ann, group, "old")
        carl = await person("Carl")
        await do(channels, ann, AddMembers(group, (carl.id,)))
        await say(channels, ann, group, f"new {format_mention(carl.id, 'Carl')}")

        listed = (await channels.channels_of(carl.id))[0]

        assert (listed["unread"], listed["unread_mentions"]) == (1, 1)

    async def test_the_read_mark_never_goes_back(
        self, channels: ChannelStore, group: str, ann: User, bob: User
    ) -> None:
        first = await say(channels, ann, group, "1")
        await say(channels, ann, group, "2")
        await do(channels, bob, MarkRead(group))

        back = await do(channels, bob, MarkRead(group, first["id"]))

        assert back.answer["read_seq"] == 2
        assert (await channels.channels_of(bob.id))[0]["unread"] == 0

    async def test_muting_is_one_s_own(
        self, channels: ChannelStore, group: str, ann: User, bob: User
    ) -> None:
        await do(channels, bob, Mute(group))

        muted = [
            (await channels.channels_of(one.id))[0]["membership"]["muted"] for one in (ann, bob)
        ]

        assert muted == [False, True]

    # -- announcements and receipts --------------------------------------------------------------

    async def test_a_change_and_its_announcements_are_written_together(
        self, channels: ChannelStore, announcements: Announcements, group: str, ann: User
    ) -> None:
        await drain(announcements, f"channel:{group}")
        parent = await say(channels, ann, group, "parent")
        await say(channels, ann, group, "reply", parent_id=parent["id"])
        with pytest.raises(NotFound):
            await do(channels, ann, EditMessage(group, "unknown", "x"))

        told = await announcements.pending(f"channel:{group}", 100)

        assert [[event.type for event in one.events] for one in told] == [
            ["message"],
            ["message", "message:reply"],
        ]
        reply = told[1].events[1].data
        assert reply["message_id"] == parent["id"]
        assert reply["body"]["parent"]["reply_count"] == 1
        assert told[0].events[0].source == f"user:{ann.id}"

    async def test_announcements_are_in_the_order_of_the_numbers(
        self,
        channels: ChannelStore,
        announcements: Announcements,
        group: str,
        ann: User,
        bob: User,
    ) -> None:
        await drain(announcements, f"channel:{group}")

        await asyncio.gather(
            *(say(channels, one, group, str(n)) for n in range(10) for one in (ann, bob))
        )
        told = await announcements.pending(f"channel:{group}", 100)

        assert [one.events[0].data["body"]["seq"] for one in told] == list(range(1, 21))

    async def test_what_was_announced_is_forgotten(
        self, channels: ChannelStore, announcements: Announcements, group: str, ann: User
    ) -> None:
        stream = f"channel:{group}"
        await drain(announcements, stream)
        await say(channels, ann, group, "hi")
        pending = await announcements.pending(stream, 10)
        waiting = await announcements.waiting(NOW, 100_000)
        too_new = await announcements.waiting(NOW - 1, 100_000)

        await announcements.announced([one.key for one in pending])

        assert stream in waiting
        assert stream not in too_new
        assert await announcements.pending(stream, 10) == []

    async def test_a_repeated_command_changes_nothing_and_answers_the_same(
        self, channels: ChannelStore, announcements: Announcements, group: str, ann: User
    ) -> None:
        await drain(announcements, f"channel:{group}")

        answers = await asyncio.gather(
            *(
                do(channels, ann, PostMessage(group, fresh(), "once"), command_id="same")
                for _ in range(4)
            )
        )
        again = await do(channels, ann, PostMessage(group, fresh(), "once"), command_id="same")

        assert all(
            one.answer == again.answer and list(one.told) == list(again.told) for one in answers
        )
        assert again.repeated
        assert len((await channels.messages(group, limit=9)).items) == 1
        assert len(await announcements.pending(f"channel:{group}", 9)) == 1

    async def test_command_ids_are_each_user_s_own_and_a_refused_one_is_free(
        self, channels: ChannelStore, group: str, ann: User, bob: User
    ) -> None:
        with pytest.raises(NotFound):
            await do(channels, ann, EditMessage(group, "unknown", "x"), command_id="c")
        for one in (ann, bob):
            await do(channels, one, PostMessage(group, fresh(), "x"), command_id="c")

        said = (await channels.messages(group, limit=9)).items

        assert [m["author"]["name"] for m in said] == ["Ann", "Bob"]

    async def test_old_receipts_are_forgotten(
        self, channels: ChannelStore, announcements: Announcements, group: str, ann: User
    ) -> None:
        post = PostMessage(group, fresh(), "x")
        await do(channels, ann, post, command_id="old")

        await announcements.forget_receipts(NOW + 1)
        again = await do(channels, ann, PostMessage(group, fresh(), "x"), command_id="old")

        assert not again.repeated


def fresh() -> str:
    return uuid.uuid4().hex


async def do(
    channels: ChannelStore, actor: User, change: Change, *, command_id: str | None = None
) -> Changed:
    return await channels.change(change, actor, at=NOW, limits=LIMITS, command_id=command_id)


async def create(
    channels: ChannelStore, actor: User, kind: ChannelKind, *others: User, name: str = "Team"
) -> str:
    members = tuple(one.id for one in others)
    made = await do(channels, actor, CreateChannel(fresh(), kind, name, member_ids=members))
    return str(made.answer["channel"]["id"])


async def say(
    channels: ChannelStore, actor: User, channel_id: str, text: str, **how: Any
) -> dict[str, Any]:
    sent = await do(channels, actor, PostMessage(channel_id, fresh(), text, **how))
    return dict(sent.answer["message"])


async def drain(announcements: Announcements, stream: str) -> None:
    pending = await announcements.pending(stream, 1000)
    await announcements.announced([one.key for one in pending])


async def all_open(channels: ChannelStore, user: User) -> list[str]:
    found: list[str] = []
    while True:
        page = await channels.open_channels(user, after=found[-1] if found else None, limit=50)
        found += [one["id"] for one in page.items]
        if not page.more:
            return found


class World:
    """People who write, reply, mention, delete and read at random, and what the rule makes of it."""

    def __init__(
        self, chance: random.Random, channels: ChannelStore, group: str, people: Sequence[User]
    ) -> None:
        self._chance = chance
        self._channels = channels
        self._group = group
        self._people = people
        self._said: dict[str, Said] = {}
        self._read = {one.id: 0 for one in people}
        self._follows: dict[str, set[str]] = {one.id: set() for one in people}

    async def step(self) -> None:
        who = self._chance.choice(self._people)
        match self._chance.randrange(10):
            case 0:
                await do(self._channels, who, MarkRead(self._group))
                self._read[who.id] = max((one.seq for one in self._said.values()), default=0)
            case 1:
                await self._delete()
            case _:
                await self._say(who)

    async def _say(self, who: User) -> None:
        tops = [key for key, one in self._said.items() if one.parent_id is None and not one.deleted]
        parent = self._chance.choice([None, *tops]) if tops else None
        named = self._chance.choice([None, None, *self._people])
        text = "hello" if named is None else format_mention(named.id, named.name)
        message = await say(self._channels, who, self._group, text, parent_id=parent)
        mentioned = () if named is None else (named.id,)
        self._said[message["id"]] = Said(message["seq"], who.id, parent, mentioned)
        self._follows[who.id].add(parent or message["id"])

    async def _delete(self) -> None:
        alive = [key for key, one in self._said.items() if not one.deleted]
        if alive:
            key = self._chance.choice(alive)
            await do(self._channels, self._people[0], DeleteMessage(self._group, key))
            one = self._said[key]
            self._said[key] = Said(one.seq, one.author_id, one.parent_id, (), deleted=True)

    def unread(self, who: User) -> int:
        reader = Reader(who.id, self._read[who.id], self._follows[who.id])
        return sum(is_unread(one, reader) for one in self._said.values())
