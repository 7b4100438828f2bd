"""Asks before it acts, and offers buttons under its answer."""

import parlour as cl


@cl.on_message
async def order(message: cl.Message) -> None:
    choice = await cl.AskActionMessage(
        content=f"Order “{message.content}”?",
        actions=[
            cl.Action(name="order", label="Order", payload={"item": message.content}),
            cl.Action(name="cancel", label="Cancel"),
        ],
        timeout=120,
    ).send()
    if choice is None or choice["name"] != "order":
        await cl.Message(content="Nothing was ordered.").send()
        return
    item = choice["payload"]["item"]
    again = cl.Action(name="again", label="The same again", payload={"item": item})
    await cl.Message(content=f"Ordered: **{item}**", actions=[again]).send()


@cl.action_callback("again")
async def order_again(action: cl.Action) -> None:
    await action.remove()
    await cl.Message(content=f"Ordered again: **{action.payload['item']}**").send()
