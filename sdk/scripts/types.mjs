/** TypeScript types from the schema of the wire (`make schema`). With `--check` it writes nothing and fails
 * where the types are not those of the schema. */

import { readFile, writeFile } from 'node:fs/promises';

import { compile } from 'json-schema-to-typescript';
import { format, resolveConfig } from 'prettier';

const FOLDER = new URL('../src/generated/', import.meta.url);
const TYPES = new URL('wire.ts', FOLDER);
const BANNER = '/** Generated from the server’s models by `make schema`. Not edited by hand. */';

/** Without titles on fields every field would become a type of its own. */
function untitled(value) {
  if (Array.isArray(value)) return value.map(untitled);
  if (typeof value !== 'object' || value === null) return value;
  const kept = Object.entries(value).filter(
    ([name, one]) => name !== 'title' || typeof one !== 'string',
  );
  return Object.fromEntries(kept.map(([name, one]) => [name, untitled(one)]));
}

const schema = untitled(JSON.parse(await readFile(new URL('wire.schema.json', FOLDER), 'utf8')));
const made = await compile(schema, 'Wire', {
  additionalProperties: false,
  bannerComment: BANNER,
  unreachableDefinitions: true,
  enableConstEnums: false,
  maxItems: -1,
});
// The root has no content of its own, and where a type is used its name says.
const types = made
  .replace(/( \*\n)? \* This interface was referenced by[^]*?"\.\n/g, '')
  .replace(/\/\*\*\n \*\/\n/g, '')
  .replace(/\/\*\*\n( \* .*\n)+ \*\/\nexport interface Wire \{\n[^]*?\n\}\n/, '');
const config = await resolveConfig(TYPES);
const text = await format(types, { ...config, parser: 'typescript' });

if (process.argv.includes('--check')) {
  if ((await readFile(TYPES, 'utf8')) !== text) {
    console.error('The types of the wire are not those of its schema: run `make schema`.');
    process.exit(1);
  }
} else {
  await writeFile(TYPES, text);
}
