// A world for the module's tests, on a clock of its own: browser tabs, the two functions, IMM and
// the vendor's SDK are small fakes. The SDK has the real one's traps, and the functions keep the
// contract that pages rely on.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

export const source = readFileSync(new URL('../weboffice.js', import.meta.url), 'utf8');
// The module as a function that gives its exports, so that each page gets its own.
const body = source.replace(
  /export\s*{([^}]*)};?\s*$/,
  (_, names) =>
    'return {' +
    names
      .split(',')
      .map(name => name.trim().split(' as '))
      .map(([local, shown = local]) => `get ${shown}() { return ${local}; }`)
      .join(', ') +
    '};',
);
export const MINUTE = 60e3,
  HOUR = 60 * MINUTE;
export const CDN = 'https://g.alicdn.com',
  OFFICE = 'https://office.imm.aliyuncs.com',
  API = 'https://api.example.com';
export const URI = 'oss://bucket/plan.docx';
const EVENTS =
  ('waiting opening open retrying expired signin taken refused ended failed closed ' +
    'refreshed changed error saving saved unsaved frame').split(
    ' ',
  );
export const ALL = {
  Readonly: false,
  Rename: true,
  History: true,
  Copy: true,
  Export: true,
  Print: true,
};
export const VIEW = { ...ALL, Readonly: true, Rename: false, History: false };

export const settle = () => new Promise(setImmediate); // all promises that need no timer

// ---- time ----

class Time {
  now = 1.8e12;
  #timers = new Map();
  #last = 0;

  set(owner, call, delay = 0) {
    this.#timers.set(++this.#last, {
      owner,
      call,
      at: this.now + Math.max(1, Math.trunc(delay) || 0),
      id: this.#last,
    });
    return this.#last;
  }
  clear(id) {
    this.#timers.delete(id);
  }
  drop(owner) {
    for (const [id, timer] of this.#timers) if (timer.owner === owner) this.#timers.delete(id);
  }

  async run(ms) {
    const end = this.now + ms;
    for (await settle(); ; await settle()) {
      let first = null;
      for (const timer of this.#timers.values())
        if (timer.at <= end && (!first || timer.at < first.at)) first = timer;
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
  permission = () => ALL; // by caller: a Permission, or null where there is no rule
  url = () => OFFICE + '/office/w/1';
  sessionEnd = Infinity;
  keys = 1;
  billed = 0;
  calls = [];
  fault = () => null; // by call: {status, code, after} or 'cut', 'lost', 'hang', 'html'
  access = new Map();
  #sealed = new Map();
  #serial = 0;

  constructor(time) {
    this.time = time;
  }

  proof(sub, more = {}) {
    const part = value => Buffer.from(JSON.stringify(value)).toString('base64url');
    return [
      part({ alg: 'ES256' }),
      part({ iss: 'https://login.example.com', sub, name: 'Zoë ✓', n: ++this.#serial, ...more }),
      'signature',
    ].join('.');
  }

  answer(url, bearer, body) {
    const name = new URL(url).pathname.slice(1),
      call = { name, bearer, body, at: this.time.now };
    this.calls.push(call);
    const fault = this.fault(call, this.calls.length);
    if (fault === 'cut' || fault === 'hang') return fault;
    if (fault === 'html') return { status: 502, html: true };
    if (fault?.html) return fault;
    if (fault?.status)
      return this.#refuse(fault.status, fault.code || 'Code' + fault.status, fault.after);
    const reply = this[name](call);
    return fault === 'lost' ? 'cut' : reply;
  }

  #refuse(status, Code, after) {
    return {
      status,
      after,
      body: { RequestId: 'R-' + ++this.#serial, Code, Message: 'Sentence.', Recommend: 'Do this.' },
    };
  }

  #caller(bearer) {
    if (!bearer) return '';
    const claims = JSON.parse(Buffer.from(bearer.split('.')[1], 'base64url'));
    return claims.iss + ' ' + (claims.sub || claims.jti);
  }

  generate({ bearer, body }) {
    const caller = this.#caller(bearer),
      permission = this.permission(caller);
    if (permission === null)
      return this.#refuse(caller ? 403 : 401, caller ? 'Forbidden' : 'Unauthenticated');
    return this.#issue({
      caller,
      uri: body.SourceURI,
      start: this.time.now,
      permission,
      url: this.url(permission),
      grant: { frame: null },
    });
  }

  refresh({ bearer, body }) {
    const sealed = this.#sealed.get(body.RefreshToken);
    if (!sealed || sealed.keys !== this.keys || sealed.AccessToken !== body.AccessToken)
      return this.#refuse(400, 'InvalidArgument.RefreshToken');
    const caller = this.#caller(bearer);
    if (caller !== sealed.session.caller) return this.#refuse(400, 'InvalidArgument.RefreshToken');
    const permission = this.permission(caller);
    if (permission === null) return this.#refuse(403, 'Forbidden');
    if (this.time.now > sealed.session.start + this.sessionEnd)
      return this.#refuse(410, 'SessionEnded');
    if (sealed.repeated && this.time.now < sealed.repeated.at + MINUTE)
      return sealed.repeated.reply;
    const left = this.access.get(sealed.AccessToken).end - this.time.now,
      changed = permission !== sealed.session.permission;
    if (!changed && left > (this.life * 2) / 3)
      return { status: 200, body: { ...sealed.body, Timeout: left } };
    const reply = this.#issue(
      changed
        ? { ...sealed.session, permission, url: this.url(permission), grant: { frame: null } }
        : sealed.session,
    );
    sealed.repeated = { at: this.time.now, reply };
    return reply;
  }

  #issue(session) {
    this.billed++;
    const AccessToken = 'access-' + ++this.#serial,
      RefreshToken = 'sealed-' + this.#serial;
    const body = {
      RequestId: 'R-' + this.#serial,
      WebofficeURL: session.url,
      AccessToken,
      RefreshToken,
      Timeout: this.life,
      Permission: session.permission,
    };
    this.access.set(AccessToken, { end: this.time.now + this.life, grant: session.grant });
    this.#sealed.set(RefreshToken, { session, AccessToken, keys: this.keys, body });
    return { status: 200, body };
  }
}

