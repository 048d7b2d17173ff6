import assert from 'node:assert/strict';
import test from 'node:test';
import {
  ALL,
  API,
  MINUTE,
  URI,
  VIEW,
  World,
  element,
  frameOf,
  guestsRead,
  opened,
} from './world.mjs';

test('the element opens what its attributes say, and tells its state', async () => {
  const world = new World(),
    { found, page } = await element(world, { readonly: '' });
  assert.equal(found.getAttribute('state'), 'open');
  assert.equal(world.functions.calls.length, 1);
  assert.deepEqual(world.functions.calls[0].body, {
    SourceURI: URI,
    Permission: { Readonly: true },
  });
  assert.equal(
    page.configs[0].mount,
    found.children[0],
    'the frame is mounted in the page’s own tree',
  );
  assert.equal(found.part('role'), 'Editing');
  const heard = [];
  for (const name of ['refreshed', 'saved']) found.addEventListener(name, () => heard.push(name));
  found.session.instance.tell('fileStatus', { status: 7 });
  assert.equal(found.part('file'), 'Saved');
  await world.run(26 * MINUTE);
  assert.deepEqual(heard, ['saved', 'saved', 'refreshed']);
});

test('the element taken out and put back opens again without a call', async () => {
  const world = new World(),
    { found } = await element(world);
  found.isConnected = false;
  found.disconnectedCallback();
  assert.equal(found.session, null);
  await world.run(1000);
  found.isConnected = true;
  found.connectedCallback();
  await world.run(1000);
  assert.equal(found.getAttribute('state'), 'open');
  assert.equal(world.functions.billed, 1);
});

test('the element with another src closes the first document, saving it', async () => {
  const world = new World(),
    { found } = await element(world);
  frameOf(found.session).text = 'kept';
  found.setAttribute('src', 'oss://bucket/next.docx');
  found.setAttribute('readonly', '');
  await world.run(1000);
  assert.equal(world.storage.text, 'kept');
  assert.equal(world.functions.calls.length, 2, 'two attributes, one opening');
  assert.equal(world.functions.calls[1].body.SourceURI, 'oss://bucket/next.docx');
  assert.equal(found.getAttribute('state'), 'open');
});

test('the element without a document waits; a missing attribute is said', async () => {
  const world = new World(),
    { found } = await element(world, { src: '' });
  assert.equal(found.getAttribute('state'), 'closed');
  const other = await element(new World(), { refresh: '' });
  assert.equal(other.found.getAttribute('state'), 'failed');
  assert.equal(other.found.part('detail'), 'The page is not set up right');
  assert.match(other.page.warnings.join(), /Missing: refresh/);
  assert.equal(other.found.part('way'), 'Try again');
});

test('a second element waits for the first to leave the page', async () => {
  const world = new World(),
    { found, page } = await element(world);
  const second = new page.defined[1]();
  for (const [name, value] of Object.entries({
    src: URI,
    generate: API + '/generate',
    refresh: API + '/refresh',
  })) {
    second.setAttribute(name, value);
  }
  second.isConnected = true;
  second.connectedCallback();
  await world.run(300);
  assert.equal(found.getAttribute('state'), 'open');
  assert.equal(second.getAttribute('state'), 'waiting');
  found.isConnected = false;
  found.disconnectedCallback();
  await world.run(1000);
  assert.equal(second.getAttribute('state'), 'open');
  assert.equal(world.functions.billed, 1, 'with the tokens that the first one left');
});

test('a proof that comes late is used', async () => {
  const world = new World();
  world.functions.permission = caller => (caller ? ALL : null);
  const { found } = await element(world);
  assert.equal(found.getAttribute('state'), 'signin');
  found.token = () => world.functions.proof('ann');
  await world.run(1000);
  assert.equal(found.getAttribute('state'), 'open');
});

