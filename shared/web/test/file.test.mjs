// The one file that pages load.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { World, source } from './world.mjs';

const here = name => fileURLToPath(new URL('../' + name, import.meta.url));

test('it loads nothing else, and all of it is at most 8 KB with gzip', () => {
  assert.doesNotMatch(source, /\bimport\b|\brequire\(/);
  const size = gzipSync(source, { level: 9 }).length;
  assert.ok(size <= 8192, 'gzipped ' + size);
});

test('it says its version', () => {
  const { name, version } = JSON.parse(readFileSync(here('package.json')));
  assert.equal(source.split('\n')[0], `// ${name} ${version}`);
});

test('importing it where there is no page gives its names and does nothing', () => {
  const file = JSON.stringify(here('weboffice.js'));
  // also where a library has made a document, as some servers that render pages do
  for (const before of ['', 'globalThis.document = {}; ']) {
    const script = before + `import(${file}).then(it => console.log(Object.keys(it).join()))`;
    const printed = execFileSync(process.execPath, ['-e', script], { encoding: 'utf8' });
    assert.equal(printed.trim(), 'WebofficeDocument,link,open,texts');
  }
});

test('a second copy in the page defines nothing, and shares what the page has open', async () => {
  const world = new World(),
    { page } = world.tab(),
    first = page.defined[1];
  const second = page.load();
  assert.equal(page.defined[1], first);
  const session = page.open();
  await world.run(1000);
  assert.equal(session.state, 'open');
  page.module = second;
  const other = page.open();
  await world.run(1000);
  assert.equal(other.state, 'waiting');
  await session.close();
  await world.run(1000);
  assert.equal(other.state, 'open');
});