// ---- the vendor's SDK and its frame ----

function makeSDK(page) {
  const {
    world: { time, functions },
  } = page;
  let current;
  const config = options => {
    page.configs.push(options);
    if (current) current.destroy();
    current = undefined;
    try {
      if (!options.mount || page.world.configFails) throw new Error('swallowed');
      current = create(options);
    } catch {
      /* as the real one does */
    }
    return current;
  };
  const create = options => {
    const handlers = {},
      frame = { id: Symbol('frame'), token: '', opened: false, end: 0, text: '', alive: true };
    let kept, timer;
    const tell = (name, data) => {
      if (frame.alive) (handlers[name] || []).forEach(then => then(data));
    };
    const lose = reason => {
      if (frame.state !== reason) {
        frame.state = reason;
        tell('error', { reason });
      }
    };
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
      // trap: an async function is ignored
      if (Object.prototype.toString.call(options.refreshToken) !== '[object Function]') return;
      timer = time.set(
        page,
        () => {
          page.asked++;
          Promise.resolve()
            .then(() => options.refreshToken())
            .then(
              fresh => {
                if (current !== instance || !fresh?.token) return;
                post(fresh.token); // trap: `kept` stays the first one
                schedule(fresh.timeout);
              },
              () => {},
            ); // trap: a failed refresh says nothing and is not tried again
        },
        Math.max(timeout - 5 * MINUTE, 10),
      );
    };
    const instance = {
      url: options.url,
      frame,
      iframe: { style: { cssText: '' } },
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
      sayReady() {
        post(kept);
      },
      check() {
        if (functions.access.get(frame.token).grant.frame !== frame.id) lose('tokenRevoked');
      },
      tell,
    };
    const add = (name, then) => (handlers[name] ||= []).push(then);
    page.world.oldSDK ? (instance.on = add) : (instance.ApiEvent = { AddApiEventListener: add });
    return instance;
  };
  return { config };
}

// ---- browser tabs ----

export class World {
  time = new Time();
  functions = new Functions(this.time);
  storage = { text: '' };
  locks = new Map();
  lockLag = 0; // how long a page's locks outlive it
  latency = 0; // between the functions' answer and its arrival
  cdn = 'up'; // or 'blocked', 'other' (a script, but not the SDK)
  online = true;
  seed = 1;
  random() {
    return (this.seed = (this.seed * 16807) % 2147483647) / 2147483647;
  }
  tab(options) {
    return new Tab(this, options);
  }
  run(ms) {
    return this.time.run(ms);
  }
}

