/*
 * weboffice.js opens one office document in a page and keeps it open.
 *
 *   <script type="module" src="weboffice.js"></script>
 *   <weboffice-document src="oss://bucket/plan.docx" generate="https://…" refresh="https://…"></weboffice-document>
 *
 * or, with a script of your own, open({generate, refresh, document, mount, token}); weboffice.d.ts has every option.
 *
 * Promises: one request to the functions at a time and none before it is due; every failure ends in a state with a sentence
 * that says what to do; what was written is saved before an end that cannot be avoided; whoever was known is never taken for
 * a guest without a word.
 * Limits: one document per page, since the vendor's SDK destroys its last instance when it makes the next.
 *
 * Secrets: bearers stay in memory. A share link stays in the history entry that it came with, in no address, so that a
 * reload still knows who asks. The tokens of the open document are kept in sessionStorage, so that a reload costs nothing.
 * That is bearable: both are this tab's and this origin's alone, a script that could read them could call the functions
 * itself, the tokens open one document for half an hour, and the sealed one is worthless without the caller's proof. A
 * duplicated tab gets a copy of them: the tokens' owner is who holds the Web Lock that they name.
 */

const SDK = 'https://g.alicdn.com/IMM/office-js/1.1.19/aliyun-web-office-sdk.min.js';

// What a person reads in English and in Chinese: states, buttons, save states, problems.
const table = {
  opening: ['Opening…', '打开中…'],
  editing: ['Editing', '可编辑'],
  readonly: ['Read-only', '只读'],
  saving: ['Saving…', '保存中…'],
  saved: ['Saved', '已保存'],
  unsaved: ['Not saved', '未保存'],
  retrying: ['Trying again…', '重试中…'],
  expired: ['Connection lost. Trying again…', '连接断开，重试中…'],
  signin: ['Sign in or open your link again', '请登录或重开链接'],
  taken: ['Opened elsewhere', '已在别处打开'],
  refused: ['You have no access', '无权访问'],
  ended: ['Session ended', '会话已结束'],
  failed: ['Not opened', '未打开'],
  retry: ['Try again', '重试'],
  take: ['Continue here', '继续'],
  Network: ['No answer; check connection and origins', '连接断开，请检查网络和 origins'],
  HTTP: ['Unexpected answer', '应答异常'],
  SDK: ['Script blocked; allow', '请放行脚本'],
  CSP: ['CSP lacks', 'CSP 未放行'],
  Frame: ['The editor says', '编辑器'],
};
/** Those words by language; where one has no word, English. Change or add any: texts.fr = {…}. */
export const texts = { en: {}, zh: {} };
for (const name in table) [texts.en[name], texts.zh[name]] = table[name];

// A failure with a public face: code is a name of texts or the functions' Code, value what it is about.
const problem = (code, value, more) => Object.assign(new Error((texts.en[code] || code) + ': ' + value), { code, value, ...more });
const origin = url => new URL(url, location).origin;
const within = (ms, work) => Promise.race([work, new Promise((_, no) => setTimeout(no, ms))]);

// Time that has passed, sleep included. Only what the wall clock moved forward is added up, so that a page whose clock is
// wrong, or set back, counts the server's Timeout rightly all the same.
let wall = Date.now(), passed = 0;
const clock = () => {
  const moved = Date.now() - wall;
  wall += moved;
  return passed += Math.max(0, moved);
};

/** The share link's token that came in the page's fragment (#link=…), or ''. It leaves the address bar at once. */
export let link = history.state?.weboffice || '';
const takeLink = () => {
  const fragment = new URLSearchParams(location.hash.slice(1)), found = fragment.get('link');
  if (!found) return;
  link = found;
  fragment.delete('link');
  history.replaceState({ ...history.state, weboffice: link }, '', '#' + fragment);
};

// This page's name: that of the Web Lock which it holds while it lives.
let owner;
// A reload finds the lock free, or free in a moment; a duplicated tab finds it held, and takes a name of its own.
const claim = (name, wait = 2e4) => new Promise(done => {
  navigator.locks.request('weboffice ' + name, { signal: AbortSignal.timeout(wait) }, () => {
    done(owner = name);
    return new Promise(() => {}); // held for good
  }).catch(() => done());
});

