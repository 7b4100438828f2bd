"""What the demo's commands show."""

from __future__ import annotations

from typing import Final

HELP: Final = """\
Here is what I can show you. Type one of these, with or without a slash:

| command | shows |
| --- | --- |
| `ask` | a question that waits for your answer |
| `choose` | a choice between buttons |
| `upload` | a file of yours, read back to you |
| `steps` | what an app does on its way to an answer |
| `status` | a line that says what it is doing |
| `actions` | buttons under a message |
| `markdown`, `table`, `code` | how answers are laid out |
| `file` | a file for you to download |
| `long 400` | an answer of 400 words: press Stop, or reload the page in the middle |
| `count to 20` | numbers, one by one |
| `my name is …`, `who am I` | what the session remembers |
| `error` | a handler that fails |

Anything else gets an answer in words.
"""

TABLE: Final = """\
| word | meaning | survives a reload |
| :--- | :--- | :---: |
| connection | one socket | no |
| session | one open tab | yes |
| thread | one conversation | yes |
| run | one answer in the making | yes |
"""

CODE: Final = """\
A whole app:

```python
import parlour as cl


@cl.on_message
async def reply(message: cl.Message):
    answer = cl.Message(content="")
    async for token in model(message.content):
        await answer.stream_token(token)
    await answer.send()
```

Start it with:

```bash
parlour run app.py --watch
```
"""

MARKDOWN: Final = """\
## Headings set answers apart

Text may be **strong**, *emphasised*, ~~struck out~~ or `code`, and [links](https://example.com/) open \
in a tab of their own.

1. Lists count
2. and continue
   - with others
   - inside them

> A quotation stands by itself.

Mathematics and foreign scripts are text like any other: x² + y² = z², 日本語, العربية, ελληνικά.

---

What looks like a page's own code is shown and never run: `<script>alert(1)</script>`.
"""

REPORT: Final = """\
# Notes from the demo

This file was made by a handler, stored once and sent by reference.
"""

PROSE: Final = """\
This is a long answer, made so that you have time to try things. It comes word by word, and each word was \
given a number before it was sent to you. Your page remembers the last number that it has seen. That is all \
it needs to find its place again.

Reload the page now, and the answer is still here, as far as it has got, and goes on with the next word. \
Close the lid of your laptop, walk to another room, and open it again: what was said in between arrives \
first, in order, and then the rest. Open the same conversation in a second tab and both will keep the same \
pace, because they follow the same stream.

Press Stop whenever you like. What you have read until then stays where it is, since it was stored before \
you saw it, and not one word is added afterwards. You can then ask for something else, or for the same \
again.

If the server were to restart at this moment, the answer would end here, marked as interrupted, and nobody \
would be left waiting for a word that never comes. Everything else in this conversation would be as it was: \
your messages, the answers, and any question that was still open.

None of this needs a second service. There is one process and one folder on the disk, and that is enough \
for a good many people. When it is not, more processes can share the work, and the numbers still hold.

So much for the first round. The text begins again from here, as a long answer must be made of something.

"""
