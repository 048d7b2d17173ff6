// Who asks: what each value of a token means, before and after somebody was known.
import assert from 'node:assert/strict';
import test from 'node:test';
import { ALL, MINUTE, VIEW, World, element, frameOf, guestsRead, opened } from './world.mjs';

const set = async (found, token, world, ms = 1000) => {
  found.token = token;
  await world.run(ms);
};

for (const [name, token, calls, state] of [
  ['undefined: a guest', undefined, 1, 'open'],
  ["'': a guest", '', 1, 'open'],
  ['null: nobody yet', null, 0, 'signin'],
  ['false, as in `user && getToken`: nobody yet', false, 0, 'signin'],
  ['a function that gives null', () => null, 0, 'signin'],
  ['a function that gives undefined', () => undefined, 1, 'open'],
]) {
  test('nobody was known, ' + name, async () => {
    const world = new World();
    guestsRead(world);
    const { found } = await element(world, {}, { token });
    assert.equal(found.getAttribute('state'), state);
    assert.equal(world.functions.calls.length, calls);
    assert.ok(world.functions.calls.every(call => call.bearer === ''));
  });
}

for (const [name, gone] of [
  ['null', null],
  ['undefined', undefined],
  ["''", ''],
  ['false', false],
  ['a function’s null', () => null],
]) {
  test(
    'a sign-out by ' + name + ': saved, frame gone, key removed, within two seconds',
    async () => {
      const world = new World();
      guestsRead(world);
      const { found, page } = await element(world, {}, { token: world.functions.proof('ann') });
      frameOf(found.session).text = 'Ann’s last words';
      await set(found, gone, world, 900);
      assert.equal(found.getAttribute('state'), 'open', 'not before it has lasted a second');
      await world.run(1000);
      assert.equal(found.getAttribute('state'), 'signin');
      assert.equal(world.storage.text, 'Ann’s last words');
      assert.equal(found.session.instance, null);
      assert.equal(found.session.permission, null);
      assert.ok(!('weboffice' in page.tab.storage));
      for (const event of ['online', 'pageshow', 'visibilitychange']) page.say(event);
      found.session.retry();
      await world.run(60 * MINUTE);
      assert.equal(found.getAttribute('state'), 'signin');
      assert.equal(world.functions.calls.length, 1, 'nobody is made a guest');
      await set(found, world.functions.proof('bob'), world);
      assert.equal(found.getAttribute('state'), 'open');
    },
  );
}

test('a proof that flickers while it is renewed is no sign-out', async () => {
  for (const gone of [null, undefined, '']) {
    const world = new World();
    const { found, page } = await element(world, {}, { token: world.functions.proof('ann') });
    await set(found, gone, world, 600);
    await set(found, world.functions.proof('ann'), world, 5000);
    assert.equal(found.getAttribute('state'), 'open');
    assert.equal(page.configs.length, 1);
    assert.equal(world.functions.calls.length, 1);
    assert.deepEqual(page.saves, 0);
  }
});

test('on a reload null keeps the storage: sign-in may only not be ready yet', async () => {
  const world = new World(),
    { functions } = world,
    tab = world.tab();
  tab.page.open();
  await world.run(1000);
  let token = null;
  const session = tab.reload().open({ token: () => token });
  await world.run(10 * MINUTE);
  assert.equal(session.state, 'signin');
  assert.equal(functions.calls.length, 1);
  token = functions.proof('ann');
  session.retry(true);
  await world.run(1000);
  assert.equal(session.state, 'open');
  assert.equal(functions.calls.length, 1, 'what the tab kept serves her again');
});

test('null while a guest’s document is open asks to sign in', async () => {
  const world = new World();
  guestsRead(world);
  const { found } = await element(world);
  await set(found, null, world, 2000);
  assert.equal(found.getAttribute('state'), 'signin');
  assert.equal(found.session.instance, null);
  assert.equal(world.functions.calls.length, 1);
});

test('a link’s holder told to be a guest has signed out; twin: undefined', async () => {
  for (const [token, state] of [
    ['', 'signin'],
    [null, 'signin'],
    [undefined, 'open'],
  ]) {
    const world = new World(),
      { functions } = world;
    guestsRead(world);
    const link = functions.proof(undefined, { iss: 'links', jti: 'one' });
    const tab = world.tab({ hash: '#link=' + link });
    let now;
    const session = tab.page.open({ token: () => now });
    await world.run(1000);
    now = token;
    session.retry(true);
    await world.run(2000);
    assert.equal(session.state, state);
    assert.equal(functions.calls.length, 1);
  }
});

test('attack: somebody signs out and the page’s link opens in their place', async () => {
  const world = new World(),
    { functions } = world;
  const link = functions.proof(undefined, { iss: 'links', jti: 'one' });
  const tab = world.tab({ hash: '#link=' + link });
  let token = functions.proof('ann');
  const session = tab.page.open({ token: () => token });
  await world.run(1000);
  token = undefined;
  session.retry(true);
  await world.run(MINUTE);
  assert.equal(session.state, 'signin');
  assert.equal(functions.calls.length, 1);
});

