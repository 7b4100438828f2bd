/** Coloured code. The highlighter and each language are fetched when the first code of the kind appears. */

import type { HighlighterCore, LanguageInput } from 'shiki/core';

export interface ColouredToken {
  text: string;
  light: string;
  dark: string;
}

/** Above this size colouring costs more than it helps. */
const MAX_CODE = 60_000;

type Load = () => Promise<{ default: LanguageInput }>;

const LANGUAGES: Record<string, Load> = {
  bash: () => import('@shikijs/langs/bash'),
  c: () => import('@shikijs/langs/c'),
  cpp: () => import('@shikijs/langs/cpp'),
  csharp: () => import('@shikijs/langs/csharp'),
  css: () => import('@shikijs/langs/css'),
  diff: () => import('@shikijs/langs/diff'),
  docker: () => import('@shikijs/langs/docker'),
  elixir: () => import('@shikijs/langs/elixir'),
  go: () => import('@shikijs/langs/go'),
  graphql: () => import('@shikijs/langs/graphql'),
  haskell: () => import('@shikijs/langs/haskell'),
  html: () => import('@shikijs/langs/html'),
  ini: () => import('@shikijs/langs/ini'),
  java: () => import('@shikijs/langs/java'),
  javascript: () => import('@shikijs/langs/javascript'),
  json: () => import('@shikijs/langs/json'),
  jsx: () => import('@shikijs/langs/jsx'),
  kotlin: () => import('@shikijs/langs/kotlin'),
  latex: () => import('@shikijs/langs/latex'),
  lua: () => import('@shikijs/langs/lua'),
  make: () => import('@shikijs/langs/make'),
  markdown: () => import('@shikijs/langs/markdown'),
  nix: () => import('@shikijs/langs/nix'),
  php: () => import('@shikijs/langs/php'),
  powershell: () => import('@shikijs/langs/powershell'),
  python: () => import('@shikijs/langs/python'),
  r: () => import('@shikijs/langs/r'),
  ruby: () => import('@shikijs/langs/ruby'),
  rust: () => import('@shikijs/langs/rust'),
  scala: () => import('@shikijs/langs/scala'),
  sql: () => import('@shikijs/langs/sql'),
  svelte: () => import('@shikijs/langs/svelte'),
  swift: () => import('@shikijs/langs/swift'),
  toml: () => import('@shikijs/langs/toml'),
  tsx: () => import('@shikijs/langs/tsx'),
  typescript: () => import('@shikijs/langs/typescript'),
  vue: () => import('@shikijs/langs/vue'),
  xml: () => import('@shikijs/langs/xml'),
  yaml: () => import('@shikijs/langs/yaml'),
  zig: () => import('@shikijs/langs/zig'),
};

const ALIASES: Record<string, string> = {
  'c#': 'csharp',
  'c++': 'cpp',
  cs: 'csharp',
  cjs: 'javascript',
  console: 'bash',
  dockerfile: 'docker',
  ex: 'elixir',
  gql: 'graphql',
  hs: 'haskell',
  js: 'javascript',
  jsonc: 'json',
  kt: 'kotlin',
  makefile: 'make',
  md: 'markdown',
  mjs: 'javascript',
  ps1: 'powershell',
  py: 'python',
  rb: 'ruby',
  rs: 'rust',
  sh: 'bash',
  shell: 'bash',
  tex: 'latex',
  ts: 'typescript',
  yml: 'yaml',
  zsh: 'bash',
};

/** The canonical name, or null for a language that stays plain. */
export function knownLanguage(name: string): string | null {
  const canonical = Object.hasOwn(ALIASES, name) ? ALIASES[name]! : name;
  return Object.hasOwn(LANGUAGES, canonical) ? canonical : null;
}

let highlighter: Promise<HighlighterCore> | undefined;

function start(): Promise<HighlighterCore> {
  highlighter ??= (async () => {
    const [{ createHighlighterCore }, { createJavaScriptRegexEngine }, light, dark] =
      await Promise.all([
        import('shiki/core'),
        import('shiki/engine/javascript'),
        import('@shikijs/themes/github-light-default'),
        import('@shikijs/themes/github-dark-default'),
      ]);
    return createHighlighterCore({
      themes: [light.default, dark.default],
      langs: [],
      engine: createJavaScriptRegexEngine({ forgiving: true }),
    });
  })();
  return highlighter;
}

/** Lines of coloured tokens; null where the language is unknown or the code too long. */
export async function colour(code: string, language: string): Promise<ColouredToken[][] | null> {
  const name = knownLanguage(language);
  if (!name || code.length > MAX_CODE) return null;
  const shiki = await start();
  if (!shiki.getLoadedLanguages().includes(name)) {
    await shiki.loadLanguage((await LANGUAGES[name]!()).default);
  }
  const lines = shiki.codeToTokensWithThemes(code, {
    lang: name,
    themes: { light: 'github-light-default', dark: 'github-dark-default' },
  });
  return lines.map((line) =>
    line.map((token) => ({
      text: token.content,
      light: token.variants['light']?.color ?? 'inherit',
      dark: token.variants['dark']?.color ?? 'inherit',
    })),
  );
}