// Whom a proof stands for: fresh proofs of one person count as the same, those of two people never do; null where it does
// not say.
const who = proof => {
  try {
    const { iss, sub, jti } = JSON.parse(atob(proof.split('.')[1].replace(/-/g, '+').replace(/_/g, '/')));
    return iss + ' ' + (sub || jti).trim();
  } catch { return proof ? null : ''; }
};

let loading;
const loadSDK = async url => window.aliyun || (loading ||= new Promise((done, fail) => {
  const script = document.createElement('script');
  script.onload = script.onerror = () => {
    loading = 0;
    window.aliyun ? done() : fail(problem('SDK', url, { retry: true }));
  };
  script.src = url;
  document.head.append(script);
}));

let current;

/** Opens a document: see weboffice.d.ts. */
export const open = (options, echo) => {
  const { sdk = SDK, generate, refresh, document: uri, mount, permission, password, parameters, config, token } = options;
  const place = typeof mount === 'string' ? document.querySelector(mount) : mount;
  if (!generate || !refresh || !uri || !place) throw problem('Missing', 'generate, refresh, document, mount');
  if (current) throw problem('Single', 'close() first');

  takeLink();
  let answer, since, busy = true, timer, tries = 0, next = 0, blocked = {};
  let me;               // whom the last proof stands for
  let holder = '';      // and whom the tokens are for
  let used = link;      // the page's link when a proof was last asked for; anything else: ask whether the caller is another
  let opened;           // the frame has shown the document
  let silent;           // 1: the frame has said nothing yet; 2: for too long
  let patience = 3e4;   // how long that is
  let dead;             // the frame has lost its access: new tokens need a new frame
  let healed;           // when access that was lost was last asked for again, if ever
  const about = JSON.stringify([generate, uri, permission, parameters]);
  const session = current = new EventTarget(), stop = new AbortController();

  const emit = (name, detail) => {
    session.dispatchEvent(new CustomEvent(name, { detail }));
    echo?.(name, detail);
  };
  const become = state => {
    if (session.state !== state && !closed()) emit(session.state = state);
  };
  const halted = () => !/open|try|exp/.test(session.state);
  const closed = () => session.state === 'closed';
  const left = () => answer ? Math.max(0, since + session.life - clock()) : 0;
  const editing = () => opened && session.permission.Readonly === false;
  const ready = () => {
    if (!opened || halted()) return;
    session.error = null;
    become('open');
  };
  const store = record => {
    try { sessionStorage.weboffice = JSON.stringify(record || 0); } catch { /* full or forbidden: a reload costs a call */ }
  };

  // ---- tokens ----

  const proof = () => within(2e4, (async () => {
    let found = token;
    while (typeof found === 'function') found = await found();
    me = who(found ??= link);
    return found;
  })());

  const adopt = (body, who, began) => {
    answer = body;
    holder = who;
    since = began;
    session.life = body.Timeout;
    session.requestId = body.RequestId;
  };

  const start = async () => {
    loadSDK(sdk).catch(() => {}); // beside the first request; show() reports it
    try {
      const record = JSON.parse(sessionStorage.weboffice || 0), rest = record.end - Date.now();
      const mine = record && (owner ? owner === record.owner : await claim(record.owner, 1e3)) && (await proof(), true);
      owner || await claim(Math.random());
      // Where the page itself wrote over the history entry, its link is gone; the tokens it opened are this tab's still.
      const same = mine && record.about === about && (record.me === me || me === '' && /^links /.test(record.me));
      if (same && rest > 0 && rest <= record.answer.Timeout) {
        adopt(record.answer, record.me, clock() + rest - record.answer.Timeout);
        session.permission = answer.Permission;
      }
    } catch { /* no locks, no storage, no proof yet: nothing is taken over */ }
    busy = false;
    tick();
  };

  // The heartbeat. One long timer would do if machines never slept; so it looks at the clock every half minute.
  const tick = () => {
    clearTimeout(timer);
    if (busy || halted()) return;
    const time = clock(), idle = left() && answer.RefreshToken && session.instance && !dead && used === link && silent < 2;
    const at = Math.max(next, idle ? since + session.life * 5 / 6 : 0);
    if (time >= at) return renew();
    if (!left() && session.instance) become('expired');
    timer = setTimeout(tick, Math.min(at - time, left() || 3e4, 3e4));
  };

  const renew = async () => {
    const moved = used !== link;
    used = link;
    busy = true;
    try {
      if (session.instance && silent > 1) {
        drop();
        tries = 3; // not by itself: a large document may need the longer patience that it gets next
        patience *= 2;
        throw problem('Frame', '…', { retry: true });
      }
      if (left() && answer.RefreshToken && !session.instance && !moved) await show(); // tokens that have no frame yet
      else await accept(clock(), await post(moved));
    } catch (error) {
      if (!closed() && used === link) await fail(error.code ? error : problem('Script', error.message));
    }
    busy = false;
    tick();
  };

  const post = async (moved, again) => {
    const bearer = await proof().catch(() => { throw problem('Network', 'token()', { retry: true }); });
    if (closed() || moved && me === holder) return;
    // Without a proof the functions would take a known caller for a guest, and a guest's document would take the place of theirs.
    if (me === '' && holder !== '') throw problem('Unauthenticated', 'token()', { status: 401 });
    const anew = !answer?.RefreshToken || me !== holder, url = anew ? generate : refresh, from = origin(url);
    let reply, body = {};
    try {
      reply = await fetch(url, {
        method: 'POST',
        signal: AbortSignal.timeout(2e4), // well under the minute in which the functions repeat an answer that got lost
        headers: { 'Content-Type': 'application/json', ...bearer && { Authorization: 'Bearer ' + bearer } },
        body: JSON.stringify(anew ? { ...parameters, SourceURI: uri, Permission: permission, Password: password }
          : { AccessToken: answer.AccessToken, RefreshToken: answer.RefreshToken }),
      });
      body = await reply.json() || {};
    } catch {
      await new Promise(done => setTimeout(done)); // a policy's refusal is reported first
      if (!reply) throw blocked['connect-src ' + from] || problem('Network', from, { retry: true });
    }
    const { status, headers } = reply;
    if (body.Timeout > 0) return body;
    if (status === 401 && !again) return post(0, 1); // with a fresh proof
    const wait = Math.min(600, +headers.get('Retry-After') || 0) * 1000;
    throw problem(body.Code || 'HTTP', [body.Message || from + ' ' + status, body.Recommend].join(' ').trim(), {
      requestId: body.RequestId, status, wait, retry: !/^4(?!29)/.test(status),
    });
  };

  const accept = async (began, body) => {
    if (!body) return ready(); // the same caller, nothing is due
    const old = answer, late = !left(), before = session.permission;
    if (!late) await save(); // new tokens may allow less, or need a new frame
    if (halted() || used !== link) return; // an answer to the caller of a moment ago
    const same = session.instance && !dead && me === holder && body.WebofficeURL === old?.WebofficeURL;
    adopt(body, me, began);
    session.error = null;
    tries = 0;
    if (me !== null) store({ owner, about, me, end: Date.now() + left(), answer });
    if (same) setToken();
    // After its token's end a frame may be alive or not: one that may hold unsaved text is asked, by saving it.
    const alive = same && (!late || editing() && await save() !== 'fail' && !dead);
    session.permission = answer.Permission;
    if (!alive) await show();
    if (old) emit('refreshed');
    if (before && JSON.stringify(before) !== JSON.stringify(session.permission)) emit('changed', session.permission);
    ready();
  };

  const fail = async error => {
    session.error = error;
    const { code, status, wait } = error;
    if (/\.RefreshToken$/.test(code) && answer?.RefreshToken) {
      answer.RefreshToken = ''; // sealed with a key that is gone: generate, once
      return;
    }
    if (error.retry) {
      const step = Math.min(1000 * 2 ** tries++, Math.max(1000, session.life / 60));
      next = clock() + (wait || 0) + step * (.5 + Math.random() / 2); // many pages were told the same moment
      if (session.instance) {
        become(left() ? 'retrying' : 'expired');
        if (left() < session.life / 12) await save(); // the end may come: nothing that was written is lost to it
      } else if (tries > 3 && !wait) become('failed');
    } else {
      const state = { 401: 'signin', 403: 'refused', 410: 'ended' }[status] || 'failed';
      await save();
      if (status !== 401) drop(status);
      become(state);
    }
    emit('error', error);
  };

  // ---- the frame ----

  // The SDK refreshes five minutes ahead and runs wild below 20: it never hears of less than 21. The heartbeat knows better.
  const forSDK = () => ({ token: answer.AccessToken, timeout: Math.max(left(), 126e4) });

  // After each refresh: it keeps the first token otherwise, and posts that one again on `ready`.
  const setToken = () => session.instance.setToken(forSDK());

  const show = async () => {
    drop();
    try { await loadSDK(sdk); } catch (error) { throw blocked['script-src ' + origin(sdk)] || error; }
    if (closed()) return;
    const instance = window.aliyun.config({
      ...config, mount: place, url: answer.WebofficeURL,
      refreshToken() { // plain: the SDK ignores an async function without a word
        tick(); // asks the functions if it is time, and sets the token then
        return forSDK();
      },
    });
    if (!instance) throw problem('Config', 'check mount and config');
    session.instance = instance;
    dead = false;
    silent = 1;
    setTimeout(() => { // by a timer, which does not run while the machine sleeps
      if (session.instance !== instance || !silent) return;
      silent = 2;
      tick();
    }, patience);
    const on = (name, then) => {
      const listen = data => {
        if (session.instance !== instance) return;
        silent = 0;
        then(data || {});
      };
      instance.ApiEvent ? instance.ApiEvent.AddApiEventListener(name, listen) : instance.on(name, listen);
    };
    on('fileOpen', data => {
      if (data.success === false || data.result === 'Fail' || data.reason) return broken(data);
      opened = true;
      ready();
    });
    on('filePasswordStatus', () => {}); // the person is asked: that may take a while
    on('error', broken);
    on('fileStatus', ({ status }) => {
      session.fileStatus = ['', 'saved', 'unsaved', 'unsaved', 'saving', 'unsaved', 'saving', 'saved'][status];
      emit(session.fileStatus);
    });
    setToken();
    const { iframe } = instance; // a strict policy may keep the SDK from styling it
    if (iframe) {
      iframe.style.cssText += ';width:100%;height:100%;border:0';
      iframe.title ||= 'WebOffice';
    }
    emit('frame');
  };

  const drop = forget => {
    try { session.instance?.destroy(); } catch { /* gone either way */ }
    session.instance = opened = null;
    session.fileStatus = '';
    if (forget) store(answer = null);
  };

  // The frame reports an error. After its token's end the next token mends it. Before, somebody took the access away ("your
  // edit right was cancelled"), or the document is broken: one new session, and after that it is the person's choice, since
  // two windows would take it from each other for ever.
  const broken = ({ reason = 'Fail' }) => {
    if (halted() || dead) return;
    const was = opened;
    session.error = problem('Frame', reason);
    if (left()) {
      dead = true;
      opened = null;
      if (clock() - healed < session.life / 3) {
        drop(true);
        become(was ? 'taken' : 'failed');
        return emit('error', session.error);
      }
      healed = clock();
      answer.RefreshToken = '';
    }
    become(left() ? 'retrying' : 'expired');
    tick();
  };

  // ---- what the page may do ----

  const save = async () => {
    try { return editing() ? (await within(5000, session.instance.save())).result : 'nochange'; } catch { return 'fail'; }
  };

  const retry = anew => {
    if (closed() || anew && /tak|end/.test(session.state)) return;
    tries = 0;
    if (!session.error?.wait) next = 0;
    if (anew || halted()) used = null;
    if (halted()) become(session.instance ? 'retrying' : 'opening');
    tick();
  };

  const close = async now => {
    if (!now) {
      await save();
      store();
    }
    if (closed()) return;
    become('closed');
    drop();
    stop.abort();
    clearTimeout(timer);
    current = null;
  };

  const wake = () => {
    if (document.hidden) return save(); // a phone may never tell more
    if (used !== link || !halted() || session.state === 'signin' || session.error.retry) retry();
  };
  const listeners = {
    online: wake, pageshow: wake, visibilitychange: wake, hashchange: wake, pagehide: save,
    securitypolicyviolation({ blockedURI, effectiveDirective, disposition }) {
      if (disposition === 'report') return;
      const lacks = effectiveDirective.replace('-elem', '') + ' ' + origin(blockedURI);
      blocked[lacks] = problem('CSP', lacks);
      if (answer && lacks === 'frame-src ' + origin(answer.WebofficeURL)) fail(blocked[lacks]);
    },
  };
  for (const name in listeners) addEventListener(name, listeners[name], stop);
  Object.assign(session, {
    state: 'opening', permission: null, instance: null, error: null, requestId: '', fileStatus: '', life: 18e5, left, save, retry, close,
  });
  start();
  return session;
};

