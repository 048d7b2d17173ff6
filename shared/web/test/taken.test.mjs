import assert from 'node:assert/strict';
import test from 'node:test';
import { HOUR, MINUTE, World, opened } from './world.mjs';

test('access taken away once is taken back, twice is the person’s choice', async () => {
  const { world, session, functions, page } = await opened();
  const revoke = () => {
    for (const { grant } of functions.access.values()) grant.frame = 'elsewhere';
    session.instance.check();
  };
  const before = session.instance;
  revoke();
  await world.run(1000);
  assert.equal(session.state, 'open');
  assert.equal(session.error, null);
  assert.equal(functions.billed, 2);
  assert.equal(page.configs.length, 2);
  before.frame.alive = true;
  before.tell('error', { reason: 'late news of a frame that is gone' });
  assert.equal(session.error, null);
  revoke();
  await world.run(HOUR);
  assert.equal(session.state, 'taken');
  assert.equal(functions.billed, 2, 'no ping-pong');
  for (const name of ['online', 'visibilitychange']) page.say(name);
  await world.run(HOUR);
  assert.equal(functions.billed, 2);
  session.retry();
  await world.run(1000);
  assert.equal(session.state, 'open');
  assert.equal(functions.billed, 3);
});

test('one loss that the frame tells twice is one loss', async () => {
  const { world, session, functions, page } = await opened();
  session.instance.tell('error', { reason: 'tokenRevoked' });
  session.instance.tell('error', { reason: 'SessionExpired' });
  await world.run(1000);
  assert.ok(!page.events.includes('taken'));
  assert.equal(session.state, 'open');
  assert.equal(functions.billed, 2);
});

test('access taken away again hours later is taken back again', async () => {
  const { world, session, functions } = await opened();
  for (const billed of [2, 10]) {
    for (const { grant } of functions.access.values()) grant.frame = 'elsewhere';
    session.instance.check();
    await world.run(3 * HOUR);
    assert.equal(session.state, 'open');
    assert.ok(functions.billed >= billed);
  }
});

test('a document that the editor cannot open ends in a sentence, not in a loop', async () => {
  const { world, session, functions } = await opened({}, world => {
    world.broken = true;
  });
  await world.run(HOUR);
  assert.equal(session.state, 'failed');
  assert.match(session.error.message, /Fail/);
  assert.ok(functions.billed <= 2);
});

test('a frame that says nothing: after half a minute a way out, which costs nothing', async () => {
  const { world, session, functions, page } = await opened({}, world => {
    world.mute = true;
  });
  assert.equal(session.state, 'opening');
  await world.run(32e3);
  assert.equal(session.state, 'failed');
  assert.equal(session.error.code, 'Frame');
  assert.equal(session.instance, null);
  await world.run(10 * MINUTE);
  assert.equal(page.configs.length, 1, 'not by itself');
  session.retry();
  await world.run(50e3);
  assert.equal(session.state, 'opening', 'a document that needs longer gets longer');
  world.mute = false;
  await world.run(15e3);
  session.retry();
  await world.run(1000);
  assert.equal(session.state, 'open');
  assert.equal(functions.billed, 1);
  await world.run(10 * MINUTE);
  assert.equal(page.configs.length, 3);
});

test('a machine that sleeps while a frame loads does not call it silent', async () => {
  const world = new World(),
    { page } = world.tab(),
    session = page.open();
  world.mute = true;
  await world.run(1000);
  world.time.sleep(10 * MINUTE);
  page.say('visibilitychange');
  await world.run(1000);
  session.instance.tell('fileOpen', { success: true });
  assert.equal(session.state, 'open');
  assert.ok(!page.events.includes('failed'));
});

test('a frame that asks for a password is waited for', async () => {
  const { world, session, page } = await opened({}, world => {
    world.mute = true;
  });
  session.instance.tell('filePasswordStatus', { status: 'required' });
  await world.run(5 * MINUTE);
  assert.equal(session.state, 'opening');
  session.instance.tell('fileOpen', { success: true });
  assert.equal(session.state, 'open');
  assert.equal(page.configs.length, 1);
});

test('a fileOpen that failed is not an open document', async () => {
  const { world, session } = await opened();
  session.instance.tell('fileOpen', { msg: 'Fail', result: 'Fail' });
  assert.equal(session.state, 'retrying');
  await world.run(1000);
  assert.equal(session.state, 'open');
});