test('a proof set after a guest’s opening opens anew; twin: the same person’s', async () => {
  const world = new World();
  guestsRead(world);
  const { found, page } = await element(world);
  assert.equal(found.part('role'), 'Read-only');
  found.token = () => world.functions.proof('ann');
  await world.run(1000);
  assert.equal(found.part('role'), 'Editing');
  assert.equal(found.getAttribute('state'), 'open');
  assert.equal(world.functions.billed, 2);
  frameOf(found.session).text = 'Ann’s';
  found.token = world.functions.proof('ann');
  await world.run(1000);
  assert.equal(world.functions.calls.length, 2);
  assert.equal(page.configs.length, 2);
  assert.equal(found.getAttribute('state'), 'open');
  found.token = world.functions.proof('bob');
  await world.run(1000);
  assert.equal(world.functions.calls.length, 3);
  assert.equal(world.storage.text, 'Ann’s', 'saved before it changes hands');
  assert.equal(found.getAttribute('state'), 'open');
});

test('a proof that is set helps whoever was refused', async () => {
  const world = new World();
  world.functions.permission = caller => (/bob/.test(caller) ? ALL : null);
  const { found } = await element(world, {}, { token: world.functions.proof('ann') });
  assert.equal(found.getAttribute('state'), 'refused');
  found.token = world.functions.proof('bob');
  await world.run(1000);
  assert.equal(found.getAttribute('state'), 'open');
});

test('words say their language; the frame has a title', async () => {
  const { found } = await element(new World(), {}, { lang: 'fr' });
  assert.equal(found.shadowRoot.getElementById('role').lang, 'en');
  assert.equal(found.session.instance.iframe.title, 'WebOffice');
  for (const lang of ['zh', 'zh_CN', 'ZH-Hant']) {
    const { found } = await element(new World(), {}, { lang });
    assert.equal(found.part('role'), '可编辑');
    assert.equal(found.shadowRoot.getElementById('role').lang, lang);
  }
});

test('problems show a sentence, the RequestId and a way out', async () => {
  const world = new World();
  world.functions.permission = () => null;
  const { found } = await element(
    world,
    {},
    { token: 'a.' + Buffer.from('{"iss":"i","sub":"s"}').toString('base64url') + '.c' },
  );
  assert.equal(found.part('title'), 'You have no access');
  assert.equal(found.part('detail'), 'Sentence. Do this.');
  assert.match(found.part('request'), /^RequestId R-\d+$/);
  assert.equal(found.part('way'), 'Try again');
  world.functions.permission = () => VIEW;
  const cover = found.shadowRoot.getElementById('cover');
  let focused = 0;
  cover.focus = () => focused++;
  found.shadowRoot.getElementById('way').onclick();
  assert.equal(focused, 1, 'the button goes, the focus does not fall to the page');
  await world.run(1000);
  assert.equal(found.getAttribute('state'), 'open');
  assert.equal(found.part('role'), 'Read-only');
  assert.equal(found.part('detail'), '');
});

test('texts: by the browser’s or the page’s language, replaceable by both', async () => {
  const chinese = new World();
  chinese.language = 'zh-CN';
  assert.equal((await element(chinese)).found.part('role'), '可编辑');
  const { found, page } = await element(new World(), {}, { lang: 'fr' });
  assert.equal(found.part('role'), 'Editing');
  page.module.texts.fr = { editing: 'Modification' };
  found.session.instance.tell('fileStatus', { status: 7 });
  assert.equal(found.part('role'), 'Modification');
  assert.equal(found.part('file'), 'Saved', 'what a language lacks is English');
  found.texts = { editing: 'Yours' };
  found.session.instance.tell('fileStatus', { status: 7 });
  assert.equal(found.part('role'), 'Yours');
});

test('every state and every problem that people meet has its words in both languages', () => {
  const { texts } = new World().tab().page.module;
  for (const key of [
    'opening',
    'editing',
    'readonly',
    'saving',
    'saved',
    'unsaved',
    'retrying',
    'expired',
    'signin',
    'taken',
    'refused',
    'ended',
    'failed',
    'retry',
    'take',
    'waiting',
    'Network',
    'SDK',
    'Page',
    'Frame',
  ]) {
    assert.ok(texts.en[key], 'en ' + key);
    assert.ok(texts.zh[key], 'zh ' + key);
  }
});