// ---- the element ----

const css = `:host{display:flex;flex-flow:column;min-block-size:20rem;font:.875rem system-ui}
#cover,#bar{display:flex;gap:1rem;padding:.5rem 1rem}
#cover{flex:1;flex-flow:wrap;place-content:center;text-align:center;overflow-wrap:anywhere}
slot{display:grid}
:host([framed]) slot{flex:99}
:host([state=open]) #cover,:host(:not([state=opening])) progress,:host([bar=none]) #bar,#way:empty{display:none}
button{font:inherit;padding:.8rem}`;

export class WebofficeDocument extends HTMLElement {
  static observedAttributes = ['src', 'generate', 'refresh', 'readonly'];
  #token; #planned; #failure;

  constructor() {
    super();
    const sheet = new CSSStyleSheet(); // made by script: no style-src is needed
    sheet.replaceSync(css);
    this.attachShadow({ mode: 'open' });
    this.shadowRoot.adoptedStyleSheets = [sheet];
    this.shadowRoot.innerHTML = `<div id=cover part=cover tabindex=-1><div role=status><b id=title></b><div id=detail></div></div>
<progress aria-labelledby=title></progress><button id=way part=way></button></div><slot></slot>
<div id=bar part=bar><span id=role role=status></span><span id=file></span></div>`;
    this.shadowRoot.getElementById('way').onclick = ({ target }) => {
      target.parentNode.focus(); // the button goes, the focus stays here
      this.session ? this.session.retry() : this.#plan();
    };
  }