class Tab {
  constructor(
    world,
    { hash = '', storage = {}, state = null, at = 'https://docs.example.com/plan?x=1' } = {},
  ) {
    this.world = world;
    this.storage = { ...storage };
    this.state = state;
    this.href = at + hash;
    this.page = new Page(this);
  }
  reload() {
    this.page.unload();
    return (this.page = new Page(this));
  }
  duplicate() {
    return new Tab(this.world, { storage: this.storage, state: this.state, at: this.href });
  }
}

class Page {
  skew = 0;
  configs = [];
  posted = [];
  asked = 0;
  saves = 0;
  hidden = false;
  scripts = 0;
  events = [];
  warnings = [];

  constructor(tab) {
    Object.assign(this, { tab, world: tab.world, target: new EventTarget(), locks: [] });
    const page = this,
      { world } = tab,
      { time } = world;
    const location = {
      get href() {
        return tab.href;
      },
      toString: () => tab.href,
      get hash() {
        const at = tab.href.indexOf('#');
        return at < 0 || at === tab.href.length - 1 ? '' : tab.href.slice(at);
      },
    };
    this.window = {};
    if (world.preloaded) this.window.aliyun = makeSDK(this);
    const scope = {
      window: this.window,
      location,
      globalThis: this.window,
      console: { warn: (...words) => this.warnings.push(words.join(' ')) },
      history: {
        get state() {
          return tab.state;
        },
        replaceState: (state, _, url) => {
          tab.state = state;
          if (url) tab.href = new URL(url, tab.href).href;
        },
      },
      document: {
        get hidden() {
          return page.hidden;
        },
        createElement: () => new FakeElement(),
        querySelector: selector => (selector === '#here' ? new FakeElement() : null),
        head: { append: script => this.#script(script) },
        createElementNS: () => new FakeElement(),
      },
      navigator: {
        language: world.language || 'en-US',
        locks: { request: (...given) => this.#lock(...given) },
      },
      sessionStorage: world.noStorage
        ? undefined
        : {
            getItem: key => tab.storage[key] ?? null,
            setItem: (key, text) => {
              tab.storage[key] = text;
            },
            removeItem: key => {
              delete tab.storage[key];
            },
          },
      setTimeout: (call, ms) => time.set(page, call, ms),
      clearTimeout: id => time.clear(id),
      Date: { now: () => Math.floor(time.now + page.skew) },
      Math: Object.assign(Object.create(Math), { random: () => world.random() }),
      fetch: (...given) => this.#fetch(...given),
      addEventListener: (...given) => this.target.addEventListener(...given),
      HTMLElement: FakeElement,
      CSSStyleSheet: class {
        replaceSync(text) {
          this.text = text;
        }
      },
      customElements: {
        define: (name, type) => {
          this.defined = [name, type];
        },
        get: () => this.defined?.[1],
      },
      CustomEvent: class extends Event {
        constructor(type, { detail } = {}) {
          super(type);
          this.detail = detail;
        }
      },
    };
    this.load = () =>
      new Function(...Object.keys(scope), '"use strict";' + body)(...Object.values(scope));
    this.module = this.load();
  }

  open(options = {}) {
    const { functions } = this.world;
    this.session = this.module.open({
      generate: API + '/generate',
      refresh: API + '/refresh',
      document: URI,
      mount: new FakeElement(),
      token: () => functions.proof('ann'),
      ...options,
    });
    for (const name of EVENTS) this.session.addEventListener(name, () => this.events.push(name));
    return this.session;
  }

  say(name, values = {}) {
    this.target.dispatchEvent(Object.assign(new Event(name), values));
  }
  violate(blockedURI, effectiveDirective, disposition = 'enforce') {
    this.say('securitypolicyviolation', { blockedURI, effectiveDirective, disposition });
  }

  unload() {
    this.say('pagehide');
    this.world.time.drop(this);
    const free = () =>
      this.locks.forEach(name => {
        this.world.locks.get(name)?.();
      });
    this.world.lockLag ? this.world.time.set(null, free, this.world.lockLag) : free();
    this.gone = true;
  }

  #script(script) {
    this.scripts++;
    this.script = script;
    const { cdn } = this.world;
    if (this.csp?.[0] === 'script-src') this.violate(script.src, 'script-src-elem');
    this.world.time.set(
      this,
      () => {
        if (cdn === 'up' && !this.csp) this.window.aliyun = makeSDK(this);
        cdn === 'blocked' || this.csp?.[0] === 'script-src'
          ? script.onerror(new Error('blocked'))
          : script.onload();
      },
      50,
    );
  }

  #lock(name, { signal }, granted) {
    const { locks } = this.world;
    return new Promise((done, fail) => {
      let waiting = true;
      const attempt = () => {
        if (!waiting) return;
        if (locks.has(name)) return void locks.get(name).queue.push(attempt);
        waiting = false;
        const free = () => {
          locks.delete(name);
          free.queue.forEach(next => next());
        };
        free.queue = [];
        locks.set(name, free);
        this.locks.push(name);
        granted().then(done, fail);
      };
      signal.addEventListener('abort', () => {
        if (waiting) {
          waiting = false;
          fail(signal.reason);
        }
      });
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
      this.world.time.set(
        this,
        () => {
          if (!this.world.online) return refuse();
          const reply = this.world.functions.answer(url, bearer, JSON.parse(body));
          if (reply === 'hang') return;
          if (reply === 'cut') return refuse();
          this.world.time.set(
            this,
            () =>
              done({
                ok: reply.status < 300,
                status: reply.status,
                headers: {
                  get: name =>
                    name === 'Retry-After' && reply.after !== undefined
                      ? String(reply.after)
                      : null,
                },
                json: async () => {
                  if (reply.html) throw new SyntaxError('<');
                  return structuredClone(reply.body);
                },
              }),
            this.world.latency,
          );
        },
        20,
      );
    });
  }
}

