// Plays working days of pages in seconds, against the functions and the stand-in of a test:
// weboffice.js or the quick start's page.js, with the stand-in's own SDK, on a clock that jumps
// from one timer to the next. All requests are real; each tells the other side the time, and which
// fault the stand-in is to show. What a browser has around these scripts is made up here: tabs,
// their storage and locks, and an editor frame that asks /office/session with the tokens it is
// given, and again at their end. Prints what came of it as JSON.
import { readFileSync } from 'node:fs';

const { url, sdk, play, documents } = JSON.parse(process.argv[2]);
const SECOND = 1000,
  MINUTE = 60 * SECOND,
  HOUR = 60 * MINUTE;
const read = path => readFileSync(new URL(path, import.meta.url), 'utf8');
// The module as a function that gives open().
const moduleSource = read('../../../../shared/web/weboffice.js').replace(
  /export\s*{.*?(\w+) as open\b.*?};?\s*$/,
  'return $1;',
);
const quickSource = read('../quickstart/page.js');
const AsyncFunction = (async () => {}).constructor;

let seed = 42;
const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;

// ---- time and requests ----

const pending = new Set();
const work = promise => {
  pending.add(promise);
  promise.finally(() => pending.delete(promise)).catch(() => {});
  return promise;
};
const settle = async () => {
  do {
    if (pending.size) await Promise.allSettled(pending);
    await new Promise(setImmediate);
  } while (pending.size);
};

const time = {
  now: Date.now(),
  timers: new Map(),
  last: 0,
  set(page, call, delay = 0) {
    if (page.gone) return 0;
    this.timers.set(++this.last, {
      page,
      call,
      at: this.now + Math.max(1, Math.trunc(delay) || 0),
    });
    return this.last;
  },
  clear(id) {
    this.timers.delete(id);
  },
  async until(end) {
    for (await settle(); ; await settle()) {
      let next = null;
      for (const [id, { at }] of this.timers)
        if (at <= end && (!next || at < next.at)) next = { id, at };
      if (!next) break;
      const { call } = this.timers.get(next.id);
      this.timers.delete(next.id);
      this.now = Math.max(this.now, next.at);
      call();
    }
    this.now = end;
  },
};

let queue = Promise.resolve();
// One request at a time, each at the time that its sender's clock shows.
const request = (address, init = {}, fault = '') =>
  work(
    (queue = queue
      .catch(() => {})
      .then(async () => {
        const reply = await fetch(address, {
            ...init,
            headers: { ...init.headers, 'X-Now': time.now, 'X-Fault': fault },
          }),
          text = await reply.text();
        return {
          ok: reply.ok,
          status: reply.status,
          headers: reply.headers,
          text: async () => text,
          json: async () => JSON.parse(text),
        };
      })),
  );

// A person's login gives one proof for three quarters of an hour.
const proofs = new Map();
async function proofOf(person) {
  let kept = proofs.get(person);
  if (!kept || kept.until < time.now) {
    kept = {
      until: time.now + 45 * MINUTE,
      text: await (await request(url + '/token?sub=' + person)).text(),
    };
    proofs.set(person, kept);
  }
  return kept.text;
}

// ---- a browser ----

const locks = new Map();

class Element extends EventTarget {
  style = { cssText: '' };
  textContent = '';
  setAttribute() {}
  appendChild(child) {
    child.parentNode = this;
    child.load?.();
  }
  removeChild(child) {
    child.parentNode = null;
    child.alive = false;
  }
}

class Frame extends Element {
  alive = true;
  state = '';
  name = 'frame-' + Math.trunc(random() * 1e15);
  contentWindow = { postMessage: message => this.receive(message) };

  constructor(page) {
    super();
    this.page = page;
    page.frames.push(this);
  }
  load() {
    time.set(this.page, () => this.tell('ready'), 30);
  }
  tell(eventName, data) {
    if (!this.alive || this.page.gone) return;
    this.page.target.dispatchEvent(
      Object.assign(new Event('message'), {
        source: this.contentWindow,
        origin: new URL(this.src).origin,
        data: { weboffice: 1, eventName, data },
      }),
    );
  }
  receive({ eventName, data }) {
    if (eventName === 'save')
      this.tell('save.result', { id: data.id, answer: { result: 'nochange' } });
    if (eventName !== 'setToken' || data.token === this.token) return;
    this.token = data.token;
    this.ask(this.opened ? 'renew' : 'open');
  }
  async ask(Action) {
    const { pathname } = new URL(this.src),
      Token = this.token;
    const reply = await request(url + '/office/session', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({
        Action,
        Token,
        File: pathname.split('/').pop(),
        Frame: this.name,
        Password: '',
      }),
    });
    const { State, ExpiresIn } = await reply.json();
    if (Token !== this.token || !this.alive) return;
    time.clear(this.end);
    if (State === 'open') {
      this.end = time.set(this.page, () => this.ask('check'), ExpiresIn + 10);
      if (!this.opened) this.tell('fileOpen', { success: true });
      this.opened = true;
    } else if (State !== this.state && State !== 'expired') this.tell('error', { reason: State });
    this.state = State;
  }
}

class Tab {
  storage = {};
  start() {
    return (this.page = new Page(this));
  }
  reload() {
    this.page.unload();
    return this.start();
  }
}

class Page {
  target = new EventTarget();
  locks = [];
  frames = [];
  shown = {};
  seen = [];

