import assert from 'node:assert/strict';
import test from 'node:test';
import { ALL, HOUR, MINUTE, VIEW, World, count, frameOf, guestsRead, opened } from './world.mjs';

test('a share link leaves the address bar at once and is the proof', async () => {
  const world = new World(),
    { functions } = world,
    token = functions.proof(undefined, { iss: 'links', jti: 'j1' });
  const tab = world.tab({ hash: '#page=2&link=' + token });
  assert.equal(tab.href, 'https://docs.example.com/plan?x=1#page=2');
  assert.equal(tab.page.module.link, token);
  const session = tab.page.open({ token: undefined });
  await world.run(10 * MINUTE);
  assert.equal(session.state, 'open');
  assert.equal(functions.calls[0].bearer, token);
  assert.ok(!JSON.stringify(tab.storage).includes(token));

  const after = tab.reload().open({ token: undefined });
  await world.run(1000);
  assert.equal(after.state, 'open', 'a reload keeps what the link opened');
  assert.equal(functions.billed, 1);
  functions.permission = caller => (caller ? ALL : null);
  await world.run(2 * HOUR);
  assert.equal(after.state, 'open', 'and goes on by itself');
  assert.equal(functions.calls.at(-1).bearer, token);
});

test('a share link is kept with what the page keeps in its history entry', async () => {
  const world = new World(),
    tab = world.tab(),
    token = world.functions.proof(undefined, { iss: 'links', jti: 'j1' });
  tab.state = { scroll: 7 };
  tab.href += '#link=' + token;
  tab.page.open({ token: undefined });
  assert.deepEqual(tab.state, { scroll: 7, weboffice: token });
});

test('attack: a guest continues a link holder’s session; twin: the link', async () => {
  for (const keepsLink of [false, true]) {
    const world = new World(),
      { functions } = world;
    const token = functions.proof(undefined, { iss: 'links', jti: 'j1' });
    guestsRead(world);
    const tab = world.tab({ hash: '#link=' + token });
    tab.page.open({ token: undefined });
    await world.run(1000);
    if (!keepsLink) tab.state = null; // the page's own router wrote its history anew
    const session = tab.reload().open({ token: undefined });
    await world.run(1000);
    assert.equal(functions.billed, keepsLink ? 1 : 2);
    assert.equal(session.permission.Readonly, !keepsLink, 'a guest gets a guest’s rights');
  }
});

