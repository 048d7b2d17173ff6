import assert from 'node:assert/strict';
import test from 'node:test';
import { HOUR, MINUTE, World, count, frameOf, opened } from './world.mjs';

test('a failed refresh is repeated before the token ends', async () => {
  const { world, session, functions, page } = await opened();
  functions.fault = call => (call.at < functions.calls[0].at + 28 * MINUTE ? 'cut' : null);
  await world.run(25.5 * MINUTE);
  assert.equal(session.state, 'retrying');
  assert.equal(session.error.code, 'Network');
  assert.match(session.error.message, /https:\/\/api\.example\.com/);
  await world.run(4 * MINUTE);
  assert.equal(session.state, 'open');
  assert.equal(session.error, null);
  assert.ok(!page.events.includes('expired'));
  assert.ok(functions.calls.length < 30, 'with growing pauses: ' + functions.calls.length);
  assert.ok(page.saves > 0, 'and saved, as the end came near');
});

test('429 and 503 are repeated, not before Retry-After', async () => {
  for (const status of [429, 503]) {
    const { world, session, functions, page } = await opened();
    let once = true;
    functions.fault = () => (once && !(once = false) ? { status, after: 90 } : null);
    await world.run(25.5 * MINUTE);
    for (const name of ['online', 'pageshow', 'visibilitychange']) page.say(name); // nor by waking
    session.retry();
    await world.run(3 * MINUTE);
    const [first, second] = functions.calls.filter(call => call.name === 'refresh');
    assert.ok(second.at - first.at >= 90e3);
    assert.equal(session.state, 'open');
  }
});

test('forty guests at once where ten a minute may open: each gets in', async () => {
  const world = new World(),
    asked = [];
  world.seed = 11;
  let tokens = 10,
    at = world.time.now;
  world.functions.fault = call => {
    tokens = Math.min(10, tokens + (call.at - at) / 6000);
    at = call.at;
    asked.push(at);
    return tokens >= 1 ? (tokens--, null) : { status: 429, after: Math.ceil((1 - tokens) * 6) };
  };
  const pages = Array.from({ length: 40 }, () => world.tab().page);
  for (const page of pages) page.open({ token: undefined });
  await world.run(6 * MINUTE);
  assert.deepEqual(
    pages.map(page => page.session.state).filter(state => state !== 'open'),
    [],
  );
  assert.ok(!pages.some(page => page.events.includes('failed')));
  assert.ok(asked.length < 40 * 9, 'requests ' + asked.length);
});

test('pages that are told to wait equally long do not come back at the same moment', async () => {
  const world = new World(),
    asked = [];
  world.seed = 5;
  world.functions.fault = call => {
    asked.push(call.at);
    return { status: 429, after: 10 };
  };
  for (let i = 0; i < 10; i++) world.tab().page.open();
  await world.run(12e3);
  const again = asked.slice(10);
  assert.equal(again.length, 10);
  assert.ok(Math.max(...again) - Math.min(...again) > 100);
  assert.ok(Math.min(...again) - asked[0] >= 10e3);
});

test('a token that ends while the functions ask to wait is said to have ended', async () => {
  const { world, session, functions } = await opened();
  functions.fault = call => (call.name === 'refresh' ? { status: 503, after: 600 } : null);
  frameOf(session).alive = false; // its frame says nothing of it
  await world.run(29 * MINUTE);
  assert.equal(session.state, 'retrying');
  await world.run(2 * MINUTE);
  assert.equal(session.state, 'expired');
  assert.equal(count(functions, 'refresh'), 1);
});

test('a slow answer does not make a token live longer', async () => {
  const { world, session, functions } = await opened({}, world => {
    world.latency = 900;
  });
  const [{ end }] = functions.access.values();
  assert.ok(session.left() > 0 && session.left() <= end - world.time.now);
});

test('a nonsense refusal of generate is a failure, not a loop', async () => {
  const { session, functions } = await opened({}, world => {
    world.functions.fault = () => ({ status: 400, code: 'InvalidArgument.RefreshToken' });
  });
  assert.equal(session.state, 'failed');
  assert.equal(functions.calls.length, 1);
});

test('an answer that got lost after the work was done is asked for again, unbilled', async () => {
  const { world, session, functions, page } = await opened();
  let once = true;
  functions.fault = () => (once && !(once = false) ? 'lost' : null);
  await world.run(26 * MINUTE);
  assert.equal(functions.billed, 2);
  assert.equal(count(functions, 'refresh'), 2);
  assert.equal(page.configs.length, 1);
  assert.equal(session.state, 'open');
});

test('a request without end is given up within the functions’ minute', async () => {
  const { world, session, functions } = await opened();
  let once = true;
  functions.fault = () => (once && !(once = false) ? 'hang' : null);
  await world.run(27 * MINUTE);
  const [first, second] = functions.calls.filter(call => call.name === 'refresh');
  assert.ok(second.at - first.at < 40e3);
  assert.equal(session.state, 'open');
});

test('401: a fresh proof once, then it asks to sign in and keeps the document', async () => {
  const { world, session, functions } = await opened();
  functions.fault = () => ({ status: 401, code: 'Unauthenticated' });
  await world.run(26 * MINUTE);
  const refreshes = functions.calls.filter(call => call.name === 'refresh');
  assert.equal(refreshes.length, 2);
  assert.notEqual(refreshes[0].bearer, refreshes[1].bearer);
  assert.equal(session.state, 'signin');
  assert.ok(session.instance, 'the document stays');
  functions.fault = () => null;
  await world.run(HOUR);
  assert.equal(session.state, 'signin', 'nothing happens by itself');
  session.retry();
  await world.run(1000);
  assert.equal(session.state, 'open');
});

