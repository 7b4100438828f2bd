import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { IntlMessageFormat } from 'intl-messageformat';
import { parse } from 'svelte/compiler';
import { afterEach, describe, expect, test } from 'vitest';

import { i18n, preferred, t } from '../src/lib/i18n.svelte';
import german from '../src/locales/de.json';
import english from '../src/locales/en.json';

type Node = { type: string; [field: string]: unknown };

const SOURCES = join(import.meta.dirname, '../src');
const WORD = /\p{L}{2}/u;
/** What a person sees or hears of an element or a component. */
const SPOKEN = new Set([
  ...['aria-label', 'aria-description', 'alt', 'placeholder', 'title'],
  ...['action', 'description', 'label', 'text'],
]);

/** Text inside these is no text of the page. */
const HIDDEN = new Set(['Attribute', 'StyleDirective']);

const files = (readdirSync(SOURCES, { recursive: true }) as string[]).filter((name) =>
  /\.(svelte|ts)$/.test(name),
);

function nodesOf(file: string): { node: Node; inside: Node | null }[] {
  const source = readFileSync(join(SOURCES, file), 'utf8');
  const component = file.endsWith('.svelte') ? source : `<script lang="ts">${source}</script>`;
  const found: { node: Node; inside: Node | null }[] = [];
  const visit = (value: unknown, inside: Node | null): void => {
    if (Array.isArray(value)) value.forEach((one) => visit(one, inside));
    else if (typeof value === 'object' && value !== null && 'type' in value) {
      const node = value as Node;
      found.push({ node, inside });
      Object.values(node).forEach((child) => visit(child, node));
    }
  };
  const { fragment, instance, module } = parse(component, { modern: true });
  visit([fragment, instance?.content, module?.content], null);
  return found;
}

const parsed = files.map((file) => ({ file, nodes: nodesOf(file) }));

function isCallOf(node: Node, name: string): boolean {
  if (node.type !== 'CallExpression') return false;
  const callee = node['callee'] as Node & { name?: string; object?: { name?: string } };
  return callee.name === name || callee.object?.name === name;
}

/** The arguments of `t()`: the key, or the text around the holes of a key that is put together. */
function keyOf(node: Node): RegExp | null {
  const [key] = node['arguments'] as (Node & { value?: unknown; quasis?: Node[] })[];
  if (key?.type === 'Literal') return pattern([String(key.value)]);
  if (key?.type !== 'TemplateLiteral') return null;
  return pattern(key.quasis!.map((one) => (one['value'] as { raw: string }).raw));
}

const pattern = (parts: string[]): RegExp =>
  new RegExp(`^${parts.map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('.+')}$`);

function argumentsOf(text: string): string[] {
  const names = new Set<string>();
  const visit = (
    elements: readonly { type: number; value?: unknown; options?: unknown }[],
  ): void => {
    for (const element of elements) {
      // Everything but literal text and the `#` of a plural has a name.
      if (element.type !== 0 && element.type !== 7) names.add(String(element.value));
      for (const option of Object.values(element.options ?? {})) {
        visit((option as { value: typeof elements }).value);
      }
    }
  };
  visit(new IntlMessageFormat(text, 'en', undefined, { ignoreTag: true }).getAst());
  return [...names].sort();
}

afterEach(() => i18n.choose('system'));

test('every catalogue has the same texts, with the same names to fill in', () => {
  const namesIn = (catalogue: Record<string, string>) =>
    Object.fromEntries(Object.entries(catalogue).map(([key, text]) => [key, argumentsOf(text)]));

  expect(namesIn(german)).toEqual(namesIn(english));
});

test('every text is used, and what is used is there with everything that it needs', () => {
  const used = parsed.flatMap(({ file, nodes }) =>
    nodes
      .filter(({ node }) => isCallOf(node, 't'))
      .flatMap(({ node }) => {
        const key = keyOf(node);
        return key ? [{ file, key, values: (node['arguments'] as Node[])[1] }] : [];
      }),
  );
  const keys = Object.keys(english) as (keyof typeof english)[];
  // Some are named in tables first.
  const named = new Set(
    parsed.flatMap(({ nodes }) =>
      nodes.map(({ node }) => node.type === 'Literal' && node['value']),
    ),
  );
  // Codes of errors come from the server.
  const unused = keys.filter(
    (name) =>
      !name.startsWith('code.') && !named.has(name) && !used.some(({ key }) => key.test(name)),
  );
  const wrong = used.filter(({ key, values }) => {
    const given = ((values?.['properties'] ?? []) as { key: { name: string } }[])
      .map((one) => one.key.name)
      .sort();
    const meant = keys.filter((name) => key.test(name));
    return (
      meant.length === 0 ||
      meant.some((name) => String(argumentsOf(english[name])) !== String(given))
    );
  });

  expect(unused).toEqual([]);
  expect(wrong.map(({ file, key }) => `${file}: ${key.source}`)).toEqual([]);
});

describe('nothing that people read stands in the sources', () => {
  test.each(parsed)('$file', ({ nodes }) => {
    const said = nodes.flatMap(({ node, inside }) => {
      if (node.type === 'Text' && !HIDDEN.has(inside?.type ?? '')) return [String(node['data'])];
      if (node.type === 'Attribute' && SPOKEN.has(String(node['name']))) return literals(node);
      if (isCallOf(node, 'toast') || isCallOf(node, 'report')) return literals(node['arguments']);
      return [];
    });

    expect(said.map((text) => text.trim()).filter((text) => WORD.test(text))).toEqual([]);
  });

  /** Text that was written out right here: neither inside a call nor in the source of a choice. */
  function literals(value: unknown): string[] {
    if (Array.isArray(value)) return value.flatMap(literals);
    if (typeof value !== 'object' || value === null) return [];
    const node = value as Node & { value?: unknown };
    if (node.type === 'Text') return [String(node['data'])];
    if (node.type === 'Literal') return typeof node.value === 'string' ? [node.value] : [];
    if (node.type === 'TemplateLiteral') {
      return (node['quasis'] as Node[]).map((one) => (one['value'] as { raw: string }).raw);
    }
    if (node.type === 'ConditionalExpression') {
      return [...literals(node['consequent']), ...literals(node['alternate'])];
    }
    if (node.type === 'Attribute') return literals(node.value);
    if (node.type === 'ExpressionTag') return literals(node['expression']);
    return [];
  }
});

describe('the language', () => {
  test('is the first of the browser’s that is shipped', () => {
    expect(preferred(['fr-FR', 'de-AT', 'en'])).toBe('de');
    expect(preferred(['fr'])).toBe('en');
  });

  test('changes at once, with its plurals, and names itself to the browser', async () => {
    await i18n.choose('de');

    expect(t('channel.member-count', { count: 1 })).toBe('1 Mitglied');
    expect(t('channel.member-count', { count: 1200 })).toBe('1.200 Mitglieder');
    expect(document.documentElement.lang).toBe('de');
  });
});