test('readonly asks for reading only; readonly="false" does not', async () => {
  for (const [value, asked] of [
    ['', { Readonly: true }],
    ['true', { Readonly: true }],
    ['false', undefined],
    ['False', undefined],
  ]) {
    const world = new World();
    await element(world, { readonly: value });
    assert.deepEqual(world.functions.calls[0].body.Permission, asked);
  }
  const world = new World(), options = { permission: { Copy: true } };
  await element(world, { readonly: '' }, { options });
  const { Permission } = world.functions.calls[0].body;
  assert.deepEqual(Permission, { Copy: true, Readonly: true }, 'options take nothing back');
  assert.deepEqual(options, { permission: { Copy: true } });
});

test('attack: markup names a foreign script; twins: the vendor’s, any by property', async () => {
  const evil = 'https://evil.example/x.js';
  for (const sdk of [
    evil,
    'https://g.alicdn.com/other/x.js',
    'https://g.alicdn.com.evil.example/IMM/office-js/1/x.js',
    'https://g.alicdn.com/IMM/office-js/../../other/x.js',
    'http://127.0.0.1:8081/IMM/office-js/1.1.19/x.js',
    'data:text/javascript,1',
  ]) {
    const { found, page } = await element(new World(), { sdk });
    assert.equal(found.getAttribute('state'), 'failed', sdk);
    assert.equal(page.scripts, 0);
  }
  const vendor = 'https://g.alicdn.com/IMM/office-js/1.1.18/aliyun-web-office-sdk.min.js';
  for (const [attributes, properties] of [
    [{ sdk: vendor, integrity: 'sha384-x' }, {}],
    [{}, { options: { sdk: evil } }],
  ]) {
    const { found, page } = await element(new World(), attributes, properties);
    assert.equal(found.getAttribute('state'), 'open');
    assert.equal(page.script.src, attributes.sdk || evil);
    assert.equal(page.script.integrity, attributes.integrity);
    assert.equal(page.script.crossOrigin, attributes.integrity && '');
  }
});

test('each attribute is a property too, as frameworks set them, also before the class is there', async () => {
  const next = 'oss://bucket/next.docx';
  const beforehand = found => {
    for (const [name, value] of [['src', next], ['readonly', true]])
      Object.defineProperty(found, name, { value, writable: true, configurable: true });
  };
  for (const early of [undefined, beforehand]) {
    const world = new World();
    const { found } = await element(world, early && { src: undefined }, {}, { early });
    if (!early) Object.assign(found, { src: next, readonly: true });
    await world.run(1000);
    assert.equal(found.getAttribute('src'), next);
    const { SourceURI, Permission } = world.functions.calls.at(-1).body;
    assert.deepEqual([SourceURI, Permission], [next, { Readonly: true }]);
    for (const [given, flag] of [
      [false, null],
      ['', null],
      ['false', null],
      [undefined, null],
      [true, ''],
      ['true', ''],
    ]) {
      found.readonly = given;
      assert.equal(found.getAttribute('readonly'), flag, String(given));
      assert.equal(found.readonly, flag === '');
    }
    found.src = undefined;
    assert.equal(found.hasAttribute('src'), false);
  }
});

test('what stands inside the tag is the page’s until there is a frame', async () => {
  const world = new World();
  const { found, page } = await element(world, { signin: '' });
  found.append('Please use a newer browser.');
  assert.equal(found.children.length, 1);
  found.token = world.functions.proof('ann');
  await world.run(1000);
  assert.equal(found.children.length, 1);
  assert.equal(found.children[0], page.configs[0].mount);
});

test('an sdk that is not given, or empty, is the vendor’s', async () => {
  for (const [attributes, options] of [
    [{ sdk: '' }],
    [{}, { sdk: undefined }],
    [{ sdk: '' }, { sdk: '' }],
  ]) {
    const { page, found } = await element(new World(), attributes, { options });
    assert.equal(found.getAttribute('state'), 'open');
    assert.match(page.script.src, /^https:\/\/g\.alicdn\.com\//);
  }
});

test('an answer that is not the functions’ is named, to readers and in the console', async () => {
  const world = new World();
  world.functions.fault = () => ({ status: 404, html: true });
  const { page, found } = await element(world);
  assert.equal(found.part('detail'), 'https://api.example.com 404');
  assert.match(page.warnings.join(), /HTTP: https:\/\/api\.example\.com 404/);
});
