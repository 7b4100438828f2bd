/** Pictures by reference. One from elsewhere would tell its server who reads the note, and when: it is
 * shown as a link that the reader may follow. */

import Image from '@tiptap/extension-image';

import { t } from '../../lib/i18n.svelte';
import { isOwnFile, ownFile } from '../../lib/markdown';
import { isSafeLink } from '../links';

export const Picture = Image.extend({
  addNodeView() {
    return ({ node }) => ({ dom: shown(String(node.attrs['src'] ?? ''), node.attrs['alt']) });
  },
}).configure({ inline: false, allowBase64: false });

function shown(source: string, alt: unknown): HTMLElement {
  const name = typeof alt === 'string' && alt ? alt : t('chat.picture');
  const frame = document.createElement('figure');
  frame.className = 'note-picture';
  frame.dataset['drag'] = '';
  if (isOwnFile(source)) {
    const image = document.createElement('img');
    Object.assign(image, { src: ownFile(source), alt: name, loading: 'lazy', draggable: false });
    frame.append(image);
  } else if (isSafeLink(source)) {
    const link = document.createElement('a');
    Object.assign(link, { href: source, target: '_blank', rel: 'noopener noreferrer' });
    link.textContent = name;
    frame.append(link);
  } else {
    frame.textContent = name;
  }
  return frame;
}
