"""Changing a document: what is wanted is compared with what is there, and only the difference is
written, so that people who type elsewhere keep their place and nothing is doubled.

pycrdt counts positions in UTF-8 bytes; trees and callers count characters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pycrdt import Doc, Text, XmlElement, XmlFragment, XmlText

from parlour.documents.comparing import changes_between
from parlour.documents.content import (
    TITLE,
    Content,
    Element,
    Node,
    Run,
    Tree,
    attributes_of,
    body_fragment,
    node_key,
    paragraph,
    plain_value,
    read_fragment,
    read_runs,
    textblocks,
)
from parlour.documents.markdown_in import from_markdown
from parlour.documents.markdown_out import to_markdown

_Wanted = Element | tuple[Run, ...]
"""A child as the CRDT has it: an element, or one text with all its runs."""


def write_content(doc: Doc[Any], content: Content) -> None:
    """Make the document say this."""
    write_title(doc, content.title)
    write_body(doc, content.body)


def write_title(doc: Doc[Any], title: str) -> None:
    text = doc.get(TITLE, type=Text)
    _change_text(
        str(text), title, text.insert, lambda start, stop: text.__delitem__(slice(start, stop))
    )


def write_body(doc: Doc[Any], body: Sequence[Node]) -> None:
    _merge(body_fragment(doc), _grouped(body))


def write_markdown(doc: Doc[Any], markdown: str) -> None:
    """Make the body say what a Markdown text says."""
    write_blocks(doc, from_markdown(markdown))


def write_blocks(doc: Doc[Any], wanted: Tree) -> None:
    """As `write_body`, for blocks that were read from Markdown: those that read the same in Markdown stay
    as they are, with what Markdown cannot tell."""
    fragment = body_fragment(doc)
    there = read_fragment(fragment)
    asked = [node_key(block) for block in wanted]
    exact = frozenset(asked)
    known = [_key_among(block, exact) for block in there]
    kept: list[Node] = []
    for kind, i, j, k, m in changes_between(known, asked):
        kept += there[i:j] if kind == "equal" else wanted[k:m]
    _merge(fragment, _grouped(kept))


def append_markdown(doc: Doc[Any], markdown: str) -> None:
    """Add what a Markdown text says at the end."""
    append_blocks(doc, from_markdown(markdown))


def append_blocks(doc: Doc[Any], blocks: Tree) -> None:
    """Add blocks at the end; an empty last paragraph makes room for them."""
    fragment = body_fragment(doc)
    children = fragment.children
    if len(children):
        last = children[len(children) - 1]
        if isinstance(last, XmlElement) and last.tag == "paragraph" and not len(last.children):
            del children[len(children) - 1]
    for block in _grouped(blocks):
        _insert(fragment, len(fragment.children), block)


def _key_among(block: Node, asked: frozenset[bytes]) -> bytes:
    """The key of a block where it is asked for as it is, else of what it is in Markdown."""
    key = node_key(block)
    if key in asked:
        return key
    read = from_markdown(to_markdown((block,)))
    return b"\n".join(node_key(node) for node in read)


# --------------------------------------------------------------------------------------------------
# By position
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Piece:
    """A text of the document, at `start` of the plain text."""

    start: int
    text: str
    node: XmlText


def replace_text(doc: Doc[Any], old: str, new: str) -> bool:
    """Replace the first occurrence of `old` within one text; False where there is none."""
    if not old:
        return False
    for piece in _pieces(doc):
        at = piece.text.find(old)
        if at >= 0:
            start = _bytes(piece.text[:at])
            del piece.node[start : start + _bytes(old)]
            if new:
                piece.node.insert(start, new)
            return True
    return False


def insert_text(doc: Doc[Any], index: int, text: str) -> None:
    """Insert at a position of the plain text (`to_text`); positions beyond its end are its end. The
    first line goes into the block that is there, each further one becomes a paragraph behind it."""
    first, *more = text.split("\n")
    blocks = _textblock_elements(body_fragment(doc))
    if not blocks:
        append_markdown_free(doc, [first, *more])
        return
    at = 0
    for number, block in enumerate(blocks):
        length = _length(block)
        if index <= at + length or number == len(blocks) - 1:
            _insert_in_block(block, max(0, min(index - at, length)), first)
            _paragraphs_after(block, more)
            return
        at += length + 1


def append_markdown_free(doc: Doc[Any], lines: Sequence[str]) -> None:
    """Add plain paragraphs at the end."""
    fragment = body_fragment(doc)
    for line in lines:
        _insert(fragment, len(fragment.children), paragraph(line))


def _pieces(doc: Doc[Any]) -> list[_Piece]:
    found, at = [], 0
    for block in _textblock_elements(body_fragment(doc)):
        inner = at
        for child in block.children:
            if isinstance(child, XmlText):
                text = "".join(run.text for run in read_runs(child))
                found.append(_Piece(inner, text, child))
                inner += len(text)
            else:
                inner += _length(child)
        at = inner + 1
    return found


def _textblock_elements(parent: XmlFragment | XmlElement) -> list[XmlElement]:
    """As `content.textblocks`, over the CRDT."""
    found = []
    for child in parent.children:
        if not isinstance(child, XmlElement) or child.tag in ("horizontalRule", "horizontal_rule"):
            continue
        read = Element(child.tag or "", {}, read_fragment(child))
        if next(textblocks((read,)), None) is read or not len(child.children):
            found.append(child)
        else:
            found.extend(_textblock_elements(child))
    return found


def _length(node: XmlElement | XmlText | XmlFragment) -> int:
    if isinstance(node, XmlText):
        return sum(len(run.text) for run in read_runs(node))
    if isinstance(node, XmlElement) and node.tag in ("hardBreak", "hard_break"):
        return 1
    return sum(_length(child) for child in node.children)


def _insert_in_block(block: XmlElement, index: int, text: str) -> None:
    if not text:
        return
    at = 0
    for child in block.children:
        length = _length(child)
        if isinstance(child, XmlText) and index <= at + length:
            before = "".join(run.text for run in read_runs(child))[: index - at]
            child.insert(_bytes(before), text)
            return
        at += length
    block.children.append(XmlText(text))


def _paragraphs_after(block: XmlElement, lines: Sequence[str]) -> None:
    parent = block.parent
    if not lines or not isinstance(parent, XmlFragment | XmlElement):
        return
    at = next(i for i, child in enumerate(parent.children) if child == block) + 1
    for line in lines:
        _insert(parent, at, paragraph(line))
        at += 1


# --------------------------------------------------------------------------------------------------
# Merging
# --------------------------------------------------------------------------------------------------


def _grouped(nodes: Sequence[Node]) -> list[_Wanted]:
    """Neighbouring runs as one text."""
    found: list[_Wanted] = []
    for node in nodes:
        if isinstance(node, Element):
            found.append(node)
        elif found and isinstance(found[-1], tuple):
            found[-1] = (*found[-1], node)
        else:
            found.append((node,))
    return found


def _merge(parent: XmlFragment | XmlElement, wanted: Sequence[_Wanted]) -> None:
    children = list(parent.children)
    known = [_key(_read(child)) for child in children]
    asked = [_key(child) for child in wanted]
    changes = changes_between(known, asked)
    # From the end, so that the positions before stay what they are.
    for kind, i, j, k, m in reversed(changes):
        if kind == "equal":
            continue
        common = min(j - i, m - k)
        if j - i > common:
            del parent.children[i + common : j]
        for number in range(k + common, m):
            _insert(parent, i + number - k, wanted[number])
        for number in reversed(range(common)):
            _change(parent, i + number, children[i + number], wanted[k + number])


def _change(
    parent: XmlFragment | XmlElement,
    at: int,
    child: XmlFragment | XmlElement | XmlText,
    to: _Wanted,
) -> None:
    if isinstance(child, XmlElement) and isinstance(to, Element) and child.tag == to.tag:
        _set_attributes(child, to)
        _merge(child, _grouped(to.children))
    elif isinstance(child, XmlText) and isinstance(to, tuple) and _is_plain(child):
        _merge_runs(child, to)
    else:
        del parent.children[at]
        _insert(parent, at, to)


def _read(child: XmlFragment | XmlElement | XmlText) -> _Wanted:
    if isinstance(child, XmlText):
        return tuple(read_runs(child))
    tag = child.tag if isinstance(child, XmlElement) else None
    attrs = dict(_attributes(child)) if isinstance(child, XmlElement) else {}
    return Element(tag or "", attrs, read_fragment(child))


def _attributes(element: XmlElement) -> list[tuple[str, Any]]:
    read = [(name, plain_value(value)) for name, value in attributes_of(element)]
    return [(name, value) for name, value in read if value is not None]


def _key(node: _Wanted) -> bytes:
    return node_key(node if isinstance(node, Element) else Element("", {}, node))


def _is_plain(text: XmlText) -> bool:
    """Whether there is nothing but text in it."""
    return all(isinstance(piece, str) for piece, _ in text.diff())


def _set_attributes(element: XmlElement, to: Element) -> None:
    there = dict(_attributes(element))
    for name in there.keys() - to.attrs.keys():
        del element.attributes[name]
    for name, value in to.attrs.items():
        if there.get(name) != value:
            element.attributes[name] = value


def _insert(parent: XmlFragment | XmlElement, at: int, node: _Wanted) -> None:
    if isinstance(node, tuple):
        _merge_runs(parent.children.insert(at, XmlText("")), node)
        return
    attrs = {name: value for name, value in node.attrs.items() if value is not None}
    made = parent.children.insert(at, XmlElement(node.tag, attrs))
    for number, child in enumerate(_grouped(node.children)):
        _insert(made, number, child)


def _merge_runs(text: XmlText, wanted: Sequence[Run]) -> None:
    there = "".join(run.text for run in read_runs(text))
    asked = "".join(run.text for run in wanted)
    _change_text(
        there, asked, text.insert, lambda start, stop: text.__delitem__(slice(start, stop))
    )
    _set_marks(text, wanted)


def _set_marks(text: XmlText, wanted: Sequence[Run]) -> None:
    there = _spans(read_runs(text))
    asked = _spans(wanted)
    cuts = sorted({at for start, stop, _ in (*there, *asked) for at in (start, stop)})
    whole = "".join(run.text for run in wanted)
    for start, stop in pairwise(cuts):
        now, to = _marks_at(there, start), _marks_at(asked, start)
        change: dict[str, Any] = dict.fromkeys(now.keys() - to.keys())
        change |= {name: value for name, value in to.items() if now.get(name) != value}
        if change:
            first = _bytes(whole[:start])
            text.format(first, first + _bytes(whole[start:stop]), change)


def _spans(runs: Sequence[Run]) -> list[tuple[int, int, dict[str, Any]]]:
    found, at = [], 0
    for run in runs:
        found.append((at, at + len(run.text), dict(run.marks)))
        at += len(run.text)
    return found


def _marks_at(spans: Sequence[tuple[int, int, dict[str, Any]]], at: int) -> dict[str, Any]:
    return next((marks for start, stop, marks in spans if start <= at < stop), {})


def _change_text(
    there: str,
    asked: str,
    insert: Callable[[int, str], None],
    delete: Callable[[int, int], None],
) -> None:
    for kind, i, j, k, m in reversed(changes_between(there, asked)):
        if kind == "equal":
            continue
        at = _bytes(there[:i])
        if j > i:
            delete(at, at + _bytes(there[i:j]))
        if m > k:
            insert(at, asked[k:m])


def _bytes(text: str) -> int:
    return len(text.encode())


def body_of(doc: Doc[Any]) -> Tree:
    """The body as it is, for callers that edit it."""
    return read_fragment(body_fragment(doc))
