// One open document: asks for tokens when they are due, mounts the editor, and ends every failure
// in a state. One request to the functions at a time, and none before it is due.
import {
  FILE_STATUS, SDK, hearFrame, loadSDK, mountFrame, saveFrame, watchPolicy,
} from './frame.js';
import { isRefusal, post } from './functions.js';
import { takeLink } from './link.js';
import { paceOf, waitsUntil } from './pace.js';
import { originOf, page } from './page.js';
import { problem, tell } from './problem.js';
import { askProof } from './proof.js';
import { REFUSALS, STATES } from './states.js';
import { forget, keep, kept, ownTab } from './tab.js';
import { MINUTE, SECOND, clock, pause } from './time.js';

const HALF_MINUTE = 30 * SECOND;

export class Session extends EventTarget {
  state = 'opening';
  permission = null;
  instance = null;
  error = null;
  requestId = '';
  fileStatus = '';
  life = 30 * MINUTE;

  #options;
  #echo;
  #about;             // what the tokens are for, as a text
  #answer = null;     // the functions' last good answer
  #since = 0;         // when its token began to live
  #holder;            // whom it is for
  #last = {};         // the proof of the last request
  #ask = '';          // a proof is to be looked at: 'person' or 'page' says who caused it
  #busy = true;
  #timer;
  #tries = 0;
  #next = 0;          // no request before
  #opened = false;    // the frame has shown the document
  #silent = 0;        // 1: the frame has said nothing yet; 2: for too long
  #patience = HALF_MINUTE;
  #dead = false;      // the frame has lost its access: new tokens need a new frame
  #healed = -Infinity; // when access that was lost was last asked for again
  #locked;            // opened with a password: nothing is kept
  #stop = new AbortController();
  #blocked;

  constructor(options, echo) {
    super();
    let { mount } = options;
    if (typeof mount === 'string') mount = document.querySelector(mount);
    const given = this.#options = { ...options, sdk: options.sdk || SDK, mount };
    for (const name of ['generate', 'refresh', 'document', 'mount']) {
      if (!given[name]) throw problem('Missing', name);
    }
    const { generate, document: uri, permission, parameters } = given;
    this.#echo = echo;
    this.#about = JSON.stringify([generate, uri, permission, parameters]);
    this.#locked = given.password;
    takeLink();
    if (page.current) {
      this.state = 'waiting';
      page.waiting.push(this);
    } else this.begin();
  }

