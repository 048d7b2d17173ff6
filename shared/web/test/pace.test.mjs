// No storms: whatever a page does after a refusal, three requests in five seconds are the most.
import assert from 'node:assert/strict';
import test from 'node:test';
import { ALL, MINUTE, World, element, guestsRead } from './world.mjs';

const inFiveSeconds = (calls, from = calls[0].at) =>
  calls.filter(({ at }) => at >= from && at < from + 5000).length;

test('attack: a signin handler that sets a fresh token against a steady 401', async () => {
  for (const [name, first] of [
    ['nobody', undefined],
    ['a text', 'ann'],
    ['a function', () => {}],
  ]) {
    const world = new World(),
      { functions } = world;
    functions.fault = () => ({ status: 401, code: 'Unauthenticated' });
    const fresh = () => functions.proof('ann');
    const token = typeof first === 'function' ? fresh : first && fresh();
    const { found } = await element(
      world,
      {},
      { token },
      {
        ready: found =>
          found.addEventListener('signin', async () => {
            found.token = await fresh();
          }),
      },
    );
    await world.run(30 * MINUTE);
    const { calls } = functions;
    for (const { at } of calls) assert.ok(inFiveSeconds(calls, at) <= 3, name);
    assert.ok(calls.length > 10 && calls.length < 45, name + ': ' + calls.length);
    const gaps = calls.map(({ at }, i) => Math.round((at - calls[i - 1]?.at) / 1000)).slice(2);
    assert.deepEqual(gaps.slice(-3), [60, 60, 60], 'at last once a minute');
    assert.equal(found.getAttribute('state'), 'signin');
  }
});

test('the waits grow from the second request that a setter causes', async () => {
  const world = new World(),
    { functions } = world;
  functions.fault = () => ({ status: 403, code: 'Forbidden' });
  const { found } = await element(world, {}, { token: functions.proof('ann') });
  await world.run(10e3);
  const at = [];
  for (let i = 0; i < 6; i++) {
    const before = functions.calls.length;
    found.token = functions.proof('ann');
    const start = world.time.now;
    while (functions.calls.length === before) await world.run(100);
    at.push((world.time.now - start) / 1000);
    await world.run(100);
  }
  const [first, ...rest] = at;
  assert.ok(first <= 0.2, 'the first at once: ' + at);
  for (const [i, wait] of [1, 2, 4, 8, 16].entries())
    assert.ok(Math.abs(rest[i] - wait) < 0.4, String(at));
});

test('a person who asks does not wait for what the page has caused', async () => {
  const world = new World(),
    { functions } = world;
  functions.fault = () => ({ status: 403, code: 'Forbidden' });
  const { found } = await element(world, {}, { token: functions.proof('ann') });
  for (let i = 0; i < 6; i++) {
    found.token = functions.proof('ann');
    await world.run(500);
  }
  functions.fault = () => null;
  const before = functions.calls.length;
  found.shadowRoot.getElementById('way').onclick();
  await world.run(500);
  assert.equal(functions.calls.length, before + 1);
  assert.equal(found.getAttribute('state'), 'open');
});

test('attack: an inline function at each render against a 403; its sentence stays', async () => {
  const world = new World(),
    { functions } = world;
  let asked = 0;
  functions.permission = () => null;
  const inline = () => () => (asked++, functions.proof('ann'));
  const { found } = await element(world, {}, { token: inline() });
  for (let i = 0; i < 100; i++) {
    found.token = inline();
    found.options = { parameters: { Hidecmb: true } };
    await world.run(50);
    if (i) assert.equal(found.part('title'), 'You have no access');
  }
  assert.ok(functions.calls.length <= 3, String(functions.calls.length));
  assert.equal(asked, functions.calls.length);
});

test('a render alone asks neither the page nor the functions', async () => {
  const world = new World(),
    { functions } = world;
  let asked = 0;
  const inline = () => () => (asked++, functions.proof('ann'));
  const { found, page } = await element(world, {}, { token: inline() });
  const before = asked;
  for (let i = 0; i < 50; i++) {
    found.token = inline();
    found.options = {};
    found.texts = { editing: 'Yours' };
    found.setAttribute('src', found.getAttribute('src'));
    await world.run(20);
  }
  assert.equal(asked, before);
  assert.equal(functions.calls.length, 1);
  assert.equal(page.configs.length, 1);
  assert.equal(found.part('role'), 'Yours');
});

test('attack: an element at each render, against a refusal', async () => {
  const world = new World(),
    { functions } = world;
  functions.permission = () => null;
  const { found, page } = await element(world, {}, { token: functions.proof('ann') });
  let last = found;
  for (let i = 0; i < 100; i++) {
    last.isConnected = false;
    last.disconnectedCallback();
    const next = (last = new page.defined[1]());
    for (const name of ['src', 'generate', 'refresh'])
      next.setAttribute(name, found.getAttribute(name));
    next.token = functions.proof('ann');
    next.isConnected = true;
    next.connectedCallback();
    await world.run(50);
  }
  assert.ok(inFiveSeconds(functions.calls) <= 3, String(functions.calls.length));
});

