/** What a note can contain: the same nodes and marks that the server reads and writes. A node that is missing
 * here would be taken out of the document when somebody opens it. */

import type { Extensions } from '@tiptap/core';
import Collaboration from '@tiptap/extension-collaboration';
import CollaborationCaret from '@tiptap/extension-collaboration-caret';
import Highlight from '@tiptap/extension-highlight';
import Link from '@tiptap/extension-link';
import { TaskItem, TaskList } from '@tiptap/extension-list';
import { TableKit } from '@tiptap/extension-table';
import { Placeholder } from '@tiptap/extensions';
import StarterKit from '@tiptap/starter-kit';
import type { Replica } from '@parlour/sdk/documents';
import { BODY } from '@parlour/sdk/documents';

import { isOwnFile, ownFile } from '../../lib/markdown';
import { isSafeLink, readLink } from '../links';
import { Picture } from './picture';

export interface Participant {
  name: string;
  color: string;
}

/** Of a link's attributes, which others may have written, only a safe address reaches the page. */
const SafeLink = Link.extend({
  renderHTML({ HTMLAttributes: { href } }) {
    if (!isSafeLink(href)) return ['span', 0];
    const address = isOwnFile(href) ? ownFile(href) : href;
    return ['a', { href: address, target: '_blank', rel: 'noopener noreferrer nofollow' }, 0];
  },
});

/** For a text that nobody edits, such as a version. */
export function contentExtensions(editable: boolean): Extensions {
  return [
    StarterKit.configure({
      // Undo is a person's own: the Collaboration extension brings it.
      undoRedo: false,
      dropcursor: { color: 'var(--accent)', width: 2 },
      link: false,
    }),
    SafeLink.configure({
      openOnClick: !editable,
      autolink: true,
      linkOnPaste: true,
      defaultProtocol: 'https',
      isAllowedUri: (address) => isSafeLink(address),
      shouldAutoLink: (address) => isSafeLink(readLink(address) ?? ''),
    }),
    TaskList,
    TaskItem.configure({ nested: true }),
    TableKit.configure({ table: { resizable: false } }),
    Highlight,
    Picture,
  ];
}

/** For the note itself. */
export function noteExtensions(
  replica: Replica,
  user: Participant,
  placeholder: () => string,
  editable: boolean,
): Extensions {
  return [
    ...contentExtensions(editable),
    Placeholder.configure({ placeholder }),
    Collaboration.configure({ document: replica.doc, field: BODY }),
    CollaborationCaret.configure({ provider: replica, user, render: renderCaret }),
  ];
}

/** A caret with its person's name. Names and colours come from others: text and checked colours only. */
function renderCaret(user: Record<string, unknown>): HTMLElement {
  const caret = document.createElement('span');
  caret.className = 'caret';
  caret.style.setProperty('--caret', String(user['color']));
  const name = document.createElement('span');
  name.className = 'caret-name';
  name.textContent = String(user['name'] ?? '').slice(0, 60);
  caret.append(name);
  return caret;
}