// Just enough of an element.
export class FakeElement extends EventTarget {
  #attributes = new Map();
  children = [];
  isConnected = false;
  text = '';
  style = {};
  constructor() {
    super();
    FakeElement.early?.(this);
    FakeElement.early = null;
  }
  get textContent() {
    return this.text;
  }
  set textContent(text) {
    this.text = text;
    this.writes = (this.writes || 0) + 1;
  }
  getAttribute(name) {
    return this.#attributes.get(name) ?? null;
  }
  hasAttribute(name) {
    return this.#attributes.has(name);
  }
  setAttribute(name, value) {
    this.#change(name, String(value));
  }
  removeAttribute(name) {
    this.#change(name, null);
  }
  toggleAttribute(name, on) {
    this.#change(name, on ? '' : null);
  }
  #change(name, value) {
    const before = this.getAttribute(name);
    value === null ? this.#attributes.delete(name) : this.#attributes.set(name, value);
    const { observedAttributes = [] } = this.constructor;
    if (observedAttributes.includes(name)) this.attributeChangedCallback(name, before, value);
  }
  append(...children) {
    this.children.push(...children);
  }
  replaceChildren(...children) {
    this.children = children;
  }
  closest() {
    return this.lang ? this : null;
  }
  querySelector() {
    return this.instanceFrame?.() || null;
  }
  focus() {
    this.focused = (this.focused || 0) + 1;
  }
  find(id) {
    if (this.getAttribute('id') === id) return this;
    for (const child of this.children) {
      const found = child.find?.(id);
      if (found) return found;
    }
    return null;
  }
  attachShadow() {
    this.shadowRoot = new FakeElement();
    this.shadowRoot.getElementById = id => this.shadowRoot.find(id);
    return this.shadowRoot;
  }
  static early = null; // what happens to the next one before its class is there
  part(id) {
    return this.shadowRoot.getElementById(id).textContent;
  }
}

export const opened = async (options, setup) => {
  const world = new World();
  setup?.(world);
  const tab = world.tab(),
    session = tab.page.open(options);
  await world.run(1000);
  return {
    world,
    tab,
    session,
    functions: world.functions,
    get page() {
      return tab.page;
    },
  };
};
export const frameOf = session => session.instance.frame;
export const count = (functions, name) => functions.calls.filter(call => call.name === name).length;

/**
 * An element in a page of the world. early is what a script does to it before its class is there,
 * ready what one does before it is in the page.
 */
export const element = async (world, attributes = {}, properties = {}, { early, ready } = {}) => {
  const { page } = world.tab(),
    [name, type] = page.defined;
  assert.equal(name, 'weboffice-document');
  FakeElement.early = early;
  const found = Object.assign(new type(), properties);
  const given = { src: URI, generate: API + '/generate', refresh: API + '/refresh', ...attributes };
  for (const [key, value] of Object.entries(given))
    if (value !== undefined) found.setAttribute(key, value);
  ready?.(found);
  found.isConnected = true;
  found.connectedCallback();
  await world.run(1000);
  return { page, found };
};

// Where anyone may read, a holder of more rights whose proof is gone for a moment must not become a
// guest in silence.
export const guestsRead = world => {
  world.functions.permission = caller => (caller ? ALL : VIEW);
};
