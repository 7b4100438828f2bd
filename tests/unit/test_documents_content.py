"""What a document says: Markdown, HTML and text from the CRDT, and edits back into it."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Array, Doc, Map, Text, XmlElement, XmlFragment, XmlText

from parlour.documents.comparing import changes_between, compare_texts
from parlour.documents.content import (
    Content,
    Element,
    Run,
    Tree,
    from_json,
    node_key,
    read_content,
    shown_title,
    to_json,
    to_text,
)
from parlour.documents.html import to_html
from parlour.documents.live import LiveDocument
from parlour.documents.markdown_in import from_markdown
from parlour.documents.markdown_out import to_markdown
from parlour.documents.writing import (
    append_markdown,
    insert_text,
    replace_text,
    write_content,
    write_markdown,
    write_title,
)

EVERYTHING = """# Title *with* emphasis

Some **bold *and italic*** text with `code`, a [link](http://example.org/a) and ~~nothing~~.\\
A second line.

- one
- two
  - nested **x**

3. three
4. four

- [ ] open
- [x] done

> quoted
>
> twice

```py
print("`x`")
```

---

| a | b |
| --- | --- |
| 1 | 2 \\| 3 |

![words](/api/files/abc "hint")"""


def body_of(live: LiveDocument) -> Tree:
    return read_content(live.doc).body


def keys(body: Tree) -> list[bytes]:
    return [node_key(node) for node in body]


class TestRendering:
    def test_markdown_comes_back_as_it_was(self) -> None:
        assert to_markdown(from_markdown(EVERYTHING)) == EVERYTHING

    def test_a_document_of_an_editor_is_rendered(self) -> None:
        doc: Doc[Any] = Doc()
        fragment = doc.get("default", type=XmlFragment)
        heading = fragment.children.append(XmlElement("heading", {"level": "x"}))
        heading.attributes["level"] = 2
        heading.children.append(XmlText("Plan"))
        tasks = fragment.children.append(XmlElement("taskList"))
        task = tasks.children.append(XmlElement("taskItem"))
        task.attributes["checked"] = True
        words = task.children.append(XmlElement("paragraph")).children.append(XmlText("ship it"))
        words.format(0, 4, {"bold": {}, "link--abc": {"href": "https://x.org"}})

        content = read_content(doc)

        assert to_markdown(content.body) == "## Plan\n\n- [x] [**ship**](https://x.org) it"
        assert to_text(content.body) == "Plan\nship it"
        assert shown_title(content) == "Plan"
        assert "<h2>Plan</h2>" in to_html(content.body)

    def test_names_of_the_basic_schema_are_understood(self) -> None:
        body = (
            Element("bullet_list", {}, (Element("list_item", {}, (Run("x", {"strong": {}}),)),)),
        )
        doc: Doc[Any] = Doc()
        fragment = doc.get("prosemirror", type=XmlFragment)
        listed = fragment.children.append(XmlElement("bullet_list"))
        item = listed.children.append(XmlElement("list_item"))
        text = item.children.append(XmlElement("paragraph")).children.append(XmlText("x"))
        text.format(0, 1, {"strong": {}})

        assert to_markdown(read_content(doc).body) == "- **x**"
        assert len(body) == 1

    @pytest.mark.parametrize(
        "address",
        [
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            " java\nscript:alert(1)",
            "\x01javascript:alert(1)",
            "data:text/html,<script>1</script>",
            "vbscript:x",
            "file:///etc/passwd",
        ],
    )
    def test_addresses_that_could_run_something_are_dropped(self, address: str) -> None:
        linked = (Element("paragraph", {}, (Run("click", {"link": {"href": address}}),)),)
        shown = (Element("image", {"src": address, "alt": "x"}),)

        assert to_html(linked) == "<p>click</p>"
        assert to_markdown(linked) == "click"
        assert to_html(shown) == to_markdown(shown) == ""

    def test_text_is_escaped_wherever_it_stands(self) -> None:
        evil = "<script>\"&'"
        body = (
            Element("paragraph", {}, (Run(evil, {"link": {"href": 'http://x/"onclick="y'}}),)),
            Element("codeBlock", {"language": '"><script>'}, (Run(evil),)),
            Element("image", {"src": "http://x", "alt": '"><script>'}),
            Element(evil, {evil: evil}, (Run(evil),)),
        )

        html = to_html(body)

        assert "<script" not in html
        assert 'onclick="' not in html

    @pytest.mark.parametrize(
        "text",
        [
            "# no heading",
            "- no list",
            "1. no number",
            "> no quote",
            "*no* _emphasis_ `no code` [no](link) <b> ~~no~~",
            "---",
            "&amp; &lt;",
            "a\\b",
            "| no | table |",
            "+ x",
            "===",
        ],
    )
    def test_plain_text_stays_plain_through_markdown(self, text: str) -> None:
        body = (Element("paragraph", {}, (Run(text),)),)

        assert to_text(from_markdown(to_markdown(body))) == text

    def test_markdown_ends_at_html(self) -> None:
        body = from_markdown("<script>alert(1)</script> and **bold**")

        assert (
            to_html(body)
            == "<p>&lt;script&gt;alert(1)&lt;/script&gt; and <strong>bold</strong></p>"
        )

    def test_nesting_without_end_is_cut(self) -> None:
        doc: Doc[Any] = Doc()
        node: Any = doc.get("default", type=XmlFragment)
        for _ in range(300):
            node = node.children.append(XmlElement("blockquote"))
        node.children.append(XmlText("deep"))

        content = read_content(doc)

        assert "deep" in to_html(content.body)
        assert "deep" in to_markdown(content.body)

    @pytest.mark.parametrize(
        ("tag", "attributes"),
        [
            ("heading", {"level": True}),
            ("heading", {"level": {"a": [float("nan")]}}),
            ("orderedList", {"start": 1e300}),
            ("codeBlock", {"language": ["x"]}),
            ("image", {"src": {"a": 1}}),
            ("taskItem", {"checked": "yes"}),
            ("", {"\0": "\0"}),
            ("\n<script>", {}),
        ],
    )
    def test_what_no_editor_writes_is_read_rendered_and_written_over(
        self, tag: str, attributes: dict[str, Any]
    ) -> None:
        live = LiveDocument()

        def write(doc: Doc[Any]) -> None:
            fragment = doc.get("default", type=XmlFragment)
            element = fragment.children.append(XmlElement(tag))
            for name, value in attributes.items():
                element.attributes[name] = value
            element.children.append(XmlText("inside"))
            fragment.children.append(XmlText("loose"))

        live.edit(write)
        html, markdown = to_html(body_of(live)), to_markdown(body_of(live))
        live.edit(lambda doc: write_markdown(doc, "# New"))

        assert "<script" not in html + markdown
        assert "loose" in html
        assert to_markdown(body_of(live)) == "# New"

    @pytest.mark.parametrize("root", [Array([1, "x", {"a": 1}]), Map({"k": "v"}), Text("text")])
    def test_a_root_of_another_kind_says_nothing_and_can_be_written_over(self, root: Any) -> None:
        doc: Doc[Any] = Doc()
        doc["default"] = root
        live = LiveDocument()
        live.apply(doc.get_update())

        before = to_markdown(body_of(live))
        live.edit(lambda doc: write_markdown(doc, "Now."))

        assert before == ""
        assert to_markdown(body_of(live)) == "Now."

    def test_a_tree_is_kept_and_given_back(self) -> None:
        content = Content("Title", from_markdown(EVERYTHING))

        assert from_json(to_json(content)) == content


class TestWriting:
    def test_writing_what_is_there_changes_nothing(self) -> None:
        live = LiveDocument()
        live.edit(lambda doc: write_markdown(doc, EVERYTHING))

        assert live.edit(lambda doc: write_markdown(doc, EVERYTHING)) is None

    def test_a_change_of_one_word_is_a_small_update(self) -> None:
        live = LiveDocument()
        live.edit(lambda doc: write_markdown(doc, EVERYTHING))

        update = live.edit(lambda doc: write_markdown(doc, EVERYTHING.replace("nested", "nèsted")))

        assert update is not None
        assert len(update) < 100

    def test_what_markdown_cannot_tell_stays_where_nothing_was_changed(self) -> None:
        live = LiveDocument()
        live.edit(lambda doc: write_markdown(doc, "One.\n\nTwo."))
        first = live.doc.get("default", type=XmlFragment).children[0]
        assert isinstance(first, XmlElement)
        text = first.children[0]
        assert isinstance(text, XmlText)
        live.edit(lambda doc: text.format(0, 3, {"underline": {}}))

        live.edit(lambda doc: write_markdown(doc, "One.\n\nTwo and a half."))

        assert to_html(body_of(live)) == "<p><u>One</u>.</p><p>Two and a half.</p>"

    def test_two_people_and_a_rest_call_meet_in_one_text(self) -> None:
        live, page = LiveDocument(), LiveDocument()
        live.edit(lambda doc: write_markdown(doc, "The quick fox jumps."))
        page.apply(live.since(None))
        typed = page.edit(lambda doc: replace_text(doc, "quick", "quick brown"))
        rest = live.edit(lambda doc: write_markdown(doc, "The quick fox jumps high."))
        assert typed is not None
        assert rest is not None

        live.apply(typed)
        page.apply(rest)

        assert to_markdown(body_of(live)) == "The quick brown fox jumps high."
        assert to_markdown(body_of(page)) == to_markdown(body_of(live))

    def test_any_text_becomes_any_other(self) -> None:
        random_ = random.Random(5)
        blocks = EVERYTHING.split("\n\n")
        live = LiveDocument()
        for _ in range(120):
            wanted = "\n\n".join(random_.sample(blocks, random_.randrange(len(blocks) + 1)))
            wanted = wanted.replace(random_.choice("abcdet"), random_.choice(["é", "😀", "", "zz"]))

            live.edit(lambda doc, wanted=wanted: write_markdown(doc, wanted))

            assert keys(body_of(live)) == keys(from_markdown(wanted))

    def test_a_kept_content_is_written_back_with_its_marks(self) -> None:
        live = LiveDocument()
        live.edit(lambda doc: write_markdown(doc, EVERYTHING))
        live.edit(lambda doc: write_title(doc, "Then 😀"))
        kept = to_json(read_content(live.doc))
        live.edit(lambda doc: write_content(doc, Content("Now", from_markdown("all gone"))))

        live.edit(lambda doc: write_content(doc, from_json(kept)))

        restored, wanted = read_content(live.doc), from_json(kept)
        assert restored.title == wanted.title == "Then 😀"
        assert keys(restored.body) == keys(wanted.body)

    def test_appending_uses_the_empty_paragraph_at_the_end(self) -> None:
        live = LiveDocument()
        live.edit(lambda doc: write_markdown(doc, "First."))
        live.edit(
            lambda doc: doc.get("default", type=XmlFragment).children.append(
                XmlElement("paragraph")
            )
        )

        live.edit(lambda doc: append_markdown(doc, "Second."))

        assert to_html(body_of(live)) == "<p>First.</p><p>Second.</p>"

    @pytest.mark.parametrize(
        ("index", "text", "after"),
        [
            (0, "X", "Xone 😀\ntwo"),
            (3, "X", "oneX 😀\ntwo"),
            (5, "X", "one 😀X\ntwo"),
            (6, "X", "one 😀\nXtwo"),
            (99, "X", "one 😀\ntwoX"),
            (-5, "X", "Xone 😀\ntwo"),
            (3, "X\nnew", "oneX 😀\nnew\ntwo"),
        ],
    )
    def test_text_is_inserted_by_position(self, index: int, text: str, after: str) -> None:
        live = LiveDocument()
        live.edit(lambda doc: write_markdown(doc, "one 😀\n\ntwo"))

        live.edit(lambda doc: insert_text(doc, index, text))

        assert to_text(body_of(live)) == after

    def test_an_empty_document_can_be_written_into(self) -> None:
        live = LiveDocument()

        live.edit(lambda doc: insert_text(doc, 0, "a\nb"))

        assert to_text(body_of(live)) == "a\nb"

    def test_a_plain_text_document_is_read_by_lines(self) -> None:
        doc: Doc[Any] = Doc()
        doc.get("content", type=Text).insert(0, "one\ntwo")

        assert to_markdown(read_content(doc).body) == "one\n\ntwo"


class TestComparing:
    @settings(derandomize=True, deadline=None, max_examples=200)
    @given(st.lists(st.integers(0, 3), max_size=12), st.lists(st.integers(0, 3), max_size=12))
    def test_changes_cover_both_sequences_in_order(self, old: list[int], new: list[int]) -> None:
        changes = changes_between(old, new)

        assert [x for _, i, j, _, _ in changes for x in old[i:j]] == old
        assert [x for _, _, _, k, m in changes for x in new[k:m]] == new
        assert all(old[i:j] == new[k:m] for kind, i, j, k, m in changes if kind == "equal")

    def test_long_sequences_that_repeat_are_compared_roughly(self) -> None:
        """What difflib would need minutes for."""
        old, new = ["a", "b"] * 20_000, ["b", "c"] * 20_000

        changes = changes_between(old, new)

        assert [kind for kind, *_ in changes] == ["replace"]

    @settings(derandomize=True, deadline=None, max_examples=150)
    @given(
        st.lists(st.sampled_from(["a", "b", " ", "\n", "word", "\n\n"]), max_size=20).map("".join),
        st.lists(st.sampled_from(["a", "b", " ", "\n", "word", "\n\n"]), max_size=20).map("".join),
    )
    def test_the_changes_lead_from_one_to_the_other(self, old: str, new: str) -> None:
        changes = compare_texts(old, new)

        assert "".join(c["text"] for c in changes if c["op"] != "insert") == old
        assert "".join(c["text"] for c in changes if c["op"] != "delete") == new
