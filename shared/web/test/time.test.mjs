import assert from 'node:assert/strict';
import test from 'node:test';
import { HOUR, MINUTE, VIEW, World, count, frameOf, opened } from './world.mjs';

test('a sleep of an hour: a reader’s document is there at once', async () => {
  const { world, session, page } = await opened({}, world => {
    world.functions.permission = () => VIEW;
  });
  await world.run(5 * MINUTE);
  world.time.sleep(HOUR);
  page.say('visibilitychange');
  await world.run(1000);
  assert.equal(session.state, 'open');
  assert.equal(frameOf(session).state, 'open');
});

test('a sleep without any event at its end is noticed within half a minute', async () => {
  const { world, session, functions } = await opened();
  await world.run(5 * MINUTE);
  world.time.sleep(27 * MINUTE);
  await world.run(31e3);
  assert.equal(count(functions, 'refresh'), 1);
  assert.equal(session.state, 'open');
  assert.equal(frameOf(session).state, 'open');
});

test('after its token’s end an editor’s frame is asked before it is replaced', async () => {
  const { world, session, page } = await opened();
  frameOf(session).text = 'typed on a train';
  world.time.sleep(HOUR);
  page.say('online');
  await world.run(1000);
  assert.equal(page.configs.length, 1);
  assert.equal(world.storage.text, 'typed on a train');
  assert.equal(session.state, 'open');
});

test('a frame that died silently with its token is replaced', async () => {
  const { world, session, page } = await opened();
  frameOf(session).deaf = true;
  world.time.sleep(HOUR);
  page.say('online');
  await world.run(6000);
  assert.equal(page.configs.length, 2);
  assert.equal(session.state, 'open');
  assert.equal(frameOf(session).state, 'open');
});

test('offline for longer than a token lives: says so, goes on by itself', async () => {
  const { world, session, functions, page } = await opened();
  world.online = false;
  await world.run(70 * MINUTE);
  assert.equal(session.state, 'expired');
  assert.equal(page.events.filter(name => name === 'expired').length, 1);
  assert.ok(session.instance, 'what is on the screen stays');
  const calls = functions.calls.length;
  world.online = true;
  page.say('online');
  await world.run(1000);
  assert.equal(session.state, 'open');
  assert.equal(functions.calls.length, calls + 1);
  assert.equal(functions.billed, 2);
});

test('a page whose clock is wrong, or set while it runs, refreshes in time', async () => {
  for (const move of [-400 * 24 * HOUR, -HOUR, 0]) {
    const world = new World(),
      { page } = world.tab();
    page.skew = 3 * 365 * 24 * HOUR;
    page.open();
    await world.run(10 * MINUTE);
    page.skew += move;
    await world.run(16 * MINUTE);
    assert.equal(count(world.functions, 'refresh'), 1, String(move));
    assert.ok(!page.events.includes('expired'));
  }
});

test('a clock that is set forward costs a request, not a billed one', async () => {
  const { world, session, functions, page } = await opened({}, world => {
    world.functions.permission = () => VIEW;
  });
  page.skew += 26 * MINUTE;
  await world.run(MINUTE);
  assert.equal(functions.billed, 1);
  assert.equal(session.state, 'open');
});
