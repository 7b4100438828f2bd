/**
 * Markdown as a list of blocks.
 *
 * An answer that is being written changes at its end only. Each top-level block keeps its source, so a view
 * renders again only what changed, and what stands above stays still. Raw HTML in the source is shown as
 * text; everything that is rendered also passes the sanitiser.
 */

import DOMPurify from 'dompurify';
import MarkdownIt from 'markdown-it';

import { address as addressOf } from './base';
import { t } from './i18n.svelte';

export type Block =
  | { kind: 'html'; source: string; html: string }
  | { kind: 'code'; source: string; language: string; code: string };

const markdown = new MarkdownIt({ html: false, linkify: true, breaks: true, typographer: false });
type Token = ReturnType<typeof markdown.parse>[number];
type Environment = Parameters<typeof markdown.parse>[1] & object;

markdown.linkify.set({ fuzzyLink: false, fuzzyEmail: false });

markdown.renderer.rules['table_open'] = () => '<div class="table-scroll" tabindex="0"><table>';
markdown.renderer.rules['table_close'] = () => '</table></div>';

// Alignment as a class: a policy against inline styles must not lose it.
for (const name of ['th_open', 'td_open']) {
  markdown.renderer.rules[name] = (tokens, index) => {
    const token = tokens[index]!;
    const side = /text-align:(center|right)/.exec(String(token.attrGet('style') ?? ''))?.[1];
    return `<${token.tag}${side ? ` class="align-${side}"` : ''}>`;
  };
}

// Code inside a list or a quotation; `HtmlBlock` gives it colours and makes its button work.
markdown.renderer.rules['fence'] = (tokens, index) => {
  const token = tokens[index]!;
  const language = markdown.utils.escapeHtml(languageOf(token));
  const code = markdown.utils.escapeHtml(token.content);
  const copy = markdown.utils.escapeHtml(t('common.copy'));
  return (
    `<div class="nested-code"><button type="button" class="nested-code-copy">${copy}</button>` +
    `<pre tabindex="0" data-nested-code="${language}"><code>${code}</code></pre></div>`
  );
};

// Somebody who is mentioned: `@[name](user:id)`, and `<@U:id|name>` of older clients.
const MENTION =
  /@\[([^\]\n]{1,100})\]\(user:[^()\s<>|]{1,200}\)|<@U:([^()\s<>|]{1,200})(?:\|([^<>\n]{0,200}))?>/y;
markdown.inline.ruler.before('link', 'mention', (state, silent) => {
  MENTION.lastIndex = state.pos;
  const found = MENTION.exec(state.src);
  if (!found) return false;
  if (!silent) {
    const token = state.push('mention', 'span', 0);
    token.content = `@${found[1] ?? (found[3] || found[2])}`;
  }
  state.pos += found[0].length;
  return true;
});
markdown.renderer.rules['mention'] = (tokens, index) =>
  `<span class="mention">${markdown.utils.escapeHtml(tokens[index]!.content)}</span>`;

// An image from elsewhere tells its server who reads the conversation, and when: it stays a link that the
// reader may follow.
markdown.renderer.rules['image'] = (tokens, index) => {
  const token = tokens[index]!;
  const address = String(token.attrGet('src') ?? '');
  const source = markdown.utils.escapeHtml(address);
  const alt = markdown.utils.escapeHtml(token.content || t('chat.picture'));
  if (isOwnFile(address))
    return `<img src="${markdown.utils.escapeHtml(ownFile(address))}" alt="${alt}" loading="lazy">`;
  return `<a href="${source}" class="remote-image">${alt}</a>`;
};

/** Where a file of the own store is found from this page. */
export function ownFile(url: string): string {
  return addressOf(url);
}

/** A file of this server's own file store. */
export function isOwnFile(url: string): boolean {
  return /^\/api\/files\/[\w.-]+(\/[\w.-]+)?(\?[\w=&.-]*)?$/.test(url);
}

const SANITISE = {
  ALLOWED_TAGS: [
    ...['p', 'br', 'hr', 'h1', 'h2', 'h3', 'h4', 'h5', 'h6', 'blockquote', 'ul', 'ol', 'li'],
    ...['strong', 'em', 's', 'code', 'pre', 'a', 'img', 'span', 'button', 'div'],
    ...['table', 'thead', 'tbody', 'tr', 'th', 'td'],
  ],
  ALLOWED_ATTR: [
    ...[
      'href',
      'src',
      'alt',
      'title',
      'class',
      'start',
      'loading',
      'target',
      'rel',
      'tabindex',
      'type',
    ],
    'data-nested-code',
  ],
  ALLOW_DATA_ATTR: false,
  // No addresses: the rule for addresses below would drop them.
  ADD_URI_SAFE_ATTR: ['data-nested-code', 'loading', 'start', 'tabindex', 'type'],
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|tel:|\/(?!\/)|#)/i,
};

const purifier = DOMPurify(window);
purifier.addHook('afterSanitizeAttributes', (node) => {
  if (node.tagName !== 'A') return;
  node.setAttribute('target', '_blank');
  node.setAttribute('rel', 'noopener noreferrer');
});

export function sanitise(html: string): string {
  return purifier.sanitize(html, SANITISE);
}

/** Split into top-level blocks. Blocks of `before` whose source is unchanged are given back as they are. */
export function toBlocks(source: string, before: readonly Block[] = []): Block[] {
  const environment: Environment = {};
  const tokens = markdown.parse(source, environment);
  const lines = source.split('\n');
  const blocks: Block[] = [];
  for (const group of topLevel(tokens)) {
    const map = group[0]!.map ?? [0, 0];
    const text = lines.slice(map[0], map[1]).join('\n');
    const known = before[blocks.length];
    // With link definitions, what stands further down may change how this block renders.
    if (known?.source === text && !environment.references) blocks.push(known);
    else blocks.push(render(group, text, environment));
  }
  return blocks;
}

function render(group: Token[], source: string, environment: Environment): Block {
  const first = group[0]!;
  if (first.type === 'fence' || first.type === 'code_block') {
    return {
      kind: 'code',
      source,
      language: languageOf(first),
      code: first.content.replace(/\n$/, ''),
    };
  }
  return {
    kind: 'html',
    source,
    html: sanitise(markdown.renderer.render(group, markdown.options, environment)),
  };
}

function topLevel(tokens: Token[]): Token[][] {
  const groups: Token[][] = [];
  let depth = 0;
  for (const token of tokens) {
    if (depth === 0) groups.push([]);
    groups.at(-1)!.push(token);
    depth += token.nesting;
  }
  return groups;
}

function languageOf(token: Token): string {
  return token.info.trim().split(/\s+/u)[0]?.toLowerCase() ?? '';
}
