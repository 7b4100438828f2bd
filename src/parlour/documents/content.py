"""What a document says, as a plain tree: the one form between the CRDT and everything else.

A tree is a list of nodes in the shape of ProseMirror documents, with TipTap's names. It is read from
the CRDT, rendered, compared, kept as a version, made from Markdown, and written back as an edit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from pycrdt import Doc, Text, XmlElement, XmlFragment, XmlText

FRAGMENT: Final = "default"
OTHER_FRAGMENT: Final = "prosemirror"
PLAIN_TEXT: Final = "content"
TITLE: Final = "title"

MAX_DEPTH: Final = 50
"""Nesting beyond which only the text is taken."""

Marks = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """Text with the same marks: `{name: attributes}`."""

    text: str
    marks: Marks = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Element:
    """A node with a name."""

    tag: str
    attrs: Mapping[str, Any] = field(default_factory=dict)
    children: tuple[Element | Run, ...] = ()


Node = Element | Run
Tree = tuple[Node, ...]

_TAGS: Final = {
    "bullet_list": "bulletList",
    "ordered_list": "orderedList",
    "list_item": "listItem",
    "code_block": "codeBlock",
    "horizontal_rule": "horizontalRule",
    "hard_break": "hardBreak",
    "task_list": "taskList",
    "task_item": "taskItem",
    "table_row": "tableRow",
    "table_cell": "tableCell",
    "table_header": "tableHeader",
}
_MARKS: Final = {"strong": "bold", "em": "italic", "strikethrough": "strike", "s": "strike"}

LISTS: Final = frozenset({"bulletList", "orderedList", "taskList"})


@dataclass(frozen=True, slots=True)
class Content:
    """A whole document: title and body."""

    title: str
    body: Tree


# --------------------------------------------------------------------------------------------------
# From the CRDT
# --------------------------------------------------------------------------------------------------


def read_content(doc: Doc[Any]) -> Content:
    """What the document says now."""
    with doc.transaction():
        names = set(doc.keys())
        title = str(doc.get(TITLE, type=Text)) if TITLE in names else ""
        return Content(title, _read_body(doc, names))


def _read_body(doc: Doc[Any], names: set[str]) -> Tree:
    for name in (FRAGMENT, OTHER_FRAGMENT):
        if name in names:
            body = read_fragment(doc.get(name, type=XmlFragment))
            if body:
                return body
    if PLAIN_TEXT in names:
        text = str(doc.get(PLAIN_TEXT, type=Text))
        return tuple(paragraph(line) for line in text.split("\n")) if text else ()
    return ()


def body_fragment(doc: Doc[Any]) -> XmlFragment:
    """The fragment that holds the body: the one that has something in it, else `default`."""
    names = set(doc.keys())
    if OTHER_FRAGMENT in names:
        mine = len(doc.get(FRAGMENT, type=XmlFragment).children) if FRAGMENT in names else 0
        other: XmlFragment = doc.get(OTHER_FRAGMENT, type=XmlFragment)
        if not mine and len(other.children):
            return other
    found: XmlFragment = doc.get(FRAGMENT, type=XmlFragment)
    return found


def attributes_of(element: XmlElement) -> list[tuple[str, Any]]:
    """An element's attributes, as they are."""
    view: Any = element.attributes
    return list(view)


def read_fragment(fragment: XmlFragment | XmlElement, depth: int = 0) -> Tree:
    """The children of a fragment or an element."""
    found: list[Node] = []
    for child in fragment.children:
        if isinstance(child, XmlElement):
            found.append(_read_element(child, depth))
        elif isinstance(child, XmlText):
            found.extend(read_runs(child))
    return tuple(found)


def _read_element(element: XmlElement, depth: int) -> Element:
    tag = element.tag or ""
    attrs = {
        name: plain_value(value) for name, value in attributes_of(element) if value is not None
    }
    if depth >= MAX_DEPTH:
        return Element(_TAGS.get(tag, tag), attrs, (Run(_text_of(element)),))
    return Element(_TAGS.get(tag, tag), attrs, read_fragment(element, depth + 1))


def _text_of(element: XmlElement) -> str:
    """The text below an element, without going down call by call."""
    parts: list[str] = []
    waiting: list[Any] = [element]
    while waiting:
        node = waiting.pop()
        if isinstance(node, XmlText):
            parts.append("".join(run.text for run in read_runs(node)))
        else:
            waiting.extend(reversed(list(node.children)))
    return "".join(parts)