  constructor(tab) {
    const page = this,
      address = url + '/';
    this.tab = tab;
    const window = (this.window = {
      addEventListener: (...given) => this.target.addEventListener(...given),
      removeEventListener: (...given) => this.target.removeEventListener(...given),
    });
    this.scope = {
      window,
      addEventListener: window.addEventListener,
      console,
      location: {
        href: address,
        hash: '',
        pathname: '/',
        search: '?document=' + encodeURIComponent(documents[0]),
        toString: () => address,
      },
      history: { state: null, replaceState() {} },
      navigator: { language: 'en', locks: { request: (...given) => this.lock(...given) } },
      globalThis: window,
      sessionStorage: {
        getItem: key => tab.storage[key] ?? null,
        setItem: (key, text) => {
          tab.storage[key] = text;
        },
        removeItem: key => {
          delete tab.storage[key];
        },
      },
      document: {
        hidden: false,
        createElement: tag => (tag === 'iframe' ? new Frame(page) : new Element()),
        querySelector: () => new Element(),
        getElementById: id => ({
          set textContent(text) {
            page.shown[id] = text;
          },
        }),
        head: { append: script => this.load(script) },
      },
      setTimeout: (call, delay) => time.set(page, call, delay),
      clearTimeout: id => time.clear(id),
      Date: { now: () => time.now },
      Math: Object.assign(Object.create(Math), { random }),
      fetch: (to, init) => this.fetch(new URL(to, address).href, init),
      HTMLElement: EventTarget,
      customElements: { define() {}, get() {} },
      CustomEvent: class extends Event {},
    };
  }

  async load(script) {
    const text = await (await request(script.src)).text();
    const { window, document, setTimeout, clearTimeout } = this.scope;
    new Function('window', 'document', 'setTimeout', 'clearTimeout', text)(
      window,
      document,
      setTimeout,
      clearTimeout,
    );
    script.onload();
  }

  lock(name, { signal }, granted) {
    return new Promise((done, fail) => {
      const attempt = () => {
        if (signal?.aborted || this.gone) return;
        if (locks.has(name)) return void locks.get(name).push(attempt);
        locks.set(name, []);
        this.locks.push(name);
        granted().then(done, fail);
      };
      signal?.addEventListener('abort', () => fail(signal.reason));
      attempt();
    });
  }

  fetch(to, init = {}) {
    const fault = to.endsWith('/refresh') && faults ? faults() : '';
    if (fault === 'offline') return Promise.reject(new TypeError('no network'));
    const answer = request(to, init, /lost|hang/.test(fault) ? '' : fault);
    if (fault === 'lost')
      return answer.then(() => {
        throw new TypeError('the network went away');
      });
    if (fault === 'hang')
      return new Promise((_, fail) =>
        init.signal.addEventListener('abort', () => fail(init.signal.reason)),
      );
    return answer;
  }

  open(person, document = documents[0]) {
    const names = Object.keys(this.scope),
      open = new Function(...names, '"use strict";' + moduleSource)(...Object.values(this.scope));
    this.session = open({
      generate: url + '/generate',
      refresh: url + '/refresh',
      sdk,
      document,
      mount: new Element(),
      token: () => proofOf(person),
    });
    for (const name of ['expired', 'taken', 'signin', 'refused', 'ended', 'failed']) {
      this.session.addEventListener(name, () => this.seen.push(name));
    }
  }

  // The quick start's page, as it is.
  quickstart() {
    const names = Object.keys(this.scope);
    work(new AsyncFunction(...names, '"use strict";' + quickSource)(...Object.values(this.scope)));
  }

  unload() {
    this.target.dispatchEvent(new Event('pagehide'));
    this.gone = true;
    for (const [id, { page }] of time.timers) if (page === this) time.clear(id);
    for (const name of this.locks) {
      const waiting = locks.get(name);
      locks.delete(name);
      waiting.forEach(attempt => attempt());
    }
  }

  // What is on the screen now.
  get works() {
    return (
      (this.session ? this.session.state : this.shown.state) === 'open' &&
      this.frames.at(-1)?.state === 'open'
    );
  }
}

// ---- the plays ----

let faults = null;

// A day of eight hours with five reloads.
async function day(begin) {
  const start = time.now,
    tab = new Tab();
  begin(tab.start());
  for (const minutes of [62, 144, 226, 308, 390]) {
    await time.until(start + minutes * MINUTE);
    if (!tab.page.works) return { works: false, minutes };
    begin(tab.reload());
  }
  await time.until(start + 8 * HOUR);
  return { works: tab.page.works };
}

// Two hundred hours: 25 people for eight hours each, with about one refresh in five failing in one
// of these ways, and never two in a row.
async function hours() {
  const kinds = [
    'offline',
    'lost',
    'hang',
    'throttled',
    'unavailable',
    'error after',
    'cut',
    'cut after',
    'html',
    'truncated',
  ];
  let refreshes = 0,
    failures = 0,
    failed = false;
  faults = () => {
    refreshes++;
    failed = !failed && random() < 0.25;
    return failed ? kinds[failures++ % kinds.length] : '';
  };
  let lost = 0,
    why = '';
  for (let i = 0; i < 25; i++) {
    const page = new Tab().start();
    page.open('person-' + i, documents[i % documents.length]);
    await time.until(time.now + 8 * HOUR);
    if (
      !page.works ||
      page.frames.length !== 1 ||
      /expired|taken|signin|refused|ended|failed/.test(page.seen)
    ) {
      lost++;
      why ||= JSON.stringify({ seen: page.seen, frames: page.frames.map(frame => frame.state) });
    }
    page.unload();
  }
  return { lost, why, hours: 25 * 8, refreshes, failures };
}

const result = await {
  module: () => day(page => page.open('erin')),
  quickstart: () => day(page => page.quickstart()),
  hours,
}[play]();
console.log(JSON.stringify(result));
process.exit(0);