test('a token that was set before the module was there works like one set after', async () => {
  const world = new World(),
    { functions } = world;
  functions.permission = caller => (caller ? ALL : null);
  const { found } = await element(
    world,
    {},
    {},
    {
      early: found =>
        Object.defineProperty(found, 'token', {
          value: functions.proof('ann'),
          writable: true,
          configurable: true,
          enumerable: true,
        }),
    },
  );
  assert.equal(functions.calls[0].bearer, found.token);
  assert.equal(found.getAttribute('state'), 'open');
  await set(found, functions.proof('bob'), world);
  assert.equal(functions.calls.at(-1).bearer, found.token);
  assert.equal(found.getAttribute('state'), 'open');
});

test('signin="false" is as good as none', async () => {
  const world = new World();
  guestsRead(world);
  const { found } = await element(world, { signin: 'false' });
  assert.equal(found.getAttribute('state'), 'open');
});

test('with the attribute signin nobody is asked for before a token is set', async () => {
  for (const token of [undefined, () => undefined]) {
    const world = new World();
    guestsRead(world);
    const { found } = await element(world, { signin: '' }, { token });
    await world.run(10 * MINUTE);
    assert.equal(found.getAttribute('state'), 'signin');
    assert.equal(world.functions.calls.length, 0);
    await set(found, world.functions.proof('ann'), world);
    assert.equal(found.getAttribute('state'), 'open');
    assert.equal(world.functions.calls.length, 1);
  }
});

test('attack: a token as an attribute is used; twin: the property opens', async () => {
  const world = new World(),
    secret = world.functions.proof('ann');
  const { found, page } = await element(world, { token: secret });
  assert.equal(found.getAttribute('token'), null);
  assert.equal(found.getAttribute('state'), 'failed');
  assert.equal(found.part('detail'), 'The page is not set up right');
  assert.match(page.warnings.join(), /set by property: token/);
  assert.ok(!page.warnings.join().includes(secret));
  assert.equal(world.functions.calls.length, 0, 'nor is anybody asked for as a guest');
  await set(found, world.functions.proof('ann'), world);
  assert.equal(found.getAttribute('state'), 'open');
});

test('another document by a password is asked for anew by whoever comes next', async () => {
  const world = new World(),
    tab = world.tab();
  guestsRead(world);
  tab.page.open({ token: undefined });
  await world.run(1000);
  await tab.page.session.close(true);
  tab.page.open({ token: undefined, password: 'hush' });
  await world.run(1000);
  assert.equal(world.functions.billed, 2);
  assert.ok(!('weboffice' in tab.storage));
  tab.reload().open({ token: undefined });
  await world.run(1000);
  assert.equal(world.functions.billed, 3);
});

test('attack: a password that was typed into the frame opens for the next guest', async () => {
  const { world, tab, session } = await opened({ token: undefined }, guestsRead);
  assert.ok('weboffice' in tab.storage);
  session.instance.tell('filePasswordStatus', { status: 'opened' });
  assert.ok(!('weboffice' in tab.storage));
  tab.reload().open({ token: undefined });
  await world.run(1000);
  assert.equal(world.functions.billed, 2);
});

test('a numeric subject is somebody', async () => {
  const world = new World(),
    tab = world.tab(),
    token = () => world.functions.proof(42);
  tab.page.open({ token });
  await world.run(1000);
  tab.reload().open({ token });
  await world.run(1000);
  assert.equal(world.functions.billed, 1);
});

test('rights of another person are asked for, those of the same one are not', async () => {
  const world = new World();
  world.functions.permission = caller => (/bob/.test(caller) ? VIEW : ALL);
  const { found } = await element(world, {}, { token: world.functions.proof('ann') });
  await set(found, world.functions.proof('ann'), world);
  assert.equal(world.functions.calls.length, 1);
  await set(found, world.functions.proof('bob'), world);
  assert.equal(found.part('role'), 'Read-only');
});

test('attack: another one gets tokens that have no frame yet; twin: the same person', async () => {
  for (const [who, billed] of [
    ['bob', 2],
    ['ann', 1],
  ]) {
    const world = new World();
    world.cdn = 'blocked';
    const { found } = await element(world, {}, { token: world.functions.proof('ann') });
    await world.run(MINUTE);
    assert.equal(found.session.error.code, 'SDK');
    world.cdn = 'up';
    found.token = world.functions.proof(who);
    await world.run(2000);
    assert.equal(found.getAttribute('state'), 'open');
    assert.equal(world.functions.billed, billed);
  }
});

test('a function of another person opens anew; twin: the same one made anew by a render', async () => {
  const world = new World();
  const ann = () => () => world.functions.proof('ann');
  const { found } = await element(world, {}, { token: ann() });
  await set(found, ann(), world);
  assert.equal(world.functions.billed, 1);
  await set(found, () => world.functions.proof('bob'), world);
  assert.equal(world.functions.billed, 2);
  assert.equal(found.getAttribute('state'), 'open');
});

test('what is no token is not sent: an object, or the page to log in that a site answered', async () => {
  for (const value of [{ accessToken: 'x' }, '<!doctype html>\n<p>Please log in', 'Bearer x.y.z', '陈'])
    for (const token of [value, async () => value]) {
      const world = new World();
      const { found, page } = await element(world, {}, { token });
      await world.run(MINUTE);
      assert.equal(found.getAttribute('state'), 'signin');
      assert.match(page.warnings.join(), /Token: token\(\)/);
      assert.equal(world.functions.calls.length, 0);
    }
});