  /** It is this document's turn: called once, by the constructor or by the one that left. */
  async begin() {
    page.current = this;
    this.#become('opening');
    this.#listen();
    await ownTab();
    if (paceOf(this.#options.document).refused) this.#ask = 'page';
    this.#busy = false;
    this.#tick();
  }

  // ---- what it is ----

  get #closed() { return this.state === 'closed'; }
  get #may() { return STATES[this.state]; }
  get #mayWrite() { return this.#opened && this.permission?.Readonly === false; }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
    this.#echo?.(name, detail);
  }

  #become(state) {
    if (this.state === state || this.#closed) return;
    this.state = state;
    this.#emit(state);
  }

  #ready() {
    if (!this.#opened || !this.#may.runs) return;
    this.error = null;
    this.#become('open');
  }

  // ---- when something is due ----

  // The heartbeat. One long timer would do if machines never slept; so it looks at the clock every
  // half minute.
  #tick = () => {
    clearTimeout(this.#timer);
    if (this.#busy || this.#closed || page.current !== this) return;
    if (!this.#ask && !this.#may.runs) return;
    const now = clock(), left = this.left(), { instance } = this;
    const idle = left && this.#answer.RefreshToken && instance && !this.#dead && this.#silent < 2;
    let at = this.#next;
    if (!this.#ask && idle) at = Math.max(at, this.#since + this.life * 5 / 6);
    if (now >= at) return this.#turn();
    if (!left && instance && this.#may.runs) this.#become('expired');
    this.#timer = setTimeout(this.#tick, Math.min(at - now, left || HALF_MINUTE, HALF_MINUTE));
  };

  async #turn() {
    const cause = this.#ask;
    this.#ask = '';
    this.#busy = true;
    try {
      await this.#work(cause);
    } catch (error) {
      if (!this.#closed) await this.#fail(error.code ? error : problem('Script', error.message));
    }
    this.#busy = false;
    this.#tick();
  }

  async #work(cause) {
    if (this.instance && this.#silent > 1) {
      this.#drop();
      this.#ask ||= cause;
      this.#tries = 3; // not by itself: a large document may need the longer patience it gets next
      this.#patience *= 2;
      throw problem('Frame', '', { retry: true });
    }
    const proof = await this.#proof();
    if (this.#closed || this.#ask) return;
    if (proof.bearer === undefined) return this.#nobody(proof);
    if (cause && !this.#isWorth(cause, proof)) return this.#ready();
    const { me } = proof, found = this.#answer || this.#locked ? null : kept(this.#about, me);
    if (found) {
      this.#adopt(found.answer, me, clock() + found.left - found.answer.Timeout);
      this.permission = found.answer.Permission;
    }
    const has = this.left() && this.#answer.RefreshToken && me === this.#holder;
    const lacksFrame = has && !this.instance;
    const at = !lacksFrame && waitsUntil(cause === 'page');
    if (at) {
      this.#ask ||= cause;
      this.#next = at;
      return;
    }
    if (!this.#may.runs) this.#become(this.instance ? 'retrying' : 'opening');
    await (lacksFrame ? this.#show() : this.#renew(proof, cause));
  }

  // A proof is worth a request when a person asks, or when it is not the one that was refused, or
  // another person's than the document's.
  #isWorth(cause, { bearer, me }) {
    const last = this.#last, { runs, fresh } = this.#may, { error } = this;
    if (cause === 'person' || last.me === undefined) return true;
    if (runs || fresh === 'person') return me !== last.me;
    return !error || error.retry || (isRefusal(error) ? bearer !== last.bearer : me !== last.me);
  }

  #look(cause) {
    if (this.#ask !== 'person') this.#ask = cause;
    this.#tick();
  }

  // ---- who asks ----

  async #proof() {
    const { token, signin } = this.#options;
    const ask = () => askProof(token, signin).catch(() => {
      // A login that has nobody rejects, too.
      if (!this.instance && (this.#tries > 2 || !this.#may.runs)) return {};
      throw problem('Token', 'token()', { retry: true });
    });
    const proof = await ask();
    if (!proof.signedOut || this.state === 'signin' && !this.instance) return proof;
    await pause(SECOND); // it may only flicker
    return ask();
  }

  // Nobody is there: the person has signed out, or is not signed in yet. What the tab keeps serves
  // them after a reload, unless they left.
  async #nobody({ signedOut }) {
    await this.save();
    this.#drop(signedOut);
    this.permission = this.error = null;
    this.#become('signin');
  }

  // ---- tokens ----

  #adopt(answer, me, since) {
    this.#answer = answer;
    this.#holder = me;
    this.#since = since;
    this.life = answer.Timeout;
    this.requestId = answer.RequestId;
  }

  async #renew(proof, cause, again) {
    const { generate, refresh, document: uri, permission, password, parameters } = this.#options;
    const { bearer, me, by } = proof, answer = this.#answer;
    const anew = !answer?.RefreshToken || me !== this.#holder, began = clock();
    const body = anew
      ? { ...parameters, SourceURI: uri, Permission: permission, Password: password }
      : { AccessToken: answer.AccessToken, RefreshToken: answer.RefreshToken };
    this.#last = { bearer, me };
    if (by && page.known !== 'token') page.known = by;
    let fresh;
    try {
      fresh = await post(anew ? generate : refresh, bearer, body, this.#blocked);
    } catch (error) {
      if (error.status !== 401 || again || cause === 'page' || this.#closed) throw error;
      const next = await this.#proof().catch(() => proof);
      if (next.bearer === bearer || waitsUntil(false)) throw error;
      return next.bearer ? this.#renew(next, cause, true) : this.#nobody(next);
    }
    if (!this.#closed) await this.#accept(proof, began, fresh);
  }

  async #accept({ me }, began, answer) {
    const old = this.#answer, late = !this.left(), before = this.permission;
    page.pace.refused = false;
    if (!late) await this.save(); // new tokens may allow less, or need a new frame
    // An answer to the caller of a moment ago.
    if (this.#ask && (await this.#proof().catch(() => ({}))).me !== me) return;
    if (!this.#may.runs) return;
    const same = this.instance && !this.#dead && me === this.#holder
      && answer.WebofficeURL === old?.WebofficeURL;
    this.#adopt(answer, me, began);
    this.error = null;
    this.#tries = 0;
    if (me !== null && !this.#locked) keep(this.#about, me, answer, this.left());
    else forget();
    if (same) this.#setToken();
    // After its token's end a frame may be alive or not: one that may hold unsaved text is asked,
    // by saving it.
    const alive = same && (!late || this.#mayWrite && await this.save() !== 'fail' && !this.#dead);
    this.permission = answer.Permission;
    if (!alive) await this.#show();
    if (old) this.#emit('refreshed');
    if (before && JSON.stringify(before) !== JSON.stringify(this.permission)) {
      this.#emit('changed', this.permission);
    }
    this.#ready();
  }

  async #fail(error) {
    this.error = error;
    tell(error);
    const { code, status, wait } = error;
    if (/\.RefreshToken$/.test(code) && this.#answer?.RefreshToken) {
      this.#answer.RefreshToken = ''; // sealed with a key that is gone: generate, once
      return;
    }
    if (error.retry) {
      const step = Math.min(SECOND * 2 ** this.#tries++, Math.max(SECOND, this.life / 60));
      // Many pages were told the same moment.
      this.#next = clock() + (wait || 0) + step * (1 + Math.random()) / 2;
      if (this.instance) {
        this.#become(this.left() ? 'retrying' : 'expired');
        // The end may come: nothing that was written is lost to it.
        if (this.left() < this.life / 12) await this.save();
      } else if (this.#tries > 3 && !wait) this.#become('failed');
    } else {
      page.pace.refused = isRefusal(error);
      await this.save();
      if (status !== 401) this.#drop(!!status);
      this.#become(REFUSALS[status] || 'failed');
    }
    this.#emit('error', error);
  }

  // ---- the frame ----

  // After each refresh: the SDK keeps the first token otherwise, and posts that one again when the
  // frame says `ready`.
  #setToken() { this.instance.setToken(this.#forSDK()); }

  // The SDK refreshes five minutes ahead and runs wild below 20: it never hears of less than 21.
  // The heartbeat knows better.
  #forSDK() {
    return { token: this.#answer.AccessToken, timeout: Math.max(this.left(), 21 * MINUTE) };
  }

  async #show() {
    const { sdk, integrity, config, mount, place } = this.#options;
    this.#drop();
    try { await loadSDK(sdk, integrity); } catch (error) {
      throw this.#blocked['script-src ' + originOf(sdk)] || error;
    }
    if (this.#closed) return;
    place?.();
    const session = this;
    const instance = this.instance = mountFrame({
      ...config, mount, url: this.#answer.WebofficeURL,
      refreshToken() { // a plain function: the SDK ignores an async one without a word
        session.#tick(); // asks the functions if it is time, and sets the token then
        return session.#forSDK();
      },
    });
    this.#dead = false;
    this.#silent = 1;
    setTimeout(() => { // by a timer, which does not run while the machine sleeps
      if (this.instance !== instance || !this.#silent) return;
      this.#silent = 2;
      this.#tick();
    }, this.#patience);
    this.#hear(instance);
    this.#setToken();
    this.#emit('frame');
  }

  #hear(instance) {
    const on = (name, then) => hearFrame(instance, name, data => {
      if (this.instance !== instance) return; // late news of a frame that is gone
      this.#silent = 0;
      then(data);
    });
    const broken = ({ reason = 'Fail' }) => this.#broken(reason);
    on('fileOpen', data => {
      if (data.success === false || data.result === 'Fail' || data.reason) return broken(data);
      this.#opened = true;
      this.#ready();
    });
    on('filePasswordStatus', () => { // the person is asked, which may take a while
      this.#locked = true;
      forget();
    });
    on('error', broken);
    on('fileStatus', ({ status }) => {
      this.fileStatus = FILE_STATUS[status] || '';
      this.#emit(this.fileStatus);
    });
  }

  #drop(forAll) {
    try { this.instance?.destroy(); } catch { /* gone either way */ }
    this.instance = null;
    this.#opened = false;
    this.fileStatus = '';
    if (!forAll) return;
    this.#answer = null;
    this.#holder = undefined;
    forget();
  }

  // The frame reports an error. After its token's end the next token mends it. Before, somebody
  // took the access away ("your edit right was cancelled"), or the document is broken: one new
  // session, and after that it is the person's choice, since two windows would take it from each
  // other for ever.
  #broken(reason) {
    if (!this.#may.runs || this.#dead) return;
    const was = this.#opened, left = this.left();
    this.error = problem('Frame', reason);
    if (left) {
      this.#dead = true;
      this.#opened = false;
      if (clock() - this.#healed < this.life / 3) {
        this.#drop(true);
        this.#become(was ? 'taken' : 'failed');
        return this.#emit('error', this.error);
      }
      this.#healed = clock();
      this.#answer.RefreshToken = '';
    }
    this.#become(left ? 'retrying' : 'expired');
    this.#tick();
  }

  // ---- what the page may do ----

  left() { return this.#answer ? Math.max(0, this.#since + this.life - clock()) : 0; }

  async save() { return this.#mayWrite ? saveFrame(this.instance) : 'nochange'; }

  retry(anew, pressed) { // the button was: whoever presses it does not wait for the page's own
    if (this.#closed || this.state === 'waiting') return;
    if (anew) return this.#look('page');
    this.#tries = 0;
    if (pressed) page.pace.sent = [];
    if (!this.error?.wait) this.#next = 0;
    if (this.#may.runs) this.#tick();
    else this.#look('person');
  }

  async close(now) {
    if (!now) {
      await this.save();
      if (page.current === this) forget();
    }
    if (this.#closed) return;
    this.#become('closed');
    this.#drop();
    this.#stop.abort();
    clearTimeout(this.#timer);
    page.waiting = page.waiting.filter(other => other !== this);
    if (page.current !== this) return;
    page.current = null;
    page.waiting.shift()?.begin();
  }

  // ---- what the browser says ----

  #listen() {
    const { signal } = this.#stop;
    const save = () => this.save();
    // A phone may never tell more than that the page is hidden.
    const wake = () => document.hidden ? save() : this.#wake();
    for (const name of ['online', 'pageshow', 'visibilitychange']) {
      addEventListener(name, wake, { signal });
    }
    addEventListener('pagehide', save, { signal });
    this.#options.mount.addEventListener('focusout', save, { signal }); // the editor is left
    let { link } = page;
    addEventListener('hashchange', () => { // after link.js has taken a new one
      if (link !== page.link) this.#look('page');
      ({ link } = page);
    }, { signal });
    this.#blocked = watchPolicy({ signal }, (lacks, found) => {
      const frame = this.#answer && 'frame-src ' + originOf(this.#answer.WebofficeURL);
      if (lacks === frame && this.#may.runs) this.#fail(found);
    });
  }

  #wake() {
    const { runs, wakes } = this.#may;
    if (runs || wakes === 'passing' && this.error?.retry) this.retry();
    else if (wakes === true) this.retry(true);
  }
}

/** Opens a document: see weboffice.d.ts. */
export const open = options => new Session(options);
