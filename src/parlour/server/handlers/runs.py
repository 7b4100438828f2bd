"""Stop, buttons and settings: what people do to the app's runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from parlour.server.connections import Caller
from parlour.server.handlers.messages import append_once
from parlour.server.router import Routes
from parlour.wire.events import ActionCall, RunStop, SettingsUpdate, WindowMessage
from parlour.wire.told import ACTION_CALLED, ActionCalled

if TYPE_CHECKING:
    from parlour.server.node import Node

routes = Routes()


@routes.command("run:stop", RunStop)
async def stop(node: Node, caller: Caller, payload: RunStop) -> dict[str, Any]:
    """End every run of the conversation, on whichever node; answered when they have ended."""
    stream = f"thread:{payload.thread_id}"
    await node.permissions.require_existing(caller.user, stream)
    await node.permissions.require_write(caller.user, stream)
    run_ids = await node.stop_runs(payload.thread_id)
    if run_ids and node.app.handles("on_stop"):
        chat = await node.chats.open(caller, payload.thread_id, start=False)
        await node.app.stopped(chat)
    return {"run_id": run_ids[0] if run_ids else None, "accepted": bool(run_ids)}


@routes.command("action:call", ActionCall)
async def action(node: Node, caller: Caller, payload: ActionCall) -> dict[str, Any]:
    """Activate the app's callback for a button."""
    stream = f"thread:{payload.thread_id}"
    await node.permissions.require_existing(caller.user, stream)
    await node.permissions.require_write(caller.user, stream)
    chat = await node.chats.open(caller, payload.thread_id)
    pressed = {**payload.action.model_dump(), "message_id": payload.message_id}

    node.runs.check_capacity(payload.thread_id)
    run_id = node.new_id()
    called: ActionCalled = {"action": pressed["name"], "message_id": payload.message_id}
    appended = await append_once(
        node, caller, stream, payload.command_id, {"run_id": run_id}, ACTION_CALLED(called)
    )
    if appended.duplicate:
        return dict(orjson.loads(appended.receipt))
    node.runs.start(
        chat,
        "action_callback",
        lambda run: node.app.action(run, pressed),
        cause=payload.command_id,
        run_id=run_id,
    )
    return {"run_id": run_id}


@routes.command("settings:update", SettingsUpdate)
async def settings(node: Node, caller: Caller, payload: SettingsUpdate) -> dict[str, Any]:
    """Keep the session's new chat settings and tell the app."""
    stream = f"thread:{payload.thread_id}"
    await node.permissions.require_write(caller.user, stream)
    chat = await node.chats.open(caller, payload.thread_id)
    await node.chats.save_settings(chat, node.app.accept_settings(chat, payload.settings))
    run_id = None
    if node.app.handles("on_settings_update"):
        run_id = node.runs.start(
            chat,
            "on_settings_update",
            lambda run: node.app.settings_update(run, chat.chat_settings),
        ).id
    return {"settings": chat.chat_settings, "run_id": run_id}


@routes.command("window:message", WindowMessage)
async def window_message(node: Node, caller: Caller, payload: WindowMessage) -> dict[str, Any]:
    """Hand data of the embedding page to the app."""
    await node.permissions.require_write(caller.user, f"thread:{payload.thread_id}")
    chat = await node.chats.open(caller, payload.thread_id)
    if not node.app.handles("on_window_message"):
        return {"run_id": None}
    run = node.runs.start(
        chat, "on_window_message", lambda run: node.app.window_message(run, payload.data)
    )
    return {"run_id": run.id}
