import assert from 'node:assert/strict';
import test from 'node:test';
import { API, CDN, MINUTE, OFFICE, World, element, opened } from './world.mjs';

test('a blocked CDN: says what to allow, and then goes on without another call', async () => {
  const { world, session, functions, page } = await opened({}, world => {
    world.cdn = 'blocked';
  });
  await world.run(MINUTE);
  assert.equal(session.state, 'failed');
  assert.equal(session.error.code, 'SDK');
  assert.match(session.error.message, /https:\/\/g\.alicdn\.com\/IMM\/office-js\/1\.1\.19\//);
  assert.equal(functions.billed, 1);
  world.cdn = 'up';
  page.say('visibilitychange');
  await world.run(1000);
  assert.equal(session.state, 'open');
  assert.equal(session.error, null);
  assert.equal(functions.billed, 1);
});

test('a script that is not the SDK is as good as none', async () => {
  const { world, session } = await opened({}, world => {
    world.cdn = 'other';
  });
  await world.run(MINUTE);
  assert.equal(session.error.code, 'SDK');
});

for (const [directive, address] of [
  ['script-src', CDN],
  ['connect-src', API],
  ['frame-src', OFFICE],
]) {
  test('a Content-Security-Policy without ' + directive + ' is named, once', async () => {
    const world = new World(),
      { page } = world.tab();
    if (directive === 'frame-src') {
      page.open();
      await world.run(100);
      page.violate(OFFICE + '/office/w/1', 'frame-src');
    } else {
      page.csp = [directive, address + '/x'];
      page.open();
    }
    await world.run(MINUTE);
    assert.equal(page.session.state, 'failed');
    assert.equal(page.session.error.code, 'CSP');
    assert.ok(
      page.session.error.message.endsWith(directive + ' ' + address),
      page.session.error.message,
    );
    assert.equal(page.session.instance, null);
    assert.equal(page.events.filter(name => name === 'error').length, 1);
    assert.ok(world.functions.calls.length <= 1);
  });
}

test('refusals that are not ours, or only reported, change nothing', async () => {
  const { world, session, functions, page } = await opened({
    generate: 'https://docs.example.com/generate',
    refresh: 'https://docs.example.com/refresh',
  });
  page.violate('inline', 'script-src-elem');
  page.violate('https://docs.example.com/logo.png', 'img-src');
  page.violate('https://docs.example.com/frame.html', 'frame-src');
  page.violate('https://docs.example.com/x.js', 'script-src-elem');
  page.violate('https://tracker.example.net/x', 'connect-src');
  page.violate(OFFICE + '/office/w/1', 'frame-src', 'report');
  functions.fault = () => 'cut';
  await world.run(26 * MINUTE);
  assert.equal(session.error.code, 'Network');
  functions.fault = () => null;
  await world.run(MINUTE);
  assert.equal(session.state, 'open');
});

test('what is not an answer of the functions has words, and no loose ends', async () => {
  for (const [reply, value] of [
    ['html', '502'],
    ['null', '200'],
  ]) {
    const world = new World();
    if (reply === 'null') world.functions.generate = () => ({ status: 200, body: null });
    else world.functions.fault = () => reply;
    const { found } = await element(world);
    assert.equal(found.session.error.code, 'HTTP');
    assert.ok(found.session.error.retry);
    await world.run(MINUTE);
    assert.equal(found.part('title'), 'Not opened');
    assert.equal(found.session.error.value, 'https://api.example.com ' + value);
  }
});

test('a config() that gives undefined says what to check; a retry costs nothing', async () => {
  const { world, session, functions } = await opened({}, world => {
    world.configFails = true;
  });
  assert.equal(session.state, 'failed');
  assert.equal(session.error.code, 'Config');
  world.configFails = false;
  session.retry();
  await world.run(1000);
  assert.equal(session.state, 'open');
  assert.equal(functions.billed, 1);
});
