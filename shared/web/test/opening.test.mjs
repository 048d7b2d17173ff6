import assert from 'node:assert/strict';
import test from 'node:test';
import { MINUTE, OFFICE, URI, VIEW, World, count, frameOf, opened } from './world.mjs';

test('opens a document with one call, a fresh proof and the rights that were granted', async () => {
  const { session, page, functions, tab } = await opened(
    {
      permission: { Readonly: true },
      password: 'hush',
      parameters: { Hidecmb: true },
      config: { mode: 'simple' },
    },
    world => {
      world.functions.permission = () => VIEW;
    },
  );
  assert.equal(session.state, 'open');
  assert.deepEqual(session.permission, VIEW);
  assert.deepEqual(
    page.events.filter(name => name === 'open'),
    ['open'],
  );
  assert.equal(functions.calls.length, 1);
  assert.match(session.requestId, /^R-\d+$/);
  assert.deepEqual(functions.calls[0].body, {
    Hidecmb: true,
    SourceURI: URI,
    Permission: { Readonly: true },
    Password: 'hush',
  });
  assert.equal(page.configs.length, 1);
  assert.equal(page.configs[0].mode, 'simple');
  assert.equal(page.configs[0].url, OFFICE + '/office/w/1');
  assert.equal(Object.prototype.toString.call(page.configs[0].refreshToken), '[object Function]');
  assert.ok(page.configs[0].refreshToken().timeout > 20 * MINUTE);
  assert.ok(!JSON.stringify(tab.storage).includes('hush'), 'the password is not stored');
});

test('an SDK that is on the page already is used', async () => {
  const { session, page } = await opened({}, world => {
    world.preloaded = true;
  });
  assert.equal(session.state, 'open');
  assert.equal(page.scripts, 0);
});

test('an SDK from before ApiEvent is listened to by on()', async () => {
  const { session } = await opened({}, world => {
    world.oldSDK = true;
  });
  assert.equal(session.state, 'open');
});

for (const [name, token] of [
  ['a string', f => f.proof('ann')],
  ['a function', f => () => f.proof('ann')],
  ['an async function', f => async () => f.proof('ann')],
  ['no proof', () => undefined],
]) {
  test('token may be ' + name, async () => {
    const world = new World(),
      session = world.tab().page.open({ token: token(world.functions) });
    await world.run(26 * MINUTE);
    assert.equal(session.state, 'open');
    assert.equal(count(world.functions, 'refresh'), 1);
    assert.equal(
      world.functions.calls.every(call => !!call.bearer),
      name !== 'no proof',
    );
  });
}

test('mount may be a selector; a missing option is said by name', async () => {
  const world = new World(),
    { page } = world.tab();
  for (const missing of ['generate', 'refresh', 'document', 'mount']) {
    assert.throws(() => page.open({ [missing]: undefined }), { code: 'Missing' });
  }
  assert.throws(() => page.open({ mount: '#nowhere' }), { code: 'Missing' });
  page.open({ mount: '#here' });
  await world.run(1000);
  assert.equal(page.session.state, 'open');
});

test('a second document waits for the first to leave, and opens by itself', async () => {
  const { world, page, session, functions } = await opened();
  const second = page.open({ document: 'oss://bucket/next.docx' });
  await world.run(MINUTE);
  assert.equal(second.state, 'waiting');
  assert.equal(session.state, 'open', 'the open one is left alone');
  assert.equal(functions.calls.length, 1);
  frameOf(session).text = 'saved';
  await session.close();
  assert.equal(session.state, 'closed');
  await world.run(1000);
  assert.equal(second.state, 'open');
  assert.equal(world.storage.text, 'saved');
});

test('one that waited and was closed is never opened', async () => {
  const { world, page, session, functions } = await opened();
  const second = page.open({ document: 'oss://bucket/next.docx' });
  await second.close();
  await session.close();
  await world.run(MINUTE);
  assert.equal(second.state, 'closed');
  assert.equal(functions.calls.length, 1);
  const third = page.open();
  await world.run(1000);
  assert.equal(third.state, 'open', 'nor does it hold the place');
});

test('open() right after close(), as an effect with its cleanup does it: one opening', async () => {
  const world = new World(),
    { page } = world.tab();
  page.open().close();
  const session = page.open();
  await world.run(1000);
  assert.equal(session.state, 'open');
  assert.equal(world.functions.calls.length, 1);
  session.close();
  const next = page.open({ document: 'oss://bucket/next.docx' });
  await world.run(1000);
  assert.equal(next.state, 'open');
  assert.equal(world.functions.calls.length, 2);
});