test('while it asks to sign in: saved, and a late fileOpen changes nothing', async () => {
  const { world, session, functions, page } = await opened();
  frameOf(session).text = 'before I sign in';
  functions.fault = () => ({ status: 401 });
  await world.run(26 * MINUTE);
  assert.equal(world.storage.text, 'before I sign in');
  session.instance.tell('fileOpen', { success: true });
  assert.equal(session.state, 'signin');
  assert.equal(session.error.status, 401);
  functions.fault = () => null;
  page.say('pageshow');
  await world.run(HOUR);
  assert.equal(session.state, 'open');
  assert.equal(frameOf(session).state, 'open');
});

test('somebody who signed in elsewhere and comes back to the tab goes on', async () => {
  const { world, session, functions, page } = await opened();
  functions.fault = () => ({ status: 401 });
  await world.run(26 * MINUTE);
  functions.fault = () => null;
  page.hidden = true;
  page.say('visibilitychange');
  await world.run(1000);
  assert.equal(session.state, 'signin', 'not while nobody looks');
  page.hidden = false;
  page.say('pageshow');
  await world.run(1000);
  assert.equal(session.state, 'open');
});

for (const [status, state] of [
  [403, 'refused'],
  [410, 'ended'],
  [404, 'failed'],
]) {
  test(status + ' saves, then stops for good', async () => {
    const { world, session, functions, page } = await opened();
    frameOf(session).text = 'last words';
    functions.fault = () => ({ status });
    await world.run(26 * MINUTE);
    assert.equal(session.state, state);
    assert.equal(world.storage.text, 'last words');
    assert.equal(session.instance, null);
    assert.match(session.error.requestId, /^R-/);
    assert.match(session.error.message, /Sentence\. Do this\./);
    const calls = functions.calls.length;
    for (const name of ['online', 'pageshow', 'visibilitychange']) page.say(name);
    await world.run(2 * HOUR);
    assert.equal(functions.calls.length, calls);
    functions.fault = () => null;
    session.retry();
    await world.run(1000);
    assert.equal(session.state, 'open', 'a person may try again');
    assert.equal(functions.calls.at(-1).name, 'generate');
  });
}

test('a refusal at opening is final', async () => {
  const { session, functions, page } = await opened({}, world => {
    world.functions.permission = () => null;
  });
  assert.equal(session.state, 'refused');
  assert.equal(functions.calls.length, 1);
  assert.equal(page.configs.length, 0);
  assert.equal(functions.billed, 0);
});

test('a sealed token that no longer opens: one generate, and the document stays', async () => {
  const { world, session, functions, page } = await opened();
  functions.keys = 2;
  await world.run(26 * MINUTE);
  assert.deepEqual(
    functions.calls.map(call => call.name),
    ['generate', 'refresh', 'generate'],
  );
  assert.equal(session.state, 'open');
  assert.equal(page.configs.length, 1, 'the same address: the same frame');
  await world.run(25 * MINUTE);
  assert.equal(functions.calls.at(-1).name, 'refresh');
});

test('an answer of something else than the functions is not taken for one', async () => {
  const { session } = await opened({}, world => {
    world.functions.generate = () => ({ status: 200, body: { hello: 1 } });
  });
  assert.equal(session.state, 'opening');
  assert.equal(session.error.code, 'HTTP');
  assert.match(session.error.value, /^https:\/\/api\.example\.com 200$/);
});

test('a token function that fails or never answers is asked again', async () => {
  let mode = 'fail';
  const { world, session } = await opened({
    token: () =>
      mode === 'fail'
        ? Promise.reject(new Error('secret-text'))
        : mode === 'hang'
          ? new Promise(() => {})
          : world.functions.proof('ann'),
  });
  assert.equal(session.error.code, 'Token');
  assert.match(session.error.message, /token\(\)/);
  assert.doesNotMatch(session.error.message, /secret-text/);
  mode = 'hang';
  await world.run(25e3);
  mode = '';
  await world.run(30e3);
  session.retry();
  await world.run(1000);
  assert.equal(session.state, 'open');
});

test('a login that rejects when there is nobody ends in signin, as one that gives null', async () => {
  let login = false;
  const { world, session, functions } = await opened({
    token: () => (login ? functions.proof('ann') : Promise.reject(new Error('login_required'))),
  });
  await world.run(MINUTE);
  assert.equal(session.state, 'signin');
  assert.equal(session.error, null);
  assert.equal(functions.calls.length, 0);
  session.retry();
  await world.run(1000);
  assert.deepEqual([session.state, session.error], ['signin', null]);
  login = true;
  session.retry(true);
  await world.run(1000);
  assert.equal(session.state, 'open');
  login = false; // over while the document is open: it goes on, and is asked for again
  await world.run(28 * MINUTE);
  assert.equal(session.state, 'retrying');
  login = true;
  await world.run(MINUTE);
  assert.equal(session.state, 'open');
});

test('functions that cannot be reached at opening: a few tries, then a way out', async () => {
  const { world, session, functions, page } = await opened({}, world => {
    world.online = false;
  });
  await world.run(MINUTE);
  assert.equal(session.state, 'failed');
  assert.equal(session.error.code, 'Network');
  world.online = true;
  page.say('online');
  await world.run(1000);
  assert.equal(session.state, 'open');
  assert.equal(functions.billed, 1);
});
