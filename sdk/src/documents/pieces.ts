/**
 * An update in pieces that the wire takes.
 *
 * A packet above the server's limit ends the connection, so whoever was offline for long would come back,
 * send everything at once and be thrown out, again and again. Pieces need no order: one that comes before
 * another that it builds on waits on the server.
 */

import * as Y from 'yjs';

/** Deletions in one piece; each takes a few bytes. */
const MOST_DELETIONS = 4000;
/** What names, lengths and references take beside a text, at most. */
const ROOM = 400;

export function splitUpdate(update: Uint8Array, limit: number): Uint8Array[] {
  if (update.byteLength <= limit) return [update];
  const { structs, ds } = Y.decodeUpdate(update);
  const singles: Uint8Array[] = [];
  for (const struct of structs) {
    if (struct instanceof Y.Skip) continue;
    for (const [from, to] of cuts(struct, limit - ROOM)) singles.push(encode(struct, from, to));
  }
  return [...gather(singles, limit), ...encodeDeletions(ds)];
}

/** How many updates, from the first, fit into one packet: at least one. */
export function countFitting(updates: readonly Uint8Array[], limit: number): number {
  let size = 0;
  for (const [index, update] of updates.entries()) {
    size += update.byteLength;
    if (size > limit && index > 0) return index;
  }
  return updates.length;
}

function gather(updates: readonly Uint8Array[], limit: number): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < updates.length;) {
    const count = countFitting(updates.slice(at, at + MOST_DELETIONS), limit);
    pieces.push(Y.mergeUpdates(updates.slice(at, at + count)));
    at += count;
  }
  return pieces;
}

/** Where a struct is cut: a long text may be larger than a packet all by itself. */
function cuts(struct: Y.Item | Y.GC, limit: number): [from: number, to: number][] {
  const text = textOf(struct);
  // A UTF-16 unit takes at most three bytes.
  const step = Math.max(1, Math.floor(limit / 3));
  if (text === null || text.length <= step) return [[0, struct.length]];
  const found: [number, number][] = [];
  for (let from = 0; from < text.length;) {
    let to = Math.min(text.length, from + step);
    // Never between the halves of one character.
    if (to < text.length && isHighSurrogate(text.charCodeAt(to - 1))) to += 1;
    found.push([from, to]);
    from = to;
  }
  return found;
}

function encode(struct: Y.Item | Y.GC, from: number, to: number): Uint8Array {
  const encoder = new Y.UpdateEncoderV1();
  encoder.writeLen(1);
  encoder.writeLen(1);
  encoder.writeClient(struct.id.client);
  encoder.writeLen(struct.id.clock + from);
  cutAt(struct, to).write(encoder, from);
  encoder.writeLen(0);
  return encoder.toUint8Array();
}

/** The struct without what stands behind `to`. */
function cutAt(struct: Y.Item | Y.GC, to: number): Y.Item | Y.GC {
  const text = textOf(struct);
  if (text === null || to === struct.length || !(struct instanceof Y.Item)) return struct;
  const { id, left, origin, right, rightOrigin, parent, parentSub } = struct;
  const content = new Y.ContentString(text.slice(0, to));
  return new Y.Item(id, left, origin, right, rightOrigin, parent, parentSub, content);
}

function encodeDeletions({ clients }: ReturnType<typeof Y.decodeUpdate>['ds']): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (const [client, deletions] of clients) {
    for (let at = 0; at < deletions.length; at += MOST_DELETIONS) {
      const some = deletions.slice(at, at + MOST_DELETIONS);
      const encoder = new Y.UpdateEncoderV1();
      encoder.writeLen(0);
      encoder.writeLen(1);
      encoder.resetDsCurVal();
      encoder.writeClient(client);
      encoder.writeLen(some.length);
      for (const { clock, len } of some) {
        encoder.writeDsClock(clock);
        encoder.writeDsLen(len);
      }
      pieces.push(encoder.toUint8Array());
    }
  }
  return pieces;
}

function textOf(struct: Y.Item | Y.GC): string | null {
  return struct instanceof Y.Item && struct.content instanceof Y.ContentString
    ? struct.content.str
    : null;
}

function isHighSurrogate(code: number): boolean {
  return code >= 0xd800 && code <= 0xdbff;
}