test('a fragment keeps everything but the link', async () => {
  for (const [hash, rest] of [
    ['#link=T', ''],
    ['#/link=T', ''], // as a router that has come first writes it
    ['#/route&link=T', '#/route'],
    ['#section&link=T', '#section'],
    ['#link=T&page=2', '#page=2'],
    ['#/a?link=T', '#/a'],
    ['#/a?link=T&b=1', '#/a?b=1'],
    ['#/a?b=1&link=T', '#/a?b=1'],
    ['#a=%20+&link=T&b', '#a=%20+&b'],
    ['#section', '#section'],
    ['#blink=T', '#blink=T'],
    ['#link=', '#link='],
  ]) {
    for (const at of ['https://docs.example.com/plan?x=1', 'https://docs.example.com//plan']) {
      const tab = new World().tab({ hash, at });
      assert.equal(tab.href, at + rest, hash);
      assert.equal(tab.page.module.link, /[#&?/]link=T/.test(hash) ? 'T' : '');
    }
  }
});

test('a login that gives nothing makes nobody a guest; twin: a guest from the start', async () => {
  let away = false;
  const world = new World(),
    { functions } = world,
    { page } = world.tab();
  guestsRead(world);
  const session = page.open({ token: () => (away ? undefined : functions.proof('ann')) });
  await world.run(1000);
  away = true;
  await world.run(26 * MINUTE);
  assert.equal(session.state, 'signin');
  assert.equal(functions.calls.length, 1);
  session.retry();
  await world.run(1000);
  assert.equal(session.state, 'signin', 'still nobody');
  away = false;
  page.say('pageshow');
  await world.run(1000);
  assert.equal(session.state, 'open');
  assert.equal(session.permission.Readonly, false);
  assert.ok(!page.events.includes('changed'));

  const guest = await opened({ token: undefined }, guestsRead);
  await guest.world.run(26 * MINUTE);
  assert.equal(guest.session.state, 'open');
  assert.equal(count(guest.functions, 'refresh'), 1);
});

test('a link that the page itself puts into its address is there at once', async () => {
  const world = new World(),
    { functions } = world,
    tab = world.tab(),
    token = functions.proof(undefined, { iss: 'links', jti: 'j1' });
  functions.permission = caller => (caller ? ALL : null);
  tab.href += '#link=' + token;
  const session = tab.page.open({ token: undefined });
  assert.ok(!tab.href.includes(token));
  await world.run(1000);
  assert.equal(session.state, 'open');
  assert.equal(functions.calls.length, 1);
});

test('a proof of the page’s own goes before the link', async () => {
  const world = new World(),
    tab = world.tab({ hash: '#link=abc' });
  tab.page.open();
  await world.run(1000);
  assert.match(world.functions.calls[0].bearer, /\.signature$/);
});

test('a guest on purpose does not bear the page’s link', async () => {
  const world = new World(),
    tab = world.tab({ hash: '#link=abc' });
  tab.page.open({ token: () => '' });
  await world.run(1000);
  assert.equal(world.functions.calls[0].bearer, '');
});

test('another link on the open page opens what that one may', async () => {
  const world = new World(),
    { functions } = world,
    link = jti => functions.proof(undefined, { iss: 'links', jti });
  const tab = world.tab({ hash: '#link=' + link('one') }),
    session = tab.page.open({ token: undefined });
  await world.run(1000);
  frameOf(session).text = 'unsaved so far';
  const second = link('two');
  tab.href = tab.href.split('#')[0] + '#link=' + second;
  tab.page.say('hashchange');
  assert.ok(!tab.href.includes(second));
  await world.run(1000);
  assert.deepEqual(
    functions.calls.map(call => call.name),
    ['generate', 'generate'],
  );
  assert.equal(functions.calls.at(-1).bearer, second);
  assert.equal(session.state, 'open');
  assert.equal(tab.page.configs.length, 2, 'in a frame of its own');
  assert.equal(world.storage.text, 'unsaved so far');
});

test('another link beside a proof, or the same link again, changes nothing', async () => {
  const world = new World(),
    { functions } = world,
    tab = world.tab(),
    session = tab.page.open();
  await world.run(1000);
  tab.href += '#link=' + functions.proof(undefined, { iss: 'links', jti: 'one' });
  tab.page.say('hashchange');
  await world.run(1000);
  assert.equal(functions.calls.length, 1);
  assert.equal(tab.page.configs.length, 1);
  assert.equal(session.state, 'open');
});

test('attack: an answer to the link of a moment ago wins; twin: its failure', async () => {
  for (const fault of [null, { status: 403 }]) {
    const world = new World(),
      { functions } = world,
      link = jti => functions.proof(undefined, { iss: 'links', jti });
    const tab = world.tab({ hash: '#link=' + link('one') }),
      session = tab.page.open({ token: undefined }),
      second = link('two');
    world.latency = 500;
    functions.permission = caller => (caller === 'links two' ? VIEW : ALL);
    functions.fault = (_, n) => (n === 1 ? fault : null);
    await world.run(100);
    assert.equal(functions.calls.length, 1);
    tab.href = tab.href.split('#')[0] + '#link=' + second;
    tab.page.say('hashchange');
    await world.run(3000);
    assert.equal(session.state, 'open');
    assert.deepEqual(session.permission, VIEW);
    assert.equal(functions.calls.at(-1).bearer, second);
    assert.equal(tab.page.configs.length, 1);
  }
});

test('attack: a link gets what an earlier one left in the tab; twin: the same link', async () => {
  for (const [jti, billed] of [
    ['two', 2],
    ['one', 1],
  ]) {
    const world = new World(),
      { functions } = world,
      link = name => '#link=' + functions.proof(undefined, { iss: 'links', jti: name });
    const tab = world.tab({ hash: link('one') });
    tab.page.open({ token: undefined });
    await world.run(1000);
    tab.href = tab.href.split('#')[0] + link(jti);
    tab.reload().open({ token: undefined });
    await world.run(1000);
    assert.equal(functions.billed, billed);
  }
});

test('any fragment: the link is taken, and the rest stays as it was', () => {
  const world = new World();
  world.seed = 4711;
  const pick = from => from[Math.floor(world.random() * from.length)];
  const parts = ['', '/', 'a', 'a=b', 'link', 'blink=x', '%', '%41=%42', 'ü', '+', 'a=link=T'];
  for (let i = 0; i < 300; i++) {
    const list = Array.from({ length: Math.floor(world.random() * 4) }, () => pick(parts));
    const at = Math.floor(world.random() * (list.length + 1));
    const token = pick(['eyJ.a-_.b', 'T', 'a.b.c']);
    const whole = [...list.slice(0, at), 'link=' + token, ...list.slice(at)].join('&');
    const base = 'https://docs.example.com/plan?x=1';
    const tab = world.tab({ hash: '#' + whole });
    const rest = list.join('&');
    assert.equal(tab.page.module.link, token, whole);
    assert.equal(new URL(tab.href).hash, new URL(base + (rest && '#' + rest)).hash, whole);
    tab.page.unload();
  }
});
