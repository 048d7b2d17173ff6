// Tests of weboffice.js on a clock of their own: browser tabs, the two functions, IMM and the vendor's SDK are small fakes here.
// The SDK has the real one's traps, and the functions keep the contract that pages rely on. Run with: node --test
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { gzipSync } from 'node:zlib';

const source = readFileSync(new URL('weboffice.js', import.meta.url), 'utf8');
const MINUTE = 60e3, HOUR = 60 * MINUTE;
const CDN = 'https://g.alicdn.com', OFFICE = 'https://office.imm.aliyuncs.com', API = 'https://api.example.com';
const URI = 'oss://bucket/plan.docx';
const ALL = { Readonly: false, Rename: true, History: true, Copy: true, Export: true, Print: true };
const VIEW = { ...ALL, Readonly: true, Rename: false, History: false };

const settle = () => new Promise(setImmediate); // all promises that need no timer

// ---- time ----

class Time {
  now = 1.8e12;
  #timers = new Map();
  #last = 0;

  set(owner, call, delay = 0) {
    this.#timers.set(++this.#last, { owner, call, at: this.now + Math.max(1, Math.trunc(delay) || 0), id: this.#last });
    return this.#last;
  }
  clear(id) { this.#timers.delete(id); }
  drop(owner) { for (const [id, timer] of this.#timers) if (timer.owner === owner) this.#timers.delete(id); }

  async run(ms) {
    const end = this.now + ms;
    for (await settle(); ; await settle()) {
      let first = null;
      for (const timer of this.#timers.values()) if (timer.at <= end && (!first || timer.at < first.at)) first = timer;
      if (!first) break;
      this.#timers.delete(first.id);
      this.now = Math.max(this.now, first.at);
      first.call();
    }
    this.now = end;
  }

  // A machine that sleeps: time goes on, its timers do not.
  sleep(ms) {
    this.now += ms;
    for (const timer of this.#timers.values()) timer.at += ms;
  }
}

// ---- the functions, and IMM behind them ----

class Functions {
  life = 30 * MINUTE;
  permission = () => ALL;   // by caller: a Permission, or null where there is no rule
  url = () => OFFICE + '/office/w/1';
  sessionEnd = Infinity;
  keys = 1;
  billed = 0;
  calls = [];
  fault = () => null;       // by call: {status, code, after} or 'cut', 'lost', 'hang', 'html'
  access = new Map();
  #sealed = new Map();
  #serial = 0;

  constructor(time) { this.time = time; }

  proof(sub, more = {}) {
    const part = value => Buffer.from(JSON.stringify(value)).toString('base64url');
    return [part({ alg: 'ES256' }), part({ iss: 'https://login.example.com', sub, name: 'Zoë ✓', n: ++this.#serial, ...more }), 'signature'].join('.');
  }

  answer(url, bearer, body) {
    const name = new URL(url).pathname.slice(1), call = { name, bearer, body, at: this.time.now };
    this.calls.push(call);
    const fault = this.fault(call, this.calls.length);
    if (fault === 'cut' || fault === 'hang') return fault;
    if (fault === 'html') return { status: 502, html: true };
    if (fault?.status) return this.#refuse(fault.status, fault.code || 'Code' + fault.status, fault.after);
    const reply = this[name](call);
    return fault === 'lost' ? 'cut' : reply;
  }

  #refuse(status, Code, after) {
    return { status, after, body: { RequestId: 'R-' + ++this.#serial, Code, Message: 'Sentence.', Recommend: 'Do this.' } };
  }

  #caller(bearer) {
    if (!bearer) return '';
    const claims = JSON.parse(Buffer.from(bearer.split('.')[1], 'base64url'));
    return claims.iss + ' ' + (claims.sub || claims.jti);
  }

  generate({ bearer, body }) {
    const caller = this.#caller(bearer), permission = this.permission(caller);
    if (permission === null) return this.#refuse(caller ? 403 : 401, caller ? 'Forbidden' : 'Unauthenticated');
    return this.#issue({ caller, uri: body.SourceURI, start: this.time.now, permission, url: this.url(permission), grant: { frame: null } });
  }

  refresh({ bearer, body }) {
    const sealed = this.#sealed.get(body.RefreshToken);
    if (!sealed || sealed.keys !== this.keys || sealed.AccessToken !== body.AccessToken) return this.#refuse(400, 'InvalidArgument.RefreshToken');
    const caller = this.#caller(bearer);
    if (caller !== sealed.session.caller) return this.#refuse(400, 'InvalidArgument.RefreshToken');
    const permission = this.permission(caller);
    if (permission === null) return this.#refuse(403, 'Forbidden');
    if (this.time.now > sealed.session.start + this.sessionEnd) return this.#refuse(410, 'SessionEnded');
    if (sealed.repeated && this.time.now < sealed.repeated.at + MINUTE) return sealed.repeated.reply;
    const left = this.access.get(sealed.AccessToken).end - this.time.now, changed = permission !== sealed.session.permission;
    if (!changed && left > this.life * 2 / 3) return { status: 200, body: { ...sealed.body, Timeout: left } };
    const reply = this.#issue(changed ? { ...sealed.session, permission, url: this.url(permission), grant: { frame: null } } : sealed.session);
    sealed.repeated = { at: this.time.now, reply };
    return reply;
  }

  #issue(session) {
    this.billed++;
    const AccessToken = 'access-' + ++this.#serial, RefreshToken = 'sealed-' + this.#serial;
    const body = { RequestId: 'R-' + this.#serial, WebofficeURL: session.url, AccessToken, RefreshToken, Timeout: this.life, Permission: session.permission };
    this.access.set(AccessToken, { end: this.time.now + this.life, grant: session.grant });
    this.#sealed.set(RefreshToken, { session, AccessToken, keys: this.keys, body });
    return { status: 200, body };
  }
}

// ---- the vendor's SDK and its frame ----

function makeSDK(page) {
  const { world: { time, functions } } = page;
  let current;
  const config = options => {
    page.configs.push(options);
    if (current) current.destroy();
    current = undefined;
    try {
      if (!options.mount || page.world.configFails) throw new Error('swallowed');
      current = create(options);
    } catch { /* as the real one does */ }
    return current;
  };
  const create = options => {
    const handlers = {}, frame = { id: Symbol('frame'), token: '', opened: false, end: 0, text: '', alive: true };
    let kept, timer;
    const tell = (name, data) => { if (frame.alive) (handlers[name] || []).forEach(then => then(data)); };
    const lose = reason => { if (frame.state !== reason) { frame.state = reason; tell('error', { reason }); } };
    const post = token => {
      frame.token = token;
      page.posted.push(token);
      if (page.world.mute) return;
      const found = functions.access.get(token);
      if (!found) return lose('tokenInvalid');
      if (time.now >= found.end) return lose('tokenExpired');
      if (!frame.opened || !found.grant.frame) found.grant.frame = frame.id; // the last opener wins
      if (found.grant.frame !== frame.id) return lose('tokenRevoked');
      frame.state = 'open';
      time.clear(frame.end);
      frame.end = time.set(page, () => lose('tokenExpired'), found.end - time.now);
      if (page.world.broken) return time.set(page, () => lose('Fail'), 10);
      if (!frame.opened) {
        frame.opened = true;
        time.set(page, () => tell('fileOpen', { success: true }), 10);
      }
    };
    // Trap: five minutes ahead, whatever the timeout was; hence wild with a short one.
    const schedule = timeout => {
      time.clear(timer);
      if (Object.prototype.toString.call(options.refreshToken) !== '[object Function]') return; // trap: an async function is ignored
      timer = time.set(page, () => {
        page.asked++;
        Promise.resolve().then(() => options.refreshToken()).then(fresh => {
          if (current !== instance || !fresh?.token) return;
          post(fresh.token); // trap: `kept` stays the first one
          schedule(fresh.timeout);
        }, () => {}); // trap: a failed refresh says nothing and is not tried again
      }, Math.max(timeout - 5 * MINUTE, 10));
    };
    const instance = {
      url: options.url, frame, iframe: { style: { cssText: '' } },
      setToken({ token, timeout }) {
        kept = token;
        post(token);
        schedule(timeout);
      },
      ready: () => Promise.resolve(),
      async save() {
        page.saves++;
        if (frame.deaf) return new Promise(() => {});
        if (frame.state !== 'open') return { result: 'fail' };
        tell('fileStatus', { status: 1 });
        const result = frame.text ? 'ok' : 'nochange';
        page.world.storage.text += frame.text;
        frame.text = '';
        return { result };
      },
      destroy() {
        frame.alive = false;
        time.clear(timer);
        time.clear(frame.end);
      },
      sayReady() { post(kept); },
      check() { if (functions.access.get(frame.token).grant.frame !== frame.id) lose('tokenRevoked'); },
      tell,
    };
    const add = (name, then) => (handlers[name] ||= []).push(then);
    page.world.oldSDK ? instance.on = add : instance.ApiEvent = { AddApiEventListener: add };
    return instance;
  };
  return { config };
}

// ---- browser tabs ----

class World {
  time = new Time();
  functions = new Functions(this.time);
  storage = { text: '' };
  locks = new Map();
  lockLag = 0;          // how long a page's locks outlive it
  latency = 0;          // between the functions' answer and its arrival
  cdn = 'up';           // or 'blocked', 'other' (a script, but not the SDK)
  online = true;
  seed = 1;
  random() { return (this.seed = this.seed * 16807 % 2147483647) / 2147483647; }
  tab(options) { return new Tab(this, options); }
  run(ms) { return this.time.run(ms); }
}

class Tab {
  constructor(world, { hash = '', storage = {}, state = null, at = 'https://docs.example.com/plan?x=1' } = {}) {
    this.world = world;
    this.storage = { ...storage };
    this.state = state;
    this.href = at + hash;
    this.page = new Page(this);
  }
  reload() {
    this.page.unload();
    return this.page = new Page(this);
  }
  duplicate() { return new Tab(this.world, { storage: this.storage, state: this.state, at: this.href }); }
}

class Page {
  skew = 0; configs = []; posted = []; asked = 0; saves = 0; hidden = false; scripts = 0; events = []; violations = [];

  constructor(tab) {
    Object.assign(this, { tab, world: tab.world, target: new EventTarget(), locks: [] });
    const page = this, { world } = tab, { time } = world;
    const location = {
      get href() { return tab.href; }, toString: () => tab.href,
      get hash() { const at = tab.href.indexOf('#'); return at < 0 || at === tab.href.length - 1 ? '' : tab.href.slice(at); },
      get pathname() { return new URL(tab.href).pathname; }, get search() { return new URL(tab.href).search; },
    };
    this.window = {};
    if (world.preloaded) this.window.aliyun = makeSDK(this);
    const scope = {
      window: this.window, location, console,
      history: { get state() { return tab.state; }, replaceState: (state, _, url) => { tab.state = state; if (url) tab.href = new URL(url, tab.href).href; } },
      document: {
        get hidden() { return page.hidden; }, documentElement: {}, createElement: tag => tag === 'script' ? {} : new FakeElement(),
        querySelector: selector => selector === '#here' ? new FakeElement() : null,
        head: { append: script => this.#script(script) },
      },
      navigator: { language: world.language || 'en-US', locks: { request: (...given) => this.#lock(...given) } },
      sessionStorage: world.noStorage ? undefined : tab.storage,
      setTimeout: (call, ms) => time.set(page, call, ms), clearTimeout: id => time.clear(id),
      Date: { now: () => Math.floor(time.now + page.skew) },
      Math: Object.assign(Object.create(Math), { random: () => world.random() }),
      fetch: (...given) => this.#fetch(...given),
      AbortSignal: { timeout: ms => { const stop = new AbortController(); time.set(page, () => stop.abort(new Error('timeout')), ms); return stop.signal; } },
      addEventListener: (...given) => this.target.addEventListener(...given),
      HTMLElement: FakeElement, CSSStyleSheet: class { replaceSync(text) { this.text = text; } },
      customElements: { define: (name, type) => { this.defined = [name, type]; } },
      CustomEvent: class extends Event { constructor(type, { detail } = {}) { super(type); this.detail = detail; } },
    };
    const body = source.replace(/^export /gm, '') + '\nreturn { open, texts, link: () => link, WebofficeDocument };';
    this.module = new Function(...Object.keys(scope), '"use strict";' + body)(...Object.values(scope));
  }

  open(options = {}, echo) {
    const { functions } = this.world;
    this.session = this.module.open({
      generate: API + '/generate', refresh: API + '/refresh', document: URI, mount: new FakeElement(), token: () => functions.proof('ann'), ...options,
    }, (name, detail) => {
      this.events.push(name);
      echo?.(name, detail);
    });
    return this.session;
  }

  say(name, values = {}) { this.target.dispatchEvent(Object.assign(new Event(name), values)); }
  violate(blockedURI, effectiveDirective, disposition = 'enforce') { this.say('securitypolicyviolation', { blockedURI, effectiveDirective, disposition }); }

  unload() {
    this.say('pagehide');
    this.world.time.drop(this);
    const free = () => this.locks.forEach(name => { this.world.locks.get(name)?.(); });
    this.world.lockLag ? this.world.time.set(null, free, this.world.lockLag) : free();
    this.gone = true;
  }

  #script(script) {
    this.scripts++;
    const { cdn } = this.world;
    if (this.csp?.[0] === 'script-src') this.violate(script.src, 'script-src-elem');
    this.world.time.set(this, () => {
      if (cdn === 'up' && !this.csp) this.window.aliyun = makeSDK(this);
      cdn === 'blocked' || this.csp?.[0] === 'script-src' ? script.onerror(new Error('blocked')) : script.onload();
    }, 50);
  }

  #lock(name, { signal }, granted) {
    const { locks } = this.world;
    return new Promise((done, fail) => {
      let waiting = true;
      const attempt = () => {
        if (!waiting) return;
        if (locks.has(name)) return void locks.get(name).queue.push(attempt);
        waiting = false;
        const free = () => { locks.delete(name); free.queue.forEach(next => next()); };
        free.queue = [];
        locks.set(name, free);
        this.locks.push(name);
        granted().then(done, fail);
      };
      signal.addEventListener('abort', () => { if (waiting) { waiting = false; fail(signal.reason); } });
      attempt();
    });
  }

  #fetch(url, { method, headers, body, signal }) {
    assert.equal(method, 'POST');
    assert.equal(headers['Content-Type'], 'application/json');
    assert.equal(new URL(url).search, '', 'nothing secret in an address');
    const bearer = headers.Authorization?.replace(/^Bearer /, '') || '';
    return new Promise((done, fail) => {
      const refuse = () => fail(new TypeError('Failed to fetch'));
      if (this.csp?.[0] === 'connect-src') {
        this.world.time.set(this, () => this.violate(this.csp[1], 'connect-src'));
        return refuse();
      }
      signal.addEventListener('abort', () => fail(signal.reason));
      this.world.time.set(this, () => {
        if (!this.world.online) return refuse();
        const reply = this.world.functions.answer(url, bearer, JSON.parse(body));
        if (reply === 'hang') return;
        if (reply === 'cut') return refuse();
        this.world.time.set(this, () => done({
          ok: reply.status < 300, status: reply.status, headers: { get: name => name === 'Retry-After' && reply.after !== undefined ? String(reply.after) : null },
          json: async () => { if (reply.html) throw new SyntaxError('<'); return structuredClone(reply.body); },
        }), this.world.latency);
      }, 20);
    });
  }
}

// Just enough of an element.
class FakeElement extends EventTarget {
  #attributes = new Map();
  children = []; isConnected = false; textContent = '';
  get attributes() { return [...this.#attributes].map(([name, value]) => ({ name, value })); }
  getAttribute(name) { return this.#attributes.get(name) ?? null; }
  setAttribute(name, value) {
    const before = this.getAttribute(name);
    this.#attributes.set(name, String(value));
    if (this.constructor.observedAttributes?.includes(name)) this.attributeChangedCallback(name, before, String(value));
  }
  toggleAttribute(name, on) { on ? this.#attributes.set(name, '') : this.#attributes.delete(name); }
  closest() { return this.lang ? this : null; }
  replaceChildren(...children) { this.children = children; }
  attachShadow() {
    const parts = {};
    const root = {
      adoptedStyleSheets: [],
      set innerHTML(html) { for (const [, id] of html.matchAll(/id=(\w+)/g)) parts[id] = new FakeElement(); },
      getElementById: id => parts[id],
    };
    return this.shadowRoot = root;
  }
  part(id) { return this.shadowRoot.getElementById(id).textContent; }
}

const opened = async (options, setup) => {
  const world = new World();
  setup?.(world);
  const tab = world.tab(), session = tab.page.open(options);
  await world.run(1000);
  return { world, tab, session, functions: world.functions, get page() { return tab.page; } };
};
const frameOf = session => session.instance.frame;
const count = (functions, name) => functions.calls.filter(call => call.name === name).length;

// ---- opening ----

test('opens a document with one call, a fresh proof and the rights that were granted', async () => {
  const { session, page, functions, tab } = await opened({ permission: { Readonly: true }, password: 'hush', parameters: { Hidecmb: true }, config: { mode: 'simple' } },
    world => { world.functions.permission = () => VIEW; });
  assert.equal(session.state, 'open');
  assert.deepEqual(session.permission, VIEW);
  assert.deepEqual(page.events.filter(name => name === 'open'), ['open']);
  assert.equal(functions.calls.length, 1);
  assert.match(session.requestId, /^R-\d+$/);
  assert.deepEqual(functions.calls[0].body, { Hidecmb: true, SourceURI: URI, Permission: { Readonly: true }, Password: 'hush' });
  assert.equal(page.configs.length, 1);
  assert.equal(page.configs[0].mode, 'simple');
  assert.equal(page.configs[0].url, OFFICE + '/office/w/1');
  assert.equal(Object.prototype.toString.call(page.configs[0].refreshToken), '[object Function]');
  assert.ok(page.configs[0].refreshToken().timeout > 20 * MINUTE);
  assert.ok(!JSON.stringify(tab.storage).includes('hush'), 'the password is not stored');
});

test('an SDK that is on the page already is used', async () => {
  const { session, page } = await opened({}, world => { world.preloaded = true; });
  assert.equal(session.state, 'open');
  assert.equal(page.scripts, 0);
});

test('an SDK from before ApiEvent is listened to by on()', async () => {
  const { session } = await opened({}, world => { world.oldSDK = true; });
  assert.equal(session.state, 'open');
});

for (const [name, token] of [['a string', f => f.proof('ann')], ['a function', f => () => f.proof('ann')], ['an async function', f => async () => f.proof('ann')], ['no proof', () => undefined]]) {
  test('token may be ' + name, async () => {
    const world = new World(), session = world.tab().page.open({ token: token(world.functions) });
    await world.run(26 * MINUTE);
    assert.equal(session.state, 'open');
    assert.equal(count(world.functions, 'refresh'), 1);
    assert.equal(world.functions.calls.every(call => !!call.bearer), name !== 'no proof');
  });
}

test('mount may be a selector; a missing option is said by name', async () => {
  const world = new World(), { page } = world.tab();
  for (const missing of ['generate', 'refresh', 'document', 'mount']) {
    assert.throws(() => page.open({ [missing]: undefined }), { code: 'Missing' });
  }
  assert.throws(() => page.open({ mount: '#nowhere' }), { code: 'Missing' });
  page.open({ mount: '#here' });
  await world.run(1000);
  assert.equal(page.session.state, 'open');
});

test('one document per page, until it is closed', async () => {
  const { page, session } = await opened();
  assert.throws(() => page.open(), { code: 'Single', message: /close\(\)/ });
  assert.equal(session.state, 'open', 'the open one is left alone');
  await session.close();
  assert.equal(session.state, 'closed');
  assert.doesNotThrow(() => page.open());
});

// ---- the life of a session ----

test('refreshes at five sixths of a token’s life, and sets each token', async () => {
  const { world, session, page, functions } = await opened();
  await world.run(77 * MINUTE);
  const refreshes = functions.calls.filter(call => call.name === 'refresh');
  assert.equal(refreshes.length, 3);
  for (const [i, call] of refreshes.entries()) assert.ok(Math.abs(call.at - functions.calls[0].at - (i + 1) * 25 * MINUTE) < 5000);
  assert.equal(page.configs.length, 1, 'the same frame');
  session.instance.sayReady();
  assert.equal(page.posted.at(-1), page.posted.at(-2), 'the SDK holds the newest token, also for a frame that says ready again');
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
  const { world, session, functions, page } = await opened({}, world => { world.functions.life = MINUTE; });
  await world.run(3 * 51e3);
  assert.equal(count(functions, 'refresh'), 3);
  assert.equal(session.state, 'open');
  assert.equal(frameOf(session).state, 'open');
  assert.equal(page.asked, 0, 'the SDK, which runs wild below 20 minutes, was told of more');
});

test('eight hours with five reloads cost at most 20 billed calls; the quick start’s page 29 or more', async () => {
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

test('the fake SDK is as treacherous as the real one: an async callback loses the document', async () => {
  const good = await quickStart(null, []);
  assert.equal(good.state, 'open');
  const bad = await quickStart('async', []);
  assert.equal(bad.state, 'tokenExpired');
});

// What the quick start's page does: 25 minutes as the timeout, a plain callback, a new session at each load.
async function quickStart(kind, reloads) {
  const world = new World(), { functions } = world;
  world.preloaded = true;
  let page, instance;
  const load = tab => {
    page = tab.page;
    let last = functions.answer(API + '/generate', functions.proof('ann'), { SourceURI: URI }).body;
    const refresh = () => {
      last = functions.answer(API + '/refresh', functions.proof('ann'), { AccessToken: last.AccessToken, RefreshToken: last.RefreshToken }).body;
      return { token: last.AccessToken, timeout: 25 * MINUTE };
    };
    instance = page.window.aliyun.config({
      mount: {}, url: last.WebofficeURL, refreshToken: kind === 'async' ? async () => refresh() : () => Promise.resolve(refresh()),
    });
    instance.setToken({ token: last.AccessToken, timeout: 25 * MINUTE });
  };
  const tab = world.tab(), start = world.time.now;
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
  let lost = 0, hours = 0, failures = 0;
  for (let run = 0; run < 50; run++) {
    const world = new World(), { page } = world.tab();
    world.seed = 7 + run;
    const kinds = ['cut', 'lost', 'hang', 'html', { status: 503 }, { status: 429, after: 3 }];
    page.open();
    await world.run(1000);
    world.functions.fault = () => world.random() < .05 ? (failures++, kinds[Math.floor(world.random() * kinds.length)]) : null;
    await world.run(20 * HOUR);
    hours += 20;
    if (page.session.state !== 'open' || frameOf(page.session).state !== 'open' || page.events.includes('expired') || page.configs.length !== 1) lost++;
  }
  assert.equal(lost, 0);
  assert.equal(hours, 1000);
  assert.ok(failures > 80, 'failures ' + failures);
});

// ---- failures of the functions ----

test('a failed refresh is repeated before the token ends', async () => {
  const { world, session, functions, page } = await opened();
  functions.fault = call => call.at < functions.calls[0].at + 28 * MINUTE ? 'cut' : null;
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
    functions.fault = () => once && !(once = false) ? { status, after: 90 } : null;
    await world.run(25.5 * MINUTE);
    for (const name of ['online', 'pageshow', 'visibilitychange']) page.say(name); // nor by waking
    session.retry();
    await world.run(3 * MINUTE);
    const [first, second] = functions.calls.filter(call => call.name === 'refresh');
    assert.ok(second.at - first.at >= 90e3);
    assert.equal(session.state, 'open');
  }
});

test('forty guests at once where ten a minute may open: each gets in, none is told that it failed', async () => {
  const world = new World(), asked = [];
  world.seed = 11;
  let tokens = 10, at = world.time.now;
  world.functions.fault = call => {
    tokens = Math.min(10, tokens + (call.at - at) / 6000);
    at = call.at;
    asked.push(at);
    return tokens >= 1 ? (tokens--, null) : { status: 429, after: Math.ceil((1 - tokens) * 6) };
  };
  const pages = Array.from({ length: 40 }, () => world.tab().page);
  for (const page of pages) page.open({ token: undefined });
  await world.run(6 * MINUTE);
  assert.deepEqual(pages.map(page => page.session.state).filter(state => state !== 'open'), []);
  assert.ok(!pages.some(page => page.events.includes('failed')));
  assert.ok(asked.length < 40 * 9, 'requests ' + asked.length);
});

test('pages that are told to wait equally long do not come back at the same moment', async () => {
  const world = new World(), asked = [];
  world.seed = 5;
  world.functions.fault = call => { asked.push(call.at); return { status: 429, after: 10 }; };
  for (let i = 0; i < 10; i++) world.tab().page.open();
  await world.run(12e3);
  const again = asked.slice(10);
  assert.equal(again.length, 10);
  assert.ok(Math.max(...again) - Math.min(...again) > 100);
  assert.ok(Math.min(...again) - asked[0] >= 10e3);
});

test('a token that ends while the functions ask to wait is said to have ended', async () => {
  const { world, session, functions } = await opened();
  functions.fault = call => call.name === 'refresh' ? { status: 503, after: 600 } : null;
  frameOf(session).alive = false; // its frame says nothing of it
  await world.run(29 * MINUTE);
  assert.equal(session.state, 'retrying');
  await world.run(2 * MINUTE);
  assert.equal(session.state, 'expired');
  assert.equal(count(functions, 'refresh'), 1);
});

test('a slow answer does not make a token live longer', async () => {
  const { world, session, functions } = await opened({}, world => { world.latency = 900; });
  const [{ end }] = functions.access.values();
  assert.ok(session.left() > 0 && session.left() <= end - world.time.now);
});

test('a nonsense refusal of generate is a failure, not a loop', async () => {
  const { session, functions } = await opened({}, world => { world.functions.fault = () => ({ status: 400, code: 'InvalidArgument.RefreshToken' }); });
  assert.equal(session.state, 'failed');
  assert.equal(functions.calls.length, 1);
});

test('an answer that got lost after the work was done is asked for again, unbilled', async () => {
  const { world, session, functions, page } = await opened();
  let once = true;
  functions.fault = () => once && !(once = false) ? 'lost' : null;
  await world.run(26 * MINUTE);
  assert.equal(functions.billed, 2);
  assert.equal(count(functions, 'refresh'), 2);
  assert.equal(page.configs.length, 1);
  assert.equal(session.state, 'open');
});

test('a request that never ends is given up within the minute of the functions’ memory', async () => {
  const { world, session, functions } = await opened();
  let once = true;
  functions.fault = () => once && !(once = false) ? 'hang' : null;
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

test('while it asks to sign in, what was written is saved, and a late fileOpen changes nothing', async () => {
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

for (const [status, state] of [[403, 'refused'], [410, 'ended'], [404, 'failed']]) {
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
  const { session, functions, page } = await opened({}, world => { world.functions.permission = () => null; });
  assert.equal(session.state, 'refused');
  assert.equal(functions.calls.length, 1);
  assert.equal(page.configs.length, 0);
  assert.equal(functions.billed, 0);
});

test('a sealed token that cannot be opened any more: generate once, and the person keeps the document', async () => {
  const { world, session, functions, page } = await opened();
  functions.keys = 2;
  await world.run(26 * MINUTE);
  assert.deepEqual(functions.calls.map(call => call.name), ['generate', 'refresh', 'generate']);
  assert.equal(session.state, 'open');
  assert.equal(page.configs.length, 1, 'the same address: the same frame');
  await world.run(25 * MINUTE);
  assert.equal(functions.calls.at(-1).name, 'refresh');
});

test('an answer of something else than the functions is not taken for one', async () => {
  const { session } = await opened({}, world => { world.functions.generate = () => ({ status: 200, body: { hello: 1 } }); });
  assert.equal(session.state, 'opening');
  assert.equal(session.error.code, 'HTTP');
  assert.match(session.error.value, /^https:\/\/api\.example\.com 200$/);
});

test('a token function that fails or never answers is asked again', async () => {
  let mode = 'fail';
  const { world, session } = await opened({ token: () => mode === 'fail' ? Promise.reject(new Error('secret-text')) : mode === 'hang' ? new Promise(() => {}) : world.functions.proof('ann') });
  assert.equal(session.error.code, 'Network');
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

test('functions that cannot be reached at opening: a few tries, then a way out', async () => {
  const { world, session, functions, page } = await opened({}, world => { world.online = false; });
  await world.run(MINUTE);
  assert.equal(session.state, 'failed');
  assert.equal(session.error.code, 'Network');
  world.online = true;
  page.say('online');
  await world.run(1000);
  assert.equal(session.state, 'open');
  assert.equal(functions.billed, 1);
});

// ---- rights that change ----

test('changed rights at another address: saves, mounts anew, says so', async () => {
  const { world, session, functions, page } = await opened();
  let detail;
  session.addEventListener('changed', event => { detail = event.detail; });
  frameOf(session).text = 'written while allowed';
  functions.permission = () => VIEW;
  functions.url = () => OFFICE + '/office/w/2';
  await world.run(26 * MINUTE);
  assert.equal(world.storage.text, 'written while allowed');
  assert.equal(page.configs.length, 2);
  assert.equal(page.configs[1].url, OFFICE + '/office/w/2');
  assert.deepEqual(detail, VIEW);
  assert.deepEqual(session.permission, VIEW);
  assert.equal(session.state, 'open');
});

test('the same address: only the token is set', async () => {
  const { world, session, page } = await opened();
  await world.run(26 * MINUTE);
  assert.equal(page.configs.length, 1);
  assert.ok(!page.events.includes('changed'));
  assert.equal(session.state, 'open');
});

// ---- sleep, networks, clocks ----

test('a sleep of an hour: a reader’s document is there at once', async () => {
  const { world, session, page } = await opened({}, world => { world.functions.permission = () => VIEW; });
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

test('after its token’s end an editor’s frame is asked before it is replaced: unsaved text lives', async () => {
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
    const world = new World(), { page } = world.tab();
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
  const { world, session, functions, page } = await opened({}, world => { world.functions.permission = () => VIEW; });
  page.skew += 26 * MINUTE;
  await world.run(MINUTE);
  assert.equal(functions.billed, 1);
  assert.equal(session.state, 'open');
});

// ---- access taken away ----

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
  const { world, session, functions } = await opened({}, world => { world.broken = true; });
  await world.run(HOUR);
  assert.equal(session.state, 'failed');
  assert.match(session.error.message, /Fail/);
  assert.ok(functions.billed <= 2);
});

test('a frame that says nothing: after half a minute a way out, which costs nothing', async () => {
  const { world, session, functions, page } = await opened({}, world => { world.mute = true; });
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
  const world = new World(), { page } = world.tab(), session = page.open();
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
  const { world, session, page } = await opened({}, world => { world.mute = true; });
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

// ---- tabs ----

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
  const { world, tab, functions } = await opened({}, world => { world.lockLag = 150; });
  const session = tab.reload().open();
  await world.run(1000);
  assert.equal(session.state, 'open');
  assert.equal(functions.calls.length, 1);
});

test('events of a page that is just loading do not run ahead of what the tab has kept', async () => {
  const { world, tab, functions } = await opened({}, world => { world.lockLag = 150; });
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

test('tokens that seem to live longer than they can, after a clock was set back, are not used', async () => {
  const { world, tab, functions } = await opened();
  await world.run(10 * MINUTE);
  tab.reload().skew = -HOUR;
  const session = tab.page.open();
  await world.run(27 * MINUTE);
  assert.equal(session.state, 'open');
  assert.equal(frameOf(session).state, 'open');
  assert.deepEqual(functions.calls.map(call => call.name), ['generate', 'generate', 'refresh']);
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

test('attack: another person reloads the tab and gets the first one’s document; twin: the same person with a fresh proof', async () => {
  for (const [who, billed] of [['bob', 2], ['ann', 1]]) {
    const { world, tab, functions } = await opened();
    const session = tab.reload().open({ token: () => functions.proof(who) });
    await world.run(1000);
    assert.equal(functions.billed, billed, who);
    assert.equal(session.state, 'open');
  }
  const { world, tab, functions } = await opened();
  functions.permission = caller => caller ? ALL : null;
  const session = tab.reload().open({ token: () => '' });
  await world.run(1000);
  assert.equal(session.state, 'signin', 'nor does somebody who signed out');
  assert.equal(session.instance, null);
});

test('attack: proofs that name nobody count as the same person; twin: they open, unkept', async () => {
  const world = new World(), { functions } = world, tab = world.tab();
  for (const billed of [1, 2, 3]) {
    const session = tab.page.open({ token: () => functions.proof(undefined) });
    await world.run(1000);
    assert.equal(session.state, 'open');
    assert.equal(functions.billed, billed);
    assert.ok(!tab.storage.weboffice);
    billed === 1 ? await session.close(true) : tab.reload(); // also where the page holds its lock already
  }
});

test('another document, or other rights asked for, do not get the kept tokens', async () => {
  for (const other of [{ document: 'oss://bucket/other.docx' }, { permission: { Readonly: true } }, { generate: API + '/v2/generate' }]) {
    const { world, tab, functions } = await opened();
    functions['v2/generate'] = functions.generate;
    tab.reload().open(other);
    await world.run(1000);
    assert.equal(functions.billed, 2);
  }
});

test('without storage or locks everything works, and a reload costs a call', async () => {
  const { world, tab, functions } = await opened({}, world => { world.noStorage = true; });
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

// ---- share links ----

test('a share link leaves the address bar at once and is the proof', async () => {
  const world = new World(), { functions } = world, token = functions.proof(undefined, { iss: 'links', jti: 'j1' });
  const tab = world.tab({ hash: '#page=2&link=' + token });
  assert.equal(tab.href, 'https://docs.example.com/plan?x=1#page=2');
  assert.equal(tab.page.module.link(), token);
  const session = tab.page.open({ token: undefined });
  await world.run(10 * MINUTE);
  assert.equal(session.state, 'open');
  assert.equal(functions.calls[0].bearer, token);
  assert.ok(!JSON.stringify(tab.storage).includes(token));

  const after = tab.reload().open({ token: undefined });
  await world.run(1000);
  assert.equal(after.state, 'open', 'a reload keeps what the link opened');
  assert.equal(functions.billed, 1);
  functions.permission = caller => caller ? ALL : null;
  await world.run(2 * HOUR);
  assert.equal(after.state, 'open', 'and goes on by itself');
  assert.equal(functions.calls.at(-1).bearer, token);
});

test('a share link is kept with what the page keeps in its history entry', async () => {
  const world = new World(), tab = world.tab(), token = world.functions.proof(undefined, { iss: 'links', jti: 'j1' });
  tab.state = { scroll: 7 };
  tab.href += '#link=' + token;
  tab.page.open({ token: undefined });
  assert.deepEqual(tab.state, { scroll: 7, weboffice: token });
});

// Where anyone may read, a holder of more rights whose proof is gone for a moment must not become a guest in silence.
const guestsRead = world => { world.functions.permission = caller => caller ? ALL : VIEW; };

test('a link holder whose link is gone after a reload is asked for it, and is not made a guest', async () => {
  const world = new World(), { functions } = world, token = functions.proof(undefined, { iss: 'links', jti: 'j1' });
  guestsRead(world);
  const tab = world.tab({ hash: '#link=' + token });
  tab.page.open({ token: undefined });
  await world.run(1000);
  tab.state = null; // the page's own router wrote its history anew
  const session = tab.reload().open({ token: undefined });
  await world.run(1000);
  assert.equal(functions.billed, 1);
  frameOf(session).text = 'written before';
  await world.run(26 * MINUTE);
  assert.equal(session.state, 'signin');
  assert.equal(session.error.status, 401);
  assert.equal(session.permission.Readonly, false);
  assert.ok(session.instance, 'the document stays');
  assert.equal(world.storage.text, 'written before', 'and is saved');
  assert.equal(functions.calls.length, 1, 'nothing was sent without the proof');
  tab.href = tab.href.split('#')[0] + '#link=' + token;
  tab.page.say('hashchange');
  await world.run(1000);
  assert.equal(session.state, 'open');
  assert.equal(session.permission.Readonly, false);
});

test('a login that gives nothing for a moment does not make its person a guest; twin: a guest from the start', async () => {
  let away = false;
  const world = new World(), { functions } = world, { page } = world.tab();
  guestsRead(world);
  const session = page.open({ token: () => away ? undefined : functions.proof('ann') });
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
  const world = new World(), { functions } = world, tab = world.tab(), token = functions.proof(undefined, { iss: 'links', jti: 'j1' });
  functions.permission = caller => caller ? ALL : null;
  tab.href += '#link=' + token;
  const session = tab.page.open({ token: undefined });
  assert.ok(!tab.href.includes(token));
  await world.run(1000);
  assert.equal(session.state, 'open');
  assert.equal(functions.calls.length, 1);
});

test('a proof of the page’s own goes before the link', async () => {
  const world = new World(), tab = world.tab({ hash: '#link=abc' });
  tab.page.open();
  await world.run(1000);
  assert.match(world.functions.calls[0].bearer, /\.signature$/);
});

test('a guest on purpose does not bear the page’s link', async () => {
  const world = new World(), tab = world.tab({ hash: '#link=abc' });
  tab.page.open({ token: () => '' });
  await world.run(1000);
  assert.equal(world.functions.calls[0].bearer, '');
});

test('another link on the open page opens what that one may', async () => {
  const world = new World(), { functions } = world, link = jti => functions.proof(undefined, { iss: 'links', jti });
  const tab = world.tab({ hash: '#link=' + link('one') }), session = tab.page.open({ token: undefined });
  await world.run(1000);
  frameOf(session).text = 'unsaved so far';
  const second = link('two');
  tab.href = tab.href.split('#')[0] + '#link=' + second;
  tab.page.say('hashchange');
  assert.ok(!tab.href.includes(second));
  await world.run(1000);
  assert.deepEqual(functions.calls.map(call => call.name), ['generate', 'generate']);
  assert.equal(functions.calls.at(-1).bearer, second);
  assert.equal(session.state, 'open');
  assert.equal(tab.page.configs.length, 2, 'in a frame of its own');
  assert.equal(world.storage.text, 'unsaved so far');
});

test('another link where the page brings its own proof, or the same link again, changes nothing', async () => {
  const world = new World(), { functions } = world, tab = world.tab(), session = tab.page.open();
  await world.run(1000);
  tab.href += '#link=' + functions.proof(undefined, { iss: 'links', jti: 'one' });
  tab.page.say('hashchange');
  await world.run(1000);
  assert.equal(functions.calls.length, 1);
  assert.equal(tab.page.configs.length, 1);
  assert.equal(session.state, 'open');
});

test('attack: an answer to the link of a moment ago wins over the new one’s; twin: a failure of the old one ends nothing', async () => {
  for (const fault of [null, { status: 403 }]) {
    const world = new World(), { functions } = world, link = jti => functions.proof(undefined, { iss: 'links', jti });
    const tab = world.tab({ hash: '#link=' + link('one') }), session = tab.page.open({ token: undefined }), second = link('two');
    world.latency = 500;
    functions.permission = caller => caller === 'links two' ? VIEW : ALL;
    functions.fault = (_, n) => n === 1 ? fault : null;
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

test('attack: a link opened in a tab gets what an earlier link left there; twin: the same link', async () => {
  for (const [jti, billed] of [['two', 2], ['one', 1]]) {
    const world = new World(), { functions } = world, link = name => '#link=' + functions.proof(undefined, { iss: 'links', jti: name });
    const tab = world.tab({ hash: link('one') });
    tab.page.open({ token: undefined });
    await world.run(1000);
    tab.href = tab.href.split('#')[0] + link(jti);
    tab.reload().open({ token: undefined });
    await world.run(1000);
    assert.equal(functions.billed, billed);
  }
});

// ---- what stands in the way of the editor ----

test('a blocked CDN: says what to allow, and goes on without another call when it is allowed', async () => {
  const { world, session, functions, page } = await opened({}, world => { world.cdn = 'blocked'; });
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
  const { world, session } = await opened({}, world => { world.cdn = 'other'; });
  await world.run(MINUTE);
  assert.equal(session.error.code, 'SDK');
});

for (const [directive, address] of [['script-src', CDN], ['connect-src', API], ['frame-src', OFFICE]]) {
  test('a Content-Security-Policy without ' + directive + ' is named, once', async () => {
    const world = new World(), { page } = world.tab();
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
    assert.ok(page.session.error.message.endsWith(directive + ' ' + address), page.session.error.message);
    assert.equal(page.session.instance, null);
    assert.equal(page.events.filter(name => name === 'error').length, 1);
    assert.ok(world.functions.calls.length <= 1);
  });
}

test('refusals that are not ours, or only reported, change nothing', async () => {
  const { world, session, functions, page } = await opened({ generate: 'https://docs.example.com/generate', refresh: 'https://docs.example.com/refresh' });
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
  for (const [reply, value] of [['html', '502'], ['null', '200']]) {
    const world = new World();
    if (reply === 'null') world.functions.generate = () => ({ status: 200, body: null });
    else world.functions.fault = () => reply;
    const { found } = await element(world);
    assert.equal(found.session.error.code, 'HTTP');
    assert.ok(found.session.error.retry);
    assert.equal(found.part('detail'), 'Unexpected answer: https://api.example.com ' + value);
  }
});

test('a config() that returns undefined says what to check; trying again costs nothing', async () => {
  const { world, session, functions } = await opened({}, world => { world.configFails = true; });
  assert.equal(session.state, 'failed');
  assert.equal(session.error.code, 'Config');
  world.configFails = false;
  session.retry();
  await world.run(1000);
  assert.equal(session.state, 'open');
  assert.equal(functions.billed, 1);
});

// ---- saving ----

test('save() says what came of it, and asks nobody while read-only', async () => {
  const { session, page } = await opened();
  assert.equal(await session.save(), 'nochange');
  frameOf(session).text = 'x';
  assert.equal(await session.save(), 'ok');
  frameOf(session).state = 'tokenExpired';
  assert.equal(await session.save(), 'fail');
  const reader = await opened({}, world => { world.functions.permission = () => VIEW; });
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
  assert.deepEqual(said, ['', 'saved', 'unsaved', 'unsaved', 'saving', 'unsaved', 'saving', 'saved']);
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
  assert.equal(tab.storage.weboffice, '0');
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
  const world = new World(), { page } = world.tab(), session = page.open();
  await world.run(5);
  await session.close();
  await world.run(MINUTE);
  assert.equal(session.state, 'closed');
  assert.equal(page.configs.length, 0);
  assert.equal(page.tab.storage.weboffice, '0', 'and nothing is kept');
});

test('closed while the proof or the SDK is under way: no call, no frame', async () => {
  const world = new World(), { page } = world.tab();
  let give;
  const session = page.open({ token: () => new Promise(done => { give = done; }) });
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

// ---- the element ----

const element = async (world, attributes = {}, properties = {}) => {
  const { page } = world.tab(), [name, type] = page.defined;
  assert.equal(name, 'weboffice-document');
  const found = Object.assign(new type(), properties);
  for (const [key, value] of Object.entries({ src: URI, generate: API + '/generate', refresh: API + '/refresh', ...attributes })) found.setAttribute(key, value);
  found.isConnected = true;
  found.connectedCallback();
  await world.run(1000);
  return { page, found };
};

test('the element opens what its attributes say, and tells its state', async () => {
  const world = new World(), { found, page } = await element(world, { readonly: '' });
  assert.equal(found.getAttribute('state'), 'open');
  assert.equal(world.functions.calls.length, 1);
  assert.deepEqual(world.functions.calls[0].body, { SourceURI: URI, Permission: { Readonly: true } });
  assert.equal(page.configs[0].mount, found.children[0], 'the frame is mounted in the page’s own tree');
  assert.equal(found.part('role'), 'Editing');
  const heard = [];
  for (const name of ['refreshed', 'saved']) found.addEventListener(name, () => heard.push(name));
  found.session.instance.tell('fileStatus', { status: 7 });
  assert.equal(found.part('file'), 'Saved');
  await world.run(26 * MINUTE);
  assert.deepEqual(heard, ['saved', 'saved', 'refreshed']);
});

test('the element taken out and put back opens again without a call', async () => {
  const world = new World(), { found } = await element(world);
  found.isConnected = false;
  found.disconnectedCallback();
  assert.equal(found.session, null);
  await world.run(1000);
  found.isConnected = true;
  found.connectedCallback();
  await world.run(1000);
  assert.equal(found.getAttribute('state'), 'open');
  assert.equal(world.functions.billed, 1);
});

test('the element with another src closes the first document, saving it', async () => {
  const world = new World(), { found } = await element(world);
  frameOf(found.session).text = 'kept';
  found.setAttribute('src', 'oss://bucket/next.docx');
  found.setAttribute('readonly', '');
  await world.run(1000);
  assert.equal(world.storage.text, 'kept');
  assert.equal(world.functions.calls.length, 2, 'two attributes, one opening');
  assert.equal(world.functions.calls[1].body.SourceURI, 'oss://bucket/next.docx');
  assert.equal(found.getAttribute('state'), 'open');
});

test('the element without a document waits; a missing attribute is said', async () => {
  const world = new World(), { found } = await element(world, { src: '' });
  assert.equal(found.getAttribute('state'), 'closed');
  const other = await element(new World(), { refresh: '' });
  assert.equal(other.found.getAttribute('state'), 'failed');
  assert.match(other.found.part('detail'), /^Missing: generate, refresh/);
  assert.equal(other.found.part('way'), 'Try again');
});

test('two elements: the second says why it does not open', async () => {
  const world = new World(), { found, page } = await element(world);
  const second = new page.defined[1]();
  for (const { name, value } of found.attributes) if (/src|gen|ref/.test(name)) second.setAttribute(name, value);
  second.isConnected = true;
  second.connectedCallback();
  await world.run(1000);
  assert.equal(found.getAttribute('state'), 'open');
  assert.match(second.part('detail'), /^Single: close\(\)/);
});

test('a proof that comes late is used', async () => {
  const world = new World();
  world.functions.permission = caller => caller ? ALL : null;
  const { found } = await element(world);
  assert.equal(found.getAttribute('state'), 'signin');
  found.token = () => world.functions.proof('ann');
  await world.run(1000);
  assert.equal(found.getAttribute('state'), 'open');
});

test('a proof that is set after a guest’s document has opened opens it anew; twin: the same person’s next proof', async () => {
  const world = new World();
  guestsRead(world);
  const { found, page } = await element(world);
  assert.equal(found.part('role'), 'Read-only');
  found.token = () => world.functions.proof('ann');
  await world.run(1000);
  assert.equal(found.part('role'), 'Editing');
  assert.equal(found.getAttribute('state'), 'open');
  assert.equal(world.functions.billed, 2);
  frameOf(found.session).text = 'Ann’s';
  found.token = world.functions.proof('ann');
  await world.run(1000);
  assert.equal(world.functions.calls.length, 2);
  assert.equal(page.configs.length, 2);
  assert.equal(found.getAttribute('state'), 'open');
  found.token = world.functions.proof('bob');
  await world.run(1000);
  assert.equal(world.functions.calls.length, 3);
  assert.equal(world.storage.text, 'Ann’s', 'saved before it changes hands');
  assert.equal(found.getAttribute('state'), 'open');
});

test('a proof that is set helps whoever was refused', async () => {
  const world = new World();
  world.functions.permission = caller => /bob/.test(caller) ? ALL : null;
  const { found } = await element(world, {}, { token: world.functions.proof('ann') });
  assert.equal(found.getAttribute('state'), 'refused');
  found.token = world.functions.proof('bob');
  await world.run(1000);
  assert.equal(found.getAttribute('state'), 'open');
});

test('words say their language; the frame has a title', async () => {
  const { found } = await element(new World(), {}, { lang: 'fr' });
  assert.equal(found.shadowRoot.getElementById('role').lang, 'en');
  assert.equal(found.session.instance.iframe.title, 'WebOffice');
  const other = await element(new World(), {}, { lang: 'zh' });
  assert.equal(other.found.shadowRoot.getElementById('role').lang, 'zh');
});

test('problems show a sentence, the RequestId and a way out', async () => {
  const world = new World();
  world.functions.permission = () => null;
  const { found } = await element(world, {}, { token: 'a.' + Buffer.from('{"iss":"i","sub":"s"}').toString('base64url') + '.c' });
  assert.equal(found.part('title'), 'You have no access');
  assert.match(found.part('detail'), /^Forbidden: Sentence\. Do this\. RequestId R-\d+$/);
  assert.equal(found.part('way'), 'Try again');
  world.functions.permission = () => VIEW;
  const cover = found.shadowRoot.getElementById('cover');
  let focused = 0;
  cover.focus = () => focused++;
  found.shadowRoot.getElementById('way').onclick({ target: { parentNode: cover } });
  assert.equal(focused, 1, 'the button goes, the focus does not fall to the page');
  await world.run(1000);
  assert.equal(found.getAttribute('state'), 'open');
  assert.equal(found.part('role'), 'Read-only');
  assert.equal(found.part('detail'), '');
});

test('texts: Chinese by the browser’s or the page’s language, replaceable by page and by element', async () => {
  const chinese = new World();
  chinese.language = 'zh-CN';
  assert.equal((await element(chinese)).found.part('role'), '可编辑');
  const { found, page } = await element(new World(), {}, { lang: 'fr' });
  assert.equal(found.part('role'), 'Editing');
  page.module.texts.fr = { editing: 'Modification' };
  found.session.instance.tell('fileStatus', { status: 7 });
  assert.equal(found.part('role'), 'Modification');
  assert.equal(found.part('file'), 'Saved', 'what a language lacks is English');
  found.texts = { editing: 'Yours' };
  found.session.instance.tell('fileStatus', { status: 7 });
  assert.equal(found.part('role'), 'Yours');
});

test('every state and every problem that people meet has its words in both languages', () => {
  const { texts } = new World().tab().page.module;
  for (const key of ['opening', 'editing', 'readonly', 'saving', 'saved', 'unsaved', 'retrying', 'expired', 'signin', 'taken', 'refused', 'ended', 'failed', 'retry', 'take', 'Network', 'HTTP', 'SDK', 'CSP', 'Frame']) {
    assert.ok(texts.en[key], 'en ' + key);
    assert.ok(texts.zh[key], 'zh ' + key);
  }
  for (const key of Object.keys(texts.zh)) assert.ok(texts.en[key], key);
});

// ---- the file ----

test('the file needs nothing and stays small', () => {
  assert.doesNotMatch(source, /^\s*import\b|\brequire\(|\bconsole\./m);
  const bare = source.replace(/\/\*[^]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '').replace(/ \/\/ .*$/gm, '').replace(/^\s+/gm, '').replace(/ *([{}();,=>?:|&+*/-]) */g, '$1');
  const size = gzipSync(bare, { level: 9 }).length; // a minifier, which shortens names as well, gets it under 5 KB
  assert.ok(size < 6200, 'without comments and spaces ' + size);
});
