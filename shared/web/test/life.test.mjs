import assert from 'node:assert/strict';
import test from 'node:test';
import { API, HOUR, MINUTE, URI, World, count, frameOf, opened } from './world.mjs';

test('refreshes at five sixths of a token’s life, and sets each token', async () => {
  const { world, session, page, functions } = await opened();
  await world.run(77 * MINUTE);
  const refreshes = functions.calls.filter(call => call.name === 'refresh');
  assert.equal(refreshes.length, 3);
  for (const [i, call] of refreshes.entries())
    assert.ok(Math.abs(call.at - functions.calls[0].at - (i + 1) * 25 * MINUTE) < 5000);
  assert.equal(page.configs.length, 1, 'the same frame');
  session.instance.sayReady();
  assert.equal(
    page.posted.at(-1),
    page.posted.at(-2),
    'the SDK holds the newest token, also for a frame that says ready again',
  );
  assert.equal(session.state, 'open');
  assert.equal(frameOf(session).state, 'open');
  assert.deepEqual(page.events.filter(name => name === 'refreshed').length, 3);
});

test('the SDK asks by its own timer as well, and that costs nothing', async () => {
  const { world, page, functions } = await opened();
  await world.run(8 * HOUR);
  assert.ok(functions.billed <= 20, 'billed ' + functions.billed);
  const early = page.configs[0].refreshToken();
  assert.equal(early.token, page.posted.at(-1));
  assert.equal(functions.calls.length, functions.billed, 'no request but those that were due');
});

test('the SDK’s asking is one more look at the clock', async () => {
  const { world, page, functions } = await opened();
  world.time.sleep(26 * MINUTE);
  page.configs[0].refreshToken();
  await world.run(100);
  assert.equal(count(functions, 'refresh'), 1);
});

test('never two requests at once', async () => {
  const { world, page, functions } = await opened();
  await world.run(25 * MINUTE - 1500);
  for (let i = 0; i < 5; i++) {
    page.say('online');
    page.configs[0].refreshToken();
    await world.run(500);
  }
  assert.equal(count(functions, 'refresh'), 1);
});

test('a life of one minute', async () => {
  const { world, session, functions, page } = await opened({}, world => {
    world.functions.life = MINUTE;
  });
  await world.run(3 * 51e3);
  assert.equal(count(functions, 'refresh'), 3);
  assert.equal(session.state, 'open');
  assert.equal(frameOf(session).state, 'open');
  assert.equal(page.asked, 0, 'the SDK, which runs wild below 20 minutes, was told of more');
});

test('eight hours, five reloads: 20 billed calls at most; the quick start 29 or more', async () => {
  const { world, tab, functions } = await opened();
  for (const minutes of [21, 42, 63, 84, 105]) {
    await world.run(functions.calls[0].at + minutes * MINUTE - world.time.now);
    tab.reload().open();
    await world.run(1000);
    assert.equal(tab.page.session.state, 'open');
  }
  await world.run(functions.calls[0].at + 8 * HOUR - world.time.now);
  assert.equal(tab.page.session.state, 'open');
  assert.equal(frameOf(tab.page.session).state, 'open');
  assert.ok(functions.billed <= 20, 'billed ' + functions.billed);

  const other = await quickStart(async promise => promise, [21, 42, 63, 84, 105]);
  assert.ok(other.billed >= 29, 'the quick start: ' + other.billed);
});

test('the fake SDK has the real one’s trap: an async callback loses the document', async () => {
  const good = await quickStart(null, []);
  assert.equal(good.state, 'open');
  const bad = await quickStart('async', []);
  assert.equal(bad.state, 'tokenExpired');
});

// What the quick start's page does: 25 minutes as the timeout, a plain callback, a new session at
// each load.
async function quickStart(kind, reloads) {
  const world = new World(),
    { functions } = world;
  world.preloaded = true;
  let page, instance;
  const load = tab => {
    page = tab.page;
    let last = functions.answer(API + '/generate', functions.proof('ann'), { SourceURI: URI }).body;
    const refresh = () => {
      last = functions.answer(API + '/refresh', functions.proof('ann'), {
        AccessToken: last.AccessToken,
        RefreshToken: last.RefreshToken,
      }).body;
      return { token: last.AccessToken, timeout: 25 * MINUTE };
    };
    instance = page.window.aliyun.config({
      mount: {},
      url: last.WebofficeURL,
      refreshToken: kind === 'async' ? async () => refresh() : () => Promise.resolve(refresh()),
    });
    instance.setToken({ token: last.AccessToken, timeout: 25 * MINUTE });
  };
  const tab = world.tab(),
    start = world.time.now;
  load(tab);
  for (const minutes of reloads) {
    await world.run(start + minutes * MINUTE - world.time.now);
    tab.reload();
    load(tab);
  }
  await world.run(start + 8 * HOUR - world.time.now);
  return { billed: functions.billed, state: instance.frame.state };
}

test('a thousand hours with one request in twenty failing lose no session', async () => {
  let lost = 0,
    hours = 0,
    failures = 0;
  for (let run = 0; run < 50; run++) {
    const world = new World(),
      { page } = world.tab();
    world.seed = 7 + run;
    const kinds = ['cut', 'lost', 'hang', 'html', { status: 503 }, { status: 429, after: 3 }];
    page.open();
    await world.run(1000);
    world.functions.fault = () =>
      world.random() < 0.05 ? (failures++, kinds[Math.floor(world.random() * kinds.length)]) : null;
    await world.run(20 * HOUR);
    hours += 20;
    if (
      page.session.state !== 'open' ||
      frameOf(page.session).state !== 'open' ||
      page.events.includes('expired') ||
      page.configs.length !== 1
    )
      lost++;
  }
  assert.equal(lost, 0);
  assert.equal(hours, 1000);
  assert.ok(failures > 80, 'failures ' + failures);
});
