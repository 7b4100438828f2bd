/** This page's copy of a document: what an editor is bound to. */

import { Awareness } from 'y-protocols/awareness';
import * as Y from 'yjs';

/** The names under which a note keeps its parts. */
export const BODY = 'default';
export const TITLE = 'title';

/** A document and who is in it. Where the history of a document was given up, another replica takes its
 * place; nothing of the old one is merged into it. */
export interface Replica {
  readonly doc: Y.Doc;
  readonly awareness: Awareness;
}

export function newReplica(): Replica {
  const doc = new Y.Doc();
  return { doc, awareness: new Awareness(doc) };
}

/** Whether `doc` has something that a copy with this state vector lacks. Deletions do not count in state
 * vectors. */
export function isAhead(doc: Y.Doc, stateVector: Uint8Array): boolean {
  const there = Y.decodeStateVector(stateVector);
  const here = Y.decodeStateVector(Y.encodeStateVector(doc));
  return [...here].some(([client, clock]) => clock > (there.get(client) ?? 0));
}

/** The text of a document, a line for each block, with the title first. */
export function plainText(doc: Y.Doc): string {
  const title = doc.getText(TITLE).toString();
  const lines: string[] = [];
  for (const child of doc.getXmlFragment(BODY).toArray()) readLines(child, lines);
  return [...(title ? [title, ''] : []), ...lines].join('\n').trim();
}

function readLines(node: Y.XmlElement | Y.XmlText | Y.XmlHook, lines: string[]): void {
  if (node instanceof Y.XmlText) {
    lines.push(textOf(node));
    return;
  }
  if (!(node instanceof Y.XmlElement)) return;
  const children = node.toArray();
  if (!children.some((child) => child instanceof Y.XmlText)) {
    // An empty paragraph is an empty line; a list is no line of its own.
    if (children.length === 0) lines.push('');
    for (const child of children) readLines(child as Y.XmlElement, lines);
    return;
  }
  // Text and breaks of one block.
  const parts = children.map((child) => (child instanceof Y.XmlText ? textOf(child) : '\n'));
  lines.push(parts.join(''));
}

function textOf(text: Y.XmlText): string {
  const pieces = text.toDelta() as { insert: unknown }[];
  return pieces.map(({ insert }) => (typeof insert === 'string' ? insert : '')).join('');
}
