/*
 * weboffice.js opens one office document in a page and keeps it open.
 *
 *   <script type="module" src="weboffice.js"></script>
 *   <weboffice-document src="oss://bucket/plan.docx" generate="https://…" refresh="https://…"></weboffice-document>
 *
 * or, with a script of your own, open({generate, refresh, document, mount, token}); weboffice.d.ts has every option.
 *
 * Promises: one request to the functions at a time and none before it is due; every failure ends in a state with a sentence
 * that says what to do; what was written is saved before an end that cannot be avoided.
 * Limits: one document per page, since the vendor's SDK destroys its last instance when it makes the next.
 *
 * Secrets: proofs (bearers, share links) stay in memory. The tokens of the open document are kept in sessionStorage, so that
 * a reload costs nothing. That is bearable: the storage is this tab's and this origin's alone, a script that could read it
 * could call the functions itself, the tokens open one document for half an hour, and the sealed one is worthless without
 * the caller's proof. A duplicated tab gets a copy of it: its owner is who holds the Web Lock that it names.
 */

const SDK = 'https://g.alicdn.com/IMM/office-js/1.1.19/aliyun-web-office-sdk.min.js';

/** What a person reads: states, buttons, errors, by language; where one has no word, English. Add any: texts.fr = {…}. */
export const texts = {
  en: {
    opening: 'Opening…', editing: 'Editing', readonly: 'Read-only', saving: 'Saving…', saved: 'Saved', unsaved: 'Not saved',
    retrying: 'Connection trouble, still trying.', expired: 'Connection lost, still trying.',
    signin: 'Sign in or open your link again.', taken: 'Opened elsewhere.', refused: 'You have no access.',
    ended: 'This session has ended.', failed: 'The document did not open.', retry: 'Try again', take: 'Continue here',
    Network: 'No answer; check connection and policy origins', SDK: 'Script blocked; allow',
    CSP: 'Content-Security-Policy lacks', Frame: 'The editor says',
  },
  zh: {
    opening: '正在打开…', editing: '可编辑', readonly: '只读', saving: '正在保存…', saved: '已保存', unsaved: '未保存',
    retrying: '连接不稳定，正在重试。', expired: '连接已断开，正在重试。',
    signin: '请重新登录或打开链接。', taken: '已在别处打开。', refused: '您无权访问。',
    ended: '会话已结束。', failed: '文档未能打开。', retry: '重试', take: '在此继续',
    Network: '无法连接，请检查网络和 origins', SDK: '脚本被阻止，请放行', Frame: '编辑器报告',
  },
};

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
export let link = '';
const takeLink = () => {
  const fragment = new URLSearchParams(location.hash.slice(1)), found = fragment.get('link');
  if (!found) return;
  link = found;
  fragment.delete('link');
  history.replaceState(history.state, '', '#' + fragment);
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
  if (!generate || !refresh || !uri || !place) throw problem('Missing', 'generate, refresh, document or mount');
  if (current) throw problem('Single', 'close() the open document first');

  takeLink();
  let answer, since = 0, me, busy = true, timer, tries = 0, next = 0, blocked = {}, used = link;
  let opened;           // the frame has shown the document
  let dead;             // the frame has lost its access: new tokens need a new frame
  let healed = -Infinity;
  const about = JSON.stringify([generate, uri, permission, parameters]);
  const session = current = new EventTarget(), stop = new AbortController();

  const emit = (name, detail) => {
    session.dispatchEvent(new CustomEvent(name, { detail }));
    echo?.(name, detail);
  };
  const become = state => {
    if (session.state !== state) emit(session.state = state);
  };
  const halted = () => !/open|try|exp/.test(session.state);
  const closed = () => session.state === 'closed';
  const left = () => answer ? Math.max(0, since + session.life - clock()) : 0;
  const editing = () => opened && session.permission.Readonly === false;
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

  const start = async () => {
    loadSDK(sdk).catch(() => {}); // beside the first request; show() reports it
    try {
      const record = JSON.parse(sessionStorage.weboffice || 0), rest = record.end - Date.now();
      const mine = record && (owner ? owner === record.owner : await claim(record.owner, 1e3)) && (await proof(), true);
      owner || await claim(Math.random());
      // A share link is gone from the address after a reload; the tokens it opened are this tab's still.
      const same = mine && record.about === about && (record.me === me || me === '' && /^links /.test(record.me));
      if (same && rest > 0 && rest <= record.life) {
        ({ answer } = record);
        session.requestId = answer.RequestId;
        session.life = record.life;
        session.permission = answer.Permission;
        since = clock() + rest - record.life;
      }
    } catch { /* no locks, no storage, no proof yet: nothing is taken over */ }
    busy = false;
    tick();
  };

  // The heartbeat. One long timer would do if machines never slept; so it looks at the clock every half minute.
  const tick = () => {
    clearTimeout(timer);
    if (busy || halted()) return;
    const time = clock(), idle = left() && answer.RefreshToken && session.instance && !dead;
    const at = Math.max(next, idle ? since + session.life * 5 / 6 : 0);
    if (time >= at) return renew();
    if (!left() && session.instance) become('expired');
    timer = setTimeout(tick, Math.min(at - time, left() || 3e4, 3e4));
  };

  const renew = async () => {
    busy = true;
    try {
      if (left() && answer.RefreshToken && !session.instance) await show(); // tokens that have no frame yet
      else await accept(clock(), await post(!answer?.RefreshToken));
    } catch (error) {
      if (!closed()) await fail(error.code ? error : problem('Script', error.message));
    }
    busy = false;
    tick();
  };

  const post = async (anew, again) => {
    const url = anew ? generate : refresh;
    let from = 'token()', reply, body = {};
    try {
      const bearer = await proof();
      if (closed()) return;
      from = origin(url);
      reply = await fetch(url, {
        method: 'POST',
        signal: AbortSignal.timeout(2e4), // well under the minute in which the functions repeat an answer that got lost
        headers: { 'Content-Type': 'application/json', ...bearer && { Authorization: 'Bearer ' + bearer } },
        body: JSON.stringify(anew ? { ...parameters, SourceURI: uri, Permission: permission, Password: password }
          : { AccessToken: answer.AccessToken, RefreshToken: answer.RefreshToken }),
      });
      body = await reply.json();
    } catch {
      await new Promise(done => setTimeout(done)); // a policy's refusal is reported first
      if (!reply) throw blocked[origin(url)] || problem('Network', from, { retry: true });
    }
    const { ok, status, headers } = reply;
    if (body.Timeout > 0) return body;
    if (status === 401 && !again) return post(anew, true); // with a fresh proof
    const wait = Math.min(600, +headers.get('Retry-After') || 0) * 1000;
    throw ok ? problem('Answer', url, { retry: true }) : problem(body.Code || 'HTTP', [body.Message || status, body.Recommend].join(' '), {
      requestId: body.RequestId, status, wait,
      retry: status === 429 || status >= 500,
    });
  };

  const accept = async (began, body) => {
    if (halted()) return;
    const old = answer, late = !left(), before = session.permission;
    const same = session.instance && !dead && body.WebofficeURL === old?.WebofficeURL;
    if ((!same || body.Permission.Readonly) && !dead && !late) await save();
    answer = body;
    session.requestId = body.RequestId;
    since = began;
    session.life = body.Timeout;
    session.error = null;
    tries = 0;
    if (owner && me !== null) store({ owner, about, me, life: session.life, end: Date.now() + left(), answer });
    if (same) setToken();
    // After its token's end a frame may be alive or not: one that may hold unsaved text is asked, by saving it.
    const alive = same && (!late || editing() && /ok|noch/.test(await save()) && !dead);
    session.permission = answer.Permission;
    if (!alive) await show();
    if (old) emit('refreshed');
    if (before && JSON.stringify(before) !== JSON.stringify(session.permission)) emit('changed', session.permission);
    if (opened) become('open');
  };

  const fail = async error => {
    session.error = error;
    const { code, status, wait } = error, anew = !answer?.RefreshToken;
    if (code === 'InvalidArgument.RefreshToken' && !anew) {
      answer.RefreshToken = ''; // sealed with a key that is gone: generate, once
      return;
    }
    if (error.retry) {
      const step = Math.min(1000 * 2 ** tries++, Math.max(1000, session.life / 60));
      next = clock() + Math.max(wait || 0, step * (.5 + Math.random() / 2));
      if (session.instance) {
        become(left() ? 'retrying' : 'expired');
        if (left() < session.life / 12) await save(); // the end may come: nothing that was written is lost to it
      } else if (tries > 3) become('failed');
    } else {
      const state = { 401: 'signin', 403: 'refused', 410: 'ended' }[status] || 'failed';
      if (status !== 401) {
        await save();
        drop(status);
      }
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
    try { await loadSDK(sdk); } catch (error) { throw blocked[origin(sdk)] || error; }
    if (closed()) return;
    const instance = window.aliyun.config({
      ...config, mount: place, url: answer.WebofficeURL,
      refreshToken() { // plain: the SDK ignores an async function without a word
        tick(); // asks the functions if it is time, and sets the token then
        return forSDK();
      },
    });
    if (!instance) throw problem('Config', 'aliyun.config() failed, check mount and config');
    session.instance = instance;
    dead = false;
    const on = (name, then) => {
      const listen = data => session.instance === instance && then(data || {});
      instance.ApiEvent ? instance.ApiEvent.AddApiEventListener(name, listen) : instance.on(name, listen);
    };
    on('fileOpen', data => {
      if (data.success === false || data.result === 'Fail' || data.reason) return broken(data);
      opened = true;
      session.error = null;
      become('open');
    });
    on('error', broken);
    on('fileStatus', ({ status }) => {
      session.fileStatus = ['', 'saved', 'unsaved', 'unsaved', 'saving', 'unsaved', 'saving', 'saved'][status];
      emit(session.fileStatus);
    });
    setToken();
    const { iframe } = instance; // a strict policy may keep the SDK from styling it
    if (iframe) iframe.style.cssText += ';width:100%;height:100%;border:0';
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
    let result = 'nochange';
    try { if (editing()) ({ result } = await within(5000, session.instance.save())); } catch { result = 'fail'; }
    return result;
  };

  const retry = () => {
    if (closed()) return;
    tries = 0;
    if (!session.error?.wait) next = 0;
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
    if (link !== used) {
      used = link;
      drop(true);
      become('opening');
    } else if (document.hidden || halted() && session.state !== 'signin' && !session.error.retry) return;
    retry();
  };
  const listeners = {
    online: wake, pageshow: wake, visibilitychange: wake, hashchange: wake, pagehide: save,
    securitypolicyviolation({ blockedURI, effectiveDirective, disposition }) {
      if (disposition === 'report' || !blockedURI.includes(':')) return; // 'inline' and the like have no address
      const from = origin(blockedURI);
      blocked[from] = problem('CSP', effectiveDirective.replace('-elem', '') + ' ' + from);
      if (/^frame/.test(effectiveDirective) && answer && from === origin(answer.WebofficeURL)) fail(blocked[from]);
    },
  };
  for (const name in listeners) addEventListener(name, listeners[name], stop);
  Object.assign(session, {
    state: 'opening', permission: null, instance: null, error: null, requestId: '', fileStatus: '', life: 0, left, save, retry, close,
  });
  start();
  return session;
};

// ---- the element ----

const css = `:host{display:flex;flex-flow:column;min-block-size:20rem;background:Canvas;color:CanvasText;font:.875rem/1.4 system-ui}
slot{display:none;flex:1}
#cover{flex:1;display:grid;place-content:center;place-items:center;gap:.75rem;padding:1rem;text-align:center;overflow-wrap:anywhere}
:host([framed]) slot{display:grid}
:host([framed]) #cover{flex:none;display:flex;justify-content:space-between;text-align:start;border-block-end:1px solid}
:host([state=open]) #cover,:host(:not([state=opening])) progress,:host([bar=none]) #bar,#way:empty{display:none}
b{font-size:1.2em}
button{font:inherit;min-block-size:2.75rem;padding-inline:1.25rem}
#bar{display:flex;gap:1rem;justify-content:space-between;padding:.375rem 1rem}`;

export class WebofficeDocument extends HTMLElement {
  static observedAttributes = ['src', 'document', 'generate', 'refresh', 'readonly'];
  #token; #root; #planned; #failure;

  constructor() {
    super();
    const sheet = new CSSStyleSheet(); // made by script: no style-src is needed
    sheet.replaceSync(css);
    this.#root = this.attachShadow({ mode: 'open' });
    this.#root.adoptedStyleSheets = [sheet];
    this.#root.innerHTML = `<div id=cover part=cover><div role=status><b id=title></b><br><span id=detail></span></div>
<progress></progress><button id=way part=way></button></div><slot></slot>
<div id=bar part=bar><span id=role role=status></span><span id=file></span></div>`;
    this.#root.getElementById('way').onclick = () => this.session ? this.session.retry() : this.#plan();
  }

  /** The caller's proof: a string, or a function that gives a fresh one or a promise of it. Never an attribute. */
  get token() { return this.#token; }
  set token(token) {
    this.#token = token;
    if (this.session?.state === 'signin') this.session.retry();
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
    await null;
    await this.session?.close();
    this.#planned = false;
    this.session = this.#failure = null;
    const given = {};
    for (const { name, value } of this.attributes) given[name] = value;
    const uri = given.src || given.document;
    if (!this.isConnected || !uri) return this.#draw();
    const mount = document.createElement('div'); // in the page's own tree, where the SDK looks for it
    this.replaceChildren(mount);
    try {
      this.session = open({
        ...given, permission: 'readonly' in given ? { Readonly: true } : undefined, ...this.options, document: uri, mount,
        token: () => this.token,
      }, (name, detail) => {
        this.#draw();
        this.dispatchEvent(new CustomEvent(name, { detail }));
      });
    } catch (error) { this.#failure = error; }
    this.#draw();
  }

  #draw() {
    const { state = this.#failure ? 'failed' : 'closed', error = this.#failure, instance, permission, fileStatus } = this.session || {};
    const lang = this.closest('[lang]')?.lang || navigator.language;
    const words = { ...texts.en, ...texts[lang] || texts[lang.slice(0, 2)], ...this.texts };
    const say = (id, text) => {
      const part = this.#root.getElementById(id);
      if (part.textContent !== (text ||= '')) part.textContent = text; // what has not changed is not read out again
    };
    this.setAttribute('state', state);
    this.toggleAttribute('framed', !!instance);
    say('title', words[state]);
    const id = error?.requestId ? ' RequestId ' + error.requestId : '';
    say('detail', error && (words[error.code] || error.code) + ': ' + error.value + id);
    say('way', !/open|clos/.test(state) && words[/tak|end/.test(state) ? 'take' : 'retry']);
    say('role', instance && permission && words[permission.Readonly ? 'readonly' : 'editing']);
    say('file', words[fileStatus]);
  }
}

takeLink();
addEventListener('hashchange', takeLink);
customElements.define('weboffice-document', WebofficeDocument);
