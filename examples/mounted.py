"""Puts a chat into a FastAPI application, beside the application's own routes.

Start it with `uvicorn mounted:app` in this folder; the chat is at /chat/.
"""

from fastapi import FastAPI

import parlour as cl

app = FastAPI(title="A shop")


@app.get("/stock/{item}")
async def stock(item: str) -> dict[str, object]:
    return {"item": item, "pieces": len(item)}


@app.post("/threads/{thread_id}/notices")
async def notify(thread_id: str, text: str) -> dict[str, bool]:
    await cl.push(text, thread_id=thread_id)
    return {"sent": True}


@cl.on_message
async def reply(message: cl.Message) -> None:
    found = await stock(message.content)
    await cl.Message(content=f"{found['item']}: {found['pieces']} pieces").send()


cl.mount(app, "/chat")