  /** The caller's proof: a string, or a function that gives a fresh one or a promise of it. Never an attribute. */
  get token() { return this.#token; }
  set token(token) {
    this.#token = token;
    if (token != null) this.session?.retry(true);
  }

  connectedCallback() { this.#plan(); }
  attributeChangedCallback() { this.#plan(); }

  // Out of the page the frame is gone at once. The tokens are kept for when the element comes back.
  disconnectedCallback() {
    this.session?.close(true);
    this.session = null;
  }

  // Attributes that change together open once.
  async #plan() {
    if (this.#planned) return;
    this.#planned = true;
    await this.session?.close();
    this.#planned = false;
    this.session = this.#failure = null;
    const given = {};
    for (const { name, value } of this.attributes) given[name] = value;
    if (!given.src || !this.isConnected) return this.#draw();
    const mount = document.createElement('div'); // in the page's own tree, where the SDK looks for it
    this.replaceChildren(mount);
    try {
      this.session = open({
        ...given, permission: 'readonly' in given ? { Readonly: true } : undefined, ...this.options, document: given.src, mount,
        token: () => this.token,
      }, (name, detail) => {
        this.#draw();
        this.dispatchEvent(new CustomEvent(name, { detail }));
      });
    } catch (error) { this.#failure = { state: 'failed', error }; }
    this.#draw();
  }

  #draw() {
    const { state = 'closed', error, instance, permission, fileStatus } = this.session || this.#failure || {};
    const lang = this.closest('[lang]')?.lang || navigator.language;
    const own = texts[lang] || texts[lang.slice(0, 2)], words = { ...texts.en, ...own, ...this.texts };
    const say = (id, text) => {
      const part = this.shadowRoot.getElementById(id);
      part.lang = own ? lang : 'en';
      if (part.textContent !== (text ||= '')) part.textContent = text; // what has not changed is not read out again
    };
    if (state === 'open' && this.shadowRoot.activeElement) instance.iframe?.focus(); // the cover goes, with the focus
    this.setAttribute('state', state);
    this.toggleAttribute('framed', !!instance);
    say('title', words[state]);
    say('detail', error && (words[error.code] || error.code) + ': ' + error.value + (error.requestId ? ' RequestId ' + error.requestId : ''));
    say('way', !/open|clos/.test(state) && words[/tak|end/.test(state) ? 'take' : 'retry']);
    say('role', instance && words[permission.Readonly ? 'readonly' : 'editing']);
    say('file', words[fileStatus]);
  }
}

takeLink();
addEventListener('hashchange', takeLink);
customElements.define('weboffice-document', WebofficeDocument);
