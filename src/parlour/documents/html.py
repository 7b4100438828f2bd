"""A document's tree as HTML. Everything is escaped; only what is listed here becomes markup."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any, Final

from parlour.documents.content import Element, Node, Run, text_in
from parlour.documents.links import safe_image, safe_link

_BLOCKS: Final = {
    "paragraph": "p",
    "bulletList": "ul",
    "listItem": "li",
    "blockquote": "blockquote",
    "table": "table",
    "tableRow": "tr",
    "tableCell": "td",
    "tableHeader": "th",
}
_MARKS: Final = {
    "bold": "strong",
    "italic": "em",
    "strike": "s",
    "underline": "u",
    "code": "code",
    "highlight": "mark",
    "subscript": "sub",
    "superscript": "sup",
}
MARK_ORDER: Final = ("link", "highlight", "underline", "bold", "italic", "strike", "code")


def to_html(body: Sequence[Node]) -> str:
    """Safe to put into a page."""
    return "".join(_node(node) for node in body)


def _node(node: Node) -> str:
    if isinstance(node, Run):
        return _run(node)
    render = _SPECIAL.get(node.tag)
    if render is not None:
        return render(node)
    name = _BLOCKS.get(node.tag)
    inside = to_html(node.children)
    return f"<{name}>{inside}</{name}>" if name is not None else inside


def _run(run: Run) -> str:
    text = escape(run.text)
    ordered = sorted(
        run.marks, key=lambda mark: MARK_ORDER.index(mark) if mark in MARK_ORDER else 9
    )
    for mark in reversed(ordered):
        name = _MARKS.get(mark)
        if name is not None:
            text = f"<{name}>{text}</{name}>"
        elif mark == "link":
            text = _link(text, run.marks[mark])
    return text


def _link(text: str, attrs: Any) -> str:
    href = safe_link(attrs.get("href")) if isinstance(attrs, dict) else None
    if href is None:
        return text
    return f'<a href="{escape(href)}" rel="noopener noreferrer nofollow">{text}</a>'


def level_of(element: Element) -> int:
    """A heading's level, 1 to 6."""
    return _whole(element.attrs.get("level"), 1, 6)


def start_of(element: Element) -> int:
    """An ordered list's first number."""
    return _whole(element.attrs.get("start"), 0, 10**9 - 1)


def _whole(value: object, least: int, most: int) -> int:
    """A number from a client's attribute; 1 where it is none, or out of bounds."""
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    return 1


def is_checked(element: Element) -> bool:
    return element.attrs.get("checked") in (True, "true")


def _heading(element: Element) -> str:
    level = level_of(element)
    return f"<h{level}>{to_html(element.children)}</h{level}>"


def _ordered(element: Element) -> str:
    start = start_of(element)
    head = f'<ol start="{start}">' if start != 1 else "<ol>"
    return f"{head}{to_html(element.children)}</ol>"


def _tasks(element: Element) -> str:
    return f'<ul data-type="taskList">{to_html(element.children)}</ul>'


def _task(element: Element) -> str:
    checked = "true" if is_checked(element) else "false"
    box = f'<input type="checkbox" disabled{" checked" if is_checked(element) else ""}>'
    inside = to_html(element.children)
    return f'<li data-type="taskItem" data-checked="{checked}">{box}{inside}</li>'


def _code(element: Element) -> str:
    language = element.attrs.get("language")
    kind = f' class="language-{escape(language)}"' if isinstance(language, str) and language else ""
    return f"<pre><code{kind}>{escape(text_in(element))}</code></pre>"


def _image(element: Element) -> str:
    source = safe_image(element.attrs.get("src"))
    if source is None:
        return ""
    words = "".join(
        f' {name}="{escape(value)}"'
        for name in ("alt", "title")
        if isinstance(value := element.attrs.get(name), str)
    )
    return f'<img src="{escape(source)}"{words}>'


_SPECIAL: Final[dict[str, Callable[[Element], str]]] = {
    "heading": _heading,
    "orderedList": _ordered,
    "taskList": _tasks,
    "taskItem": _task,
    "codeBlock": _code,
    "image": _image,
    "horizontalRule": lambda element: "<hr>",
    "hardBreak": lambda element: "<br>",
}