def read_runs(text: XmlText) -> list[Run]:
    """The pieces of a text with their marks."""
    runs = []
    for piece, attrs in text.diff():
        if isinstance(piece, str) and piece:
            runs.append(Run(piece, _marks(attrs or {})))
    return runs


def _marks(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """y-prosemirror writes marks that may overlap themselves as `name--hash`."""
    found = {}
    for name, value in sorted(attrs.items()):
        if value is not None and value is not False:
            name = name.partition("--")[0]
            found[_MARKS.get(name, name)] = plain_value(value) if isinstance(value, dict) else {}
    return found


def plain_value(value: Any) -> Any:
    """A JSON value; numbers that are whole come back from the CRDT as floats."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, dict):
        return {str(key): plain_value(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [plain_value(item) for item in value]
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


# --------------------------------------------------------------------------------------------------
# Making and reading trees
# --------------------------------------------------------------------------------------------------


def paragraph(text: str) -> Element:
    return Element("paragraph", {}, (Run(text),) if text else ())


def text_in(node: Node) -> str:
    """All text below a node; a line break for each `hardBreak`."""
    if isinstance(node, Run):
        return node.text
    if node.tag == "hardBreak":
        return "\n"
    return "".join(text_in(child) for child in node.children)


def is_textblock(element: Element) -> bool:
    """Whether an element holds text itself, rather than blocks."""
    if not element.children:
        return element.tag in ("paragraph", "heading", "codeBlock")
    return any(isinstance(child, Run) or child.tag in INLINE for child in element.children)


INLINE: Final = frozenset({"hardBreak", "image", "mention", "emoji"})


def textblocks(body: Sequence[Node]) -> Iterator[Element]:
    """The blocks that hold text, in order."""
    for node in body:
        if isinstance(node, Run):
            yield paragraph(node.text)
        elif is_textblock(node) or not node.children:
            yield node
        else:
            yield from textblocks(node.children)


def count_nodes(body: Sequence[Node]) -> int:
    """How many elements and pieces of text there are."""
    count, waiting = 0, list(body)
    while waiting:
        node = waiting.pop()
        count += 1
        if isinstance(node, Element):
            waiting.extend(node.children)
    return count


def to_text(body: Sequence[Node]) -> str:
    """Plain text: one line per block."""
    return "\n".join(text_in(block) for block in textblocks(body) if block.tag != "horizontalRule")


def shown_title(content: Content) -> str:
    """The title, or the first line where there is none; at most 200 characters."""
    title = " ".join(content.title.split())
    if not title:
        lines = (" ".join(text_in(block).split()) for block in textblocks(content.body))
        title = next((line for line in lines if line), "")
    return title[:200]


def to_json(content: Content) -> bytes:
    """For keeping; `from_json` gives it back."""
    return orjson.dumps({"title": content.title, "body": [_packed(node) for node in content.body]})


def from_json(data: bytes) -> Content:
    found = orjson.loads(data)
    return Content(found["title"], tuple(_unpacked(node) for node in found["body"]))


def _packed(node: Node) -> Any:
    if isinstance(node, Run):
        return [node.text, dict(node.marks)] if node.marks else node.text
    return {
        "tag": node.tag,
        "attrs": dict(node.attrs),
        "children": [_packed(child) for child in node.children],
    }


def _unpacked(packed: Any) -> Node:
    if isinstance(packed, str):
        return Run(packed)
    if isinstance(packed, list):
        return Run(packed[0], packed[1])
    children = tuple(_unpacked(child) for child in packed["children"])
    return Element(packed["tag"], packed["attrs"], children)


def node_key(node: Node) -> bytes:
    """Equal for nodes that say the same."""
    return orjson.dumps(_packed(_joined(node)), option=orjson.OPT_SORT_KEYS)


def _joined(node: Node) -> Node:
    """With neighbouring runs of the same marks as one."""
    if isinstance(node, Run):
        return node
    children: list[Node] = []
    for child in node.children:
        last = children[-1] if children else None
        if isinstance(child, Run) and isinstance(last, Run) and last.marks == child.marks:
            children[-1] = Run(last.text + child.text, last.marks)
        else:
            children.append(_joined(child))
    return Element(node.tag, node.attrs, tuple(children))
