import assert from 'node:assert/strict';
import test from 'node:test';
import { ALL, API, HOUR, MINUTE, World, count, frameOf, opened } from './world.mjs';

test('a reload of the same tab costs no call', async () => {
  const { world, tab, functions } = await opened();
  await world.run(10 * MINUTE);
  const session = tab.reload().open();
  await world.run(1000);
  assert.equal(session.state, 'open');
  assert.deepEqual(session.permission, ALL);
  assert.equal(functions.calls.length, 1);
  assert.ok(session.left() < 20 * MINUTE && session.left() > 19 * MINUTE);
  await world.run(15 * MINUTE);
  assert.equal(count(functions, 'refresh'), 1, 'and the refresh comes when it would have come');
});

test('a reload whose old page lets go of its lock late costs no call either', async () => {
  const { world, tab, functions } = await opened({}, world => {
    world.lockLag = 150;
  });
  const session = tab.reload().open();
  await world.run(1000);
  assert.equal(session.state, 'open');
  assert.equal(functions.calls.length, 1);
});

test('events while a page loads do not run ahead of what the tab has kept', async () => {
  const { world, tab, functions } = await opened({}, world => {
    world.lockLag = 150;
  });
  const session = tab.reload().open();
  for (const name of ['pageshow', 'hashchange', 'online']) {
    tab.page.say(name);
    await world.run(40);
  }
  await world.run(1000);
  assert.equal(session.state, 'open');
  assert.equal(functions.calls.length, 1);
});

test('a duplicated tab gets a session of its own, and takes nothing from the first', async () => {
  const { world, tab, session, functions } = await opened();
  const other = tab.duplicate();
  assert.equal(other.storage.weboffice, tab.storage.weboffice);
  const second = other.page.open();
  await world.run(2000);
  assert.equal(functions.billed, 2);
  session.instance.check();
  await world.run(1000);
  assert.equal(session.state, 'open');
  assert.equal(second.state, 'open');
  assert.equal(functions.billed, 2);
  const again = other.reload().open();
  await world.run(1000);
  assert.equal(again.state, 'open');
  assert.equal(functions.billed, 2, 'its own reload is free as well');
});

test('two tabs have a session each', async () => {
  const { world, session, functions } = await opened();
  const second = world.tab().page.open();
  await world.run(2 * HOUR);
  assert.equal(session.state, 'open');
  assert.equal(second.state, 'open');
  assert.equal(functions.billed, 10);
});

test('tokens of before the reload that are past their end are not used', async () => {
  const { world, tab, functions } = await opened();
  tab.page.unload();
  world.time.sleep(31 * MINUTE);
  const session = tab.reload().open();
  await world.run(1000);
  assert.equal(session.state, 'open');
  assert.equal(count(functions, 'generate'), 2);
});

test('tokens that seem to live too long, after a clock was set back, are not used', async () => {
  const { world, tab, functions } = await opened();
  await world.run(10 * MINUTE);
  tab.reload().skew = -HOUR;
  const session = tab.page.open();
  await world.run(27 * MINUTE);
  assert.equal(session.state, 'open');
  assert.equal(frameOf(session).state, 'open');
  assert.deepEqual(
    functions.calls.map(call => call.name),
    ['generate', 'generate', 'refresh'],
  );
});

test('tokens of before the reload that were taken away meanwhile are replaced', async () => {
  const { world, tab, functions } = await opened();
  tab.page.unload();
  for (const token of functions.access.keys()) functions.access.set(token, { end: 0, grant: {} });
  const session = tab.reload().open();
  await world.run(1000);
  assert.equal(session.state, 'open');
  assert.equal(functions.billed, 2);
});

test('attack: another person reloads the tab; twin: the same one with a fresh proof', async () => {
  for (const [who, billed] of [
    ['bob', 2],
    ['ann', 1],
  ]) {
    const { world, tab, functions } = await opened();
    const session = tab.reload().open({ token: () => functions.proof(who) });
    await world.run(1000);
    assert.equal(functions.billed, billed, who);
    assert.equal(session.state, 'open');
  }
  const { world, tab, functions } = await opened();
  functions.permission = caller => (caller ? ALL : null);
  const session = tab.reload().open({ token: () => '' });
  await world.run(1000);
  assert.equal(session.state, 'signin', 'nor does somebody who signed out');
  assert.equal(session.instance, null);
});

test('attack: proofs that name nobody are one person; twin: they open, unkept', async () => {
  const world = new World(),
    { functions } = world,
    tab = world.tab();
  for (const billed of [1, 2, 3]) {
    const session = tab.page.open({ token: () => functions.proof(undefined) });
    await world.run(1000);
    assert.equal(session.state, 'open');
    assert.equal(functions.billed, billed);
    assert.ok(!tab.storage.weboffice);
    // Also where the page holds its lock already.
    billed === 1 ? await session.close(true) : tab.reload();
  }
});

test('another document, or other rights asked for, do not get the kept tokens', async () => {
  for (const other of [
    { document: 'oss://bucket/other.docx' },
    { permission: { Readonly: true } },
    { generate: API + '/v2/generate' },
  ]) {
    const { world, tab, functions } = await opened();
    functions['v2/generate'] = functions.generate;
    tab.reload().open(other);
    await world.run(1000);
    assert.equal(functions.billed, 2);
  }
});

test('without storage or locks everything works, and a reload costs a call', async () => {
  const { world, tab, functions } = await opened({}, world => {
    world.noStorage = true;
  });
  assert.equal(tab.page.session.state, 'open');
  tab.reload().open();
  await world.run(1000);
  assert.equal(tab.page.session.state, 'open');
  assert.equal(functions.billed, 2);
});

test('proofs are in no storage and no address', async () => {
  const { world, tab, functions } = await opened();
  await world.run(2 * HOUR);
  const kept = JSON.stringify(tab.storage) + tab.href + JSON.stringify(tab.state);
  assert.ok(kept.includes('access-'));
  for (const { bearer } of functions.calls) {
    assert.ok(!kept.includes(bearer));
    assert.ok(!kept.includes(bearer.split('.')[1]));
  }
});