test('attack: tokens of two people in turn, one of them refused', async () => {
  const world = new World(),
    { functions } = world;
  functions.permission = caller => (/ann/.test(caller) ? ALL : null);
  const { found } = await element(world, {}, { token: functions.proof('ann') });
  for (let i = 0; i < 100; i++) {
    found.token = functions.proof(i % 2 ? 'ann' : 'bob');
    await world.run(50);
  }
  for (const { at } of functions.calls) assert.ok(inFiveSeconds(functions.calls, at) <= 3);
});

test('after a 401 the same proof is not sent again; a fresh one is, once', async () => {
  for (const [fresh, requests] of [
    [false, 1],
    [true, 2],
  ]) {
    const world = new World(),
      { functions } = world,
      same = functions.proof('ann');
    functions.fault = () => ({ status: 401 });
    const { page } = await element(
      world,
      {},
      { token: () => (fresh ? functions.proof('ann') : same) },
    );
    for (const event of ['online', 'pageshow', 'visibilitychange']) fresh || page.say(event);
    await world.run(10 * MINUTE);
    assert.equal(functions.calls.length, requests);
  }
});

test('a guest who signs in waits for nothing', async () => {
  const world = new World(),
    { functions } = world;
  functions.permission = caller => (caller ? ALL : null);
  const { found } = await element(world);
  found.token = functions.proof('ann');
  await world.run(200);
  assert.equal(found.getAttribute('state'), 'open');
});

test('a page that sets a fresh token of the same person throughout costs nothing', async () => {
  const world = new World(),
    { functions } = world;
  guestsRead(world);
  const { found, page } = await element(world, {}, { token: functions.proof('ann') });
  for (let i = 0; i < 200; i++) {
    found.token = functions.proof('ann');
    await world.run(10);
  }
  assert.equal(functions.calls.length, 1);
  assert.equal(page.configs.length, 1);
});

test('tokens that are set while a request is under way throw no answer away', async () => {
  const world = new World(),
    { functions } = world;
  world.latency = 500;
  const { found } = await element(
    world,
    {},
    { token: functions.proof('ann') },
    {
      ready: found => {
        for (let i = 0; i < 20; i++) {
          world.time.set(
            null,
            () => {
              found.token = functions.proof('ann');
            },
            20 + i * 30,
          );
        }
      },
    },
  );
  await world.run(5000);
  assert.equal(functions.billed, 1);
  assert.equal(found.getAttribute('state'), 'open');
});

test('attack: a signin handler that sets a fresh function against a steady 401', async () => {
  const world = new World(),
    { functions } = world;
  functions.fault = () => ({ status: 401, code: 'Unauthenticated' });
  await element(
    world,
    {},
    {},
    {
      ready: found =>
        found.addEventListener('signin', () => {
          found.token = () => functions.proof('ann');
        }),
    },
  );
  await world.run(5 * MINUTE);
  const { calls } = functions;
  assert.ok(calls.length > 5);
  for (const { at } of calls) assert.ok(inFiveSeconds(calls, at) <= 3);
  const last = calls.slice(-3).map(({ at }) => at);
  assert.ok(last[1] - last[0] > 10e3 && last[2] - last[1] > 10e3, 'one request for each cause');
});

test('attack: a handler that calls retry() at each problem; twin: once', async () => {
  for (const fault of [
    { status: 401, code: 'Unauthenticated' },
    { status: 403, code: 'Forbidden' },
    'html',
    'cut',
  ]) {
    const world = new World(),
      { functions } = world;
    functions.fault = () => fault;
    await element(
      world,
      {},
      { token: () => functions.proof('ann') },
      { ready: found => found.addEventListener('error', () => found.session.retry()) },
    );
    await world.run(MINUTE);
    const { calls } = functions, name = JSON.stringify(fault);
    for (const { at } of calls) assert.ok(inFiveSeconds(calls, at) <= 3, name);
    assert.ok(calls.length > 10, name + ': ' + calls.length);
  }
});

test('attack: options that differ at each render, against a 403 and in a page that may', async () => {
  for (const fault of [{ status: 403, code: 'Forbidden' }, null]) {
    const world = new World(),
      { functions } = world;
    functions.fault = () => fault;
    const { found } = await element(world);
    for (let i = 0; i < 200; i++) {
      found.options = { parameters: { UserData: String(i) } };
      await world.run(50);
    }
    const { calls } = functions;
    for (const { at } of calls) assert.ok(inFiveSeconds(calls, at) <= 3, JSON.stringify(fault));
    await world.run(MINUTE);
    if (!fault) assert.equal(found.getAttribute('state'), 'open');
    assert.equal(calls.at(-1).body.UserData, '199');
  }
});
