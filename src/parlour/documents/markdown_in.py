"""Markdown as a document's tree. HTML in it is text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

from parlour.documents.content import Element, Node, Run, Tree
from parlour.documents.links import safe_image, safe_link

_PARSER: Final = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
_BOX: Final = re.compile(r"\[([ xX])\]\s+")
_SEPARATOR: Final = "<!-- -->"
_BLOCKS: Final = {
    "paragraph_open": "paragraph",
    "heading_open": "heading",
    "bullet_list_open": "bulletList",
    "ordered_list_open": "orderedList",
    "list_item_open": "listItem",
    "blockquote_open": "blockquote",
    "table_open": "table",
    "tr_open": "tableRow",
    "th_open": "tableHeader",
    "td_open": "tableCell",
}
_MARKS: Final = {"strong_open": "bold", "em_open": "italic", "s_open": "strike"}


def from_markdown(text: str) -> Tree:
    """The blocks of a Markdown text."""
    tokens = iter(_PARSER.parse(text.replace("\0", "")))
    blocks = _children(tokens, None)
    return tuple(block for block in blocks if not _is_separator(block))


def _children(tokens: Iterator[Token], closing: str | None) -> tuple[Node, ...]:
    found: list[Node] = []
    for token in tokens:
        if token.type == closing:
            break
        found.extend(_block(token, tokens))
    return tuple(found)


def _block(token: Token, tokens: Iterator[Token]) -> Sequence[Node]:
    tag = _BLOCKS.get(token.type)
    if tag is not None:
        children = _children(tokens, token.type.replace("_open", "_close"))
        return [_element(tag, token, children)]
    match token.type:
        case "inline":
            return _inline(token.children or [])
        case "fence" | "code_block":
            language = token.info.split()[0] if token.info.split() else None
            code = token.content.removesuffix("\n")
            runs = (Run(code),) if code else ()
            return [Element("codeBlock", {"language": language} if language else {}, runs)]
        case "hr":
            return [Element("horizontalRule")]
        case "thead_open" | "tbody_open":
            return _children(tokens, token.type.replace("_open", "_close"))
    return []


def _element(tag: str, token: Token, children: tuple[Node, ...]) -> Element:
    attrs: dict[str, Any] = {}
    if tag == "heading":
        attrs["level"] = int(token.tag[1:])
    if tag == "orderedList" and token.attrs.get("start", 1) != 1:
        attrs["start"] = int(token.attrs["start"])
    if tag in ("tableCell", "tableHeader"):
        children = (Element("paragraph", {}, children),)
    if tag == "listItem" and not children:
        children = (Element("paragraph"),)
    if tag == "bulletList":
        tasks = [_task(child) for child in children]
        if tasks and all(task is not None for task in tasks):
            return Element("taskList", {}, tuple(task for task in tasks if task is not None))
    return Element(tag, attrs, children)


def _task(item: Node) -> Element | None:
    """A list's item that begins with a box."""
    if not isinstance(item, Element) or not item.children:
        return None
    first = item.children[0]
    if not isinstance(first, Element) or first.tag != "paragraph":
        return None
    runs = first.children
    head = runs[0] if runs and isinstance(runs[0], Run) and not runs[0].marks else None
    text = head.text if head is not None else ""
    found = _BOX.match(text + " " if text in ("[ ]", "[x]", "[X]") else text)
    if found is None:
        return None
    left = text[found.end() :]
    kept = ((Run(left),) if left else ()) + tuple(runs[1:])
    begin = Element("paragraph", first.attrs, kept)
    checked = found[1] in "xX"
    return Element("taskItem", {"checked": checked}, (begin, *item.children[1:]))


def _inline(tokens: Sequence[Token]) -> list[Node]:
    found: list[Node] = []
    marks: dict[str, Any] = {}
    for token in tokens:
        if token.type in _MARKS:
            marks = {**marks, _MARKS[token.type]: {}}
        elif token.type == "link_open":
            href = safe_link(token.attrs.get("href"))
            marks = {**marks, "link": {"href": href}} if href is not None else marks
        elif token.type.endswith("_close"):
            closed = _MARKS.get(token.type.replace("_close", "_open"), "link")
            marks = {name: value for name, value in marks.items() if name != closed}
        else:
            found.extend(_leaf(token, marks))
    return _joined(found)


def _leaf(token: Token, marks: dict[str, Any]) -> list[Node]:
    match token.type:
        case "text":
            return [Run(token.content, marks)] if token.content else []
        case "softbreak":
            return [Run(" ", marks)]
        case "hardbreak":
            return [Element("hardBreak")]
        case "code_inline":
            return [Run(token.content, {**marks, "code": {}})]
        case "image":
            source = safe_image(token.attrs.get("src"))
            alt = "".join(child.content for child in token.children or [])
            attrs = {"src": source, "alt": alt, "title": token.attrs.get("title")}
            kept = {name: value for name, value in attrs.items() if value}
            return [Element("image", kept)] if source is not None else []
    return [Run(token.content, marks)] if token.content else []


def _joined(nodes: Sequence[Node]) -> list[Node]:
    found: list[Node] = []
    for node in nodes:
        last = found[-1] if found else None
        if isinstance(node, Run) and isinstance(last, Run) and last.marks == node.marks:
            found[-1] = Run(last.text + node.text, last.marks)
        else:
            found.append(node)
    return found


def _is_separator(node: Node) -> bool:
    """What `markdown_out` puts between two lists."""
    return isinstance(node, Element) and node.children == (Run(_SEPARATOR),)
