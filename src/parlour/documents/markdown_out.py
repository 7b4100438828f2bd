"""A document's tree as Markdown (CommonMark with tables, strike-through and task lists)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from parlour.documents.content import INLINE, LISTS, Element, Node, Run, is_textblock, text_in
from parlour.documents.html import is_checked, level_of, start_of
from parlour.documents.links import safe_image, safe_link

_SPECIAL: Final = re.compile(r"([\\`*_\[\]<>~|])")
_ENTITY: Final = re.compile(r"&(?=#?\w+;)")
_LINE_START: Final = re.compile(r"^(\s*)(#{1,6}(?=\s|$)|[-+](?=\s|$)|={1,}\s*$|-{2,}\s*$|>)")
_NUMBERED: Final = re.compile(r"^(\s*\d{1,9})([.)])(?=\s|$)")
_EDGES: Final = re.compile(r"(\s*)(.*?)(\s*)", re.DOTALL)
_TICKS: Final = re.compile(r"`+")
_DELIMITERS: Final = {"bold": "**", "italic": "*", "strike": "~~"}
_ORDER: Final = ("link", "bold", "italic", "strike", "code")


def to_markdown(body: Sequence[Node]) -> str:
    """Ends without a line break; empty for an empty document."""
    return _blocks(body)


def _blocks(nodes: Sequence[Node], *, tight: bool = False) -> str:
    parts: list[str] = []
    previous: Element | None = None
    for node in _wrapped(nodes):
        if previous is not None and _run_together(previous, node):
            parts.append("<!-- -->")
        parts.append(_block(node))
        previous = node
    return ("\n" if tight else "\n\n").join(part for part in parts if part)


def _wrapped(nodes: Sequence[Node]) -> list[Element]:
    """Blocks; text and inline nodes that stand among them become paragraphs."""
    found: list[Element] = []
    inline: list[Node] = []
    for node in (*nodes, None):
        if node is not None and (isinstance(node, Run) or node.tag in INLINE):
            inline.append(node)
            continue
        if inline:
            found.append(Element("paragraph", {}, tuple(inline)))
            inline = []
        if node is not None:
            found.append(node)
    return found


def _run_together(one: Element, other: Element) -> bool:
    """Two lists of the same kind would read as one."""
    plain = {"bulletList", "taskList"}
    return one.tag in LISTS and (one.tag == other.tag or {one.tag, other.tag} <= plain)


def _block(element: Element) -> str:
    match element.tag:
        case "heading":
            return f"{'#' * level_of(element)} {_one_line(_inline(element.children))}".rstrip()
        case "bulletList" | "orderedList" | "taskList":
            return _list(element)
        case "blockquote":
            return _prefixed(_blocks(element.children), "> ", "> ")
        case "codeBlock":
            return _code(element)
        case "horizontalRule":
            return "---"
        case "table":
            return _table(element)
        case "image":
            return _image(element)
    if is_textblock(element):
        return _paragraph(element)
    return _blocks(element.children)


def _paragraph(element: Element) -> str:
    lines = _inline(element.children).split("\n")
    return "\n".join(_guard(line) for line in lines).strip("\n")


def _guard(line: str) -> str:
    """What would be a heading, a list or a quotation at the beginning of a line."""
    line = line.strip(" \t") if not line.endswith("\\") else line.lstrip(" \t")
    line = _LINE_START.sub(lambda found: f"{found[1]}\\{found[2]}", line)
    return _NUMBERED.sub(r"\1\\\2", line)


def _one_line(text: str) -> str:
    return " ".join(text.replace("\\\n", " ").split("\n")).strip()


def _list(element: Element) -> str:
    number = start_of(element)
    items = []
    for child in element.children:
        if isinstance(child, Run):
            child = Element("listItem", {}, (child,))
        marker = f"{number}. " if element.tag == "orderedList" else "- "
        box = ""
        if child.tag == "taskItem" or element.tag == "taskList":
            box = "[x] " if is_checked(child) else "[ ] "
        number += 1
        nested = _is_tight(child)
        text = _blocks(child.children, tight=nested)
        items.append(_prefixed(box + text, marker, " " * len(marker)).rstrip())
    return "\n".join(items)


def _is_tight(item: Element) -> bool:
    """One paragraph, perhaps with lists below it: no empty lines are needed."""
    blocks = _wrapped(item.children)
    return all(one.tag in LISTS for one in blocks[1:]) and (
        not blocks or blocks[0].tag == "paragraph"
    )


def _prefixed(text: str, first: str, others: str) -> str:
    lines = text.split("\n")
    rest = [(others + line).rstrip() if line or others.strip() else "" for line in lines[1:]]
    return "\n".join([(first + lines[0]).rstrip() or first.rstrip(), *rest])


def _code(element: Element) -> str:
    text = text_in(element)
    longest = max((len(ticks) for ticks in _TICKS.findall(text)), default=0)
    fence = "`" * max(3, longest + 1)
    language = element.attrs.get("language")
    info = re.sub(r"[`\s]", "", language) if isinstance(language, str) else ""
    return f"{fence}{info}\n{text}\n{fence}"


def _table(element: Element) -> str:
    rows = [
        [_cell(cell) for cell in row.children if isinstance(cell, Element)]
        for row in element.children
        if isinstance(row, Element)
    ]
    width = max((len(row) for row in rows), default=0)
    if not width:
        return ""
    lines = [f"| {' | '.join(row + [''] * (width - len(row)))} |" for row in rows]
    return "\n".join([lines[0], f"|{' --- |' * width}", *lines[1:]])


def _cell(cell: Element) -> str:
    parts = [_inline(one.children) for one in _wrapped(cell.children)]
    return " ".join(_one_line(part) for part in parts)


# -- inside a block --------------------------------------------------------------------------------


def _inline(nodes: Sequence[Node]) -> str:
    out: list[str] = []
    open_marks: list[tuple[str, Any]] = []
    space = ""
    for node in nodes:
        wanted = _wanted(node)
        kept = 0
        while kept < min(len(open_marks), len(wanted)) and open_marks[kept] == wanted[kept]:
            kept += 1
        while len(open_marks) > kept:
            out.append(_closing(*open_marks.pop()))
        before, text, after = _parts(node)
        out.append(space + before)
        space = after
        if not text:
            continue
        for mark in wanted[kept:]:
            out.append(_opening(*mark))
            open_marks.append(mark)
        out.append(text)
    while open_marks:
        out.append(_closing(*open_marks.pop()))
    return "".join([*out, space])


def _wanted(node: Node) -> list[tuple[str, Any]]:
    if not isinstance(node, Run) or not node.text.strip():
        return []
    return [
        (mark, node.marks[mark])
        for mark in _ORDER
        if mark in node.marks
        and mark != "code"
        and (mark != "link" or safe_link(node.marks[mark].get("href")) is not None)
    ]


def _parts(node: Node) -> tuple[str, str, str]:
    """White space before, Markdown, white space after: marks may not begin or end with a space."""
    if isinstance(node, Element):
        if node.tag == "hardBreak":
            return "\\\n", "", ""
        return "", _image(node) if node.tag == "image" else _inline(node.children), ""
    if "code" in node.marks:
        return "", _code_span(node.text), ""
    found = _EDGES.fullmatch(node.text)
    assert found is not None
    before, text, after = found.groups()
    return before, escape_text(text), after


def escape_text(text: str) -> str:
    """Text that is to be read as it is."""
    return _ENTITY.sub("&amp;", _SPECIAL.sub(r"\\\1", text))


def _code_span(text: str) -> str:
    text = text.replace("\n", " ")
    longest = max((len(ticks) for ticks in _TICKS.findall(text)), default=0)
    ticks = "`" * (longest + 1)
    pad = (
        " " if text.startswith("`") or text.endswith("`") or (text[:1] == text[-1:] == " ") else ""
    )
    return f"{ticks}{pad}{text}{pad}{ticks}" if text else ""


def _opening(mark: str, attrs: Any) -> str:
    return "[" if mark == "link" else _DELIMITERS[mark]


def _closing(mark: str, attrs: Any) -> str:
    if mark != "link":
        return _DELIMITERS[mark]
    return f"]({_address(safe_link(attrs.get('href')) or '')})"


def _image(element: Element) -> str:
    source = safe_image(element.attrs.get("src"))
    if source is None:
        return ""
    alt, title = element.attrs.get("alt"), element.attrs.get("title")
    words = f' "{_quoted(title)}"' if isinstance(title, str) and title else ""
    return f"![{escape_text(alt) if isinstance(alt, str) else ''}]({_address(source)}{words})"


def _address(address: str) -> str:
    return re.sub(r"[()<>\\\s]", lambda found: f"%{ord(found[0]):02X}", address)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
