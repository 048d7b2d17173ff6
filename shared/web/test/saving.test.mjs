import assert from 'node:assert/strict';
import test from 'node:test';
import { HOUR, MINUTE, VIEW, World, frameOf, opened } from './world.mjs';

test('save() says what came of it, and asks nobody while read-only', async () => {
  const { session, page } = await opened();
  assert.equal(await session.save(), 'nochange');
  frameOf(session).text = 'x';
  assert.equal(await session.save(), 'ok');
  frameOf(session).state = 'tokenExpired';
  assert.equal(await session.save(), 'fail');
  const reader = await opened({}, world => {
    world.functions.permission = () => VIEW;
  });
  assert.equal(await reader.session.save(), 'nochange');
  assert.equal(reader.page.saves, 0);
  assert.ok(page.saves > 0);
});

test('the save state is told in words', async () => {
  const { session, page } = await opened();
  const said = [];
  for (const status of [0, 1, 2, 3, 4, 5, 6, 7]) {
    session.instance.tell('fileStatus', { status });
    said.push(session.fileStatus);
  }
  assert.deepEqual(said, [
    '',
    'saved',
    'unsaved',
    'unsaved',
    'saving',
    'unsaved',
    'saving',
    'saved',
  ]);
  assert.equal(page.events.filter(name => name === 'saved').length, 2);
});

test('a page that is left saves; close() saves, ends and forgets', async () => {
  const { world, session, tab, page, functions } = await opened();
  frameOf(session).text = 'one ';
  page.say('pagehide');
  await world.run(0);
  frameOf(session).text = 'two';
  await session.close();
  assert.equal(world.storage.text, 'one two');
  assert.equal(session.state, 'closed');
  assert.equal(tab.storage.weboffice, undefined);
  const calls = functions.calls.length;
  for (const name of ['online', 'pageshow', 'visibilitychange', 'hashchange']) page.say(name);
  session.retry();
  await world.run(HOUR);
  assert.equal(functions.calls.length, calls);
});

test('a tab that is put away saves: a phone may never say more', async () => {
  const { world, session, page } = await opened();
  frameOf(session).text = 'in the tram';
  page.hidden = true;
  page.say('visibilitychange');
  await world.run(0);
  assert.equal(world.storage.text, 'in the tram');
});

test('closed while a request is under way: nothing opens any more', async () => {
  const world = new World(),
    { page } = world.tab(),
    session = page.open();
  await world.run(5);
  await session.close();
  await world.run(MINUTE);
  assert.equal(session.state, 'closed');
  assert.equal(page.configs.length, 0);
  assert.equal(page.tab.storage.weboffice, undefined, 'and nothing is kept');
});

test('closed while the proof or the SDK is under way: no call, no frame', async () => {
  const world = new World(),
    { page } = world.tab();
  let give;
  const session = page.open({
    token: () =>
      new Promise(done => {
        give = done;
      }),
  });
  await world.run(5);
  await session.close();
  give('late');
  await world.run(MINUTE);
  assert.equal(world.functions.calls.length, 0);

  const other = new World().tab().page;
  other.open();
  await other.world.run(40); // the answer is there, the SDK is not
  assert.equal(other.world.functions.calls.length, 1);
  await other.session.close();
  await other.world.run(MINUTE);
  assert.equal(other.configs.length, 0);
});
