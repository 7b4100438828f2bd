import { describe, expect, test } from 'vitest';

import { toBlocks, type Block } from '../src/lib/markdown';

function render(source: string): HTMLElement {
  const root = document.createElement('div');
  root.innerHTML = toBlocks(source)
    .map((block) => (block.kind === 'html' ? block.html : ''))
    .join('');
  return root;
}

describe('hostile text', () => {
  test.each([
    '<script>alert(1)</script>',
    '<img src=x onerror=alert(1)>',
    '<iframe src="https://example.org"></iframe>',
    '<a href="javascript:alert(1)">x</a>',
    '<svg><animate onbegin=alert(1)></svg>',
    '<style>*{display:none}</style>',
    '<form action="https://example.org"><input></form>',
  ])('%s is shown as text', (source) => {
    const root = render(source);

    expect(root.textContent).toContain(source);
    expect(root.querySelector('a:not([href^="https:"])')).toBeNull();
    expect(root.querySelector('script, img, iframe, svg, style, form, input')).toBeNull();
  });

  test.each([
    '[x](javascript:alert(1))',
    '[x](vbscript:x)',
    '[x](data:text/html;base64,PHNjcmlwdD4=)',
    '[x](file:///etc/passwd)',
    '[x]( java\nscript:alert(1))',
    '![x](javascript:alert(1))',
  ])('%s makes no address', (source) => {
    const root = render(source);

    const addresses = [...root.querySelectorAll('[href], [src]')].map(
      (node) => node.getAttribute('href') ?? node.getAttribute('src') ?? '',
    );
    expect(addresses.filter((address) => !/^https?:/.test(address))).toEqual([]);
  });

  test('a title cannot leave its attribute', () => {
    const root = render('[x](https://example.org \'" onmouseover="alert(1)\')');

    expect(root.querySelector('[onmouseover]')).toBeNull();
  });

  test('the language of code cannot leave its attribute', () => {
    const root = render('- a\n\n  ```"><img/src=x/onerror=alert(1)>\n  code\n  ```\n');

    expect(root.querySelector('img')).toBeNull();
    expect(root.querySelector('pre')?.textContent).toBe('code\n');
  });
});

describe('code inside a list', () => {
  const source = '- run\n\n  ```sh\n  npm install\n  ```\n';

  test('has its language and a button', () => {
    const root = render(source);

    expect(root.querySelector('li pre')?.getAttribute('data-nested-code')).toBe('sh');
    expect(root.querySelector('li button')?.textContent).toBe('Copy');
  });
});

describe('links and images', () => {
  test('links open apart and tell nothing', () => {
    const link = render('[docs](https://example.org/a?b=1)').querySelector('a');

    expect(link?.getAttribute('href')).toBe('https://example.org/a?b=1');
    expect(link?.rel).toBe('noopener noreferrer');
    expect(link?.target).toBe('_blank');
  });

  test('an image from elsewhere is a link, so nothing is fetched unasked', () => {
    const root = render('![A map](https://example.org/map.png)');

    expect(root.querySelector('img')).toBeNull();
    expect(root.querySelector('a')?.textContent).toBe('A map');
  });

  test('an image of the own file store is shown', () => {
    const image = render('![A map](/api/files/5a1b)').querySelector('img');

    expect(image?.getAttribute('src')).toBe('/api/files/5a1b');
    expect(image?.alt).toBe('A map');
  });

  test('a path that only begins like the file store is not', () => {
    expect(render('![x](/api/files/../auth/sign-out)').querySelector('img')).toBeNull();
    expect(render('![x](//example.org/api/files/a)').querySelector('img')).toBeNull();
  });
});

describe('blocks', () => {
  test('code stands apart with its language', () => {
    const blocks = toBlocks('Look:\n\n```Python title="x"\nprint(1)\n```\n');

    expect(blocks[1]).toMatchObject({ kind: 'code', language: 'python', code: 'print(1)' });
  });

  test('code that is still being written is a block already', () => {
    expect(toBlocks('```js\nlet a').at(-1)).toMatchObject({ kind: 'code', code: 'let a' });
  });

  test('a list that does not begin with one keeps its numbers', () => {
    expect(render('3. c\n4. d').querySelector('ol')?.start).toBe(3);
  });

  test('alignment of table columns stays, without inline styles', () => {
    const cell = render('| a |\n| -: |\n| 1 |').querySelector('td');

    expect(cell?.className).toBe('align-right');
    expect(cell?.hasAttribute('style')).toBe(false);
  });

  test('while an answer grows only its last block is made again', () => {
    const text = '# Title\n\nFirst paragraph.\n\n- one\n- two\n\nLast';
    const before = toBlocks(text);

    const after = toBlocks(`${text} words`, before);

    expect(after.slice(0, -1).every((block, index) => block === before[index])).toBe(true);
    expect(after.at(-1)).not.toBe(before.at(-1));
  });

  test('whatever the cut, growing gives the same as reading it whole', () => {
    const text =
      '# T\n\nA *b* `c` [d][r] e\n\n1. x\n2. y\n\n   ```sh\n   ls\n   ```\n\n| a | b |\n| - | - |\n| 1 | 2 |\n\n> q\n\n```py\nx = 1\n```\n\nend\n\n[r]: https://example.org\n';

    let grown: Block[] = [];
    for (let length = 1; length <= text.length; length += 1) {
      grown = toBlocks(text.slice(0, length), grown);
    }

    expect(grown).toEqual(toBlocks(text));
  });
});

test('a mention is marked, in both spellings, and its name is only text', () => {
  const html = toBlocks('hi @[<b>Ann</b>](user:u1), <@U:u2|Bob>')
    .map((block) => (block.kind === 'html' ? block.html : ''))
    .join('');

  expect(html).toContain('<span class="mention">@&lt;b&gt;Ann&lt;/b&gt;</span>');
  expect(html).toContain('<span class="mention">@Bob</span>');
});
