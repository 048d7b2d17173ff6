// <weboffice-document>: attributes and properties in, a session and its states out.
import { build, make } from './cover.js';
import { markupMayLoad } from './frame.js';
import { inBrowser } from './page.js';
import { problem, tell } from './problem.js';
import { Session } from './session.js';
import { STATES } from './states.js';
import { sentence, texts, wordsFor } from './texts.js';

// Renders make new objects each time: those that say the same are the same.
const asText = value => {
  try { return JSON.stringify({ ...value, mount: 0 }); } catch { return NaN; }
};

const ATTRIBUTES = ['generate', 'refresh', 'sdk', 'readonly', 'signin', 'integrity', 'src'];

// Where there is no page, as on a server that renders one, the class is empty.
export class WebofficeDocument extends (inBrowser ? HTMLElement : class {}) {
  static observedAttributes = [...ATTRIBUTES, 'token'];

  /** The session, null where none is open. */
  session = null;

  #token; #options; #texts;
  #planned; #failure; #show;

  constructor() {
    super();
    this.#show = build(this, () => this.session ? this.session.retry(false, true) : this.#plan());
    // What a script has set before this class was there stands in the class's way.
    for (const name of [...ATTRIBUTES, 'token', 'options', 'texts']) {
      if (!this.hasOwnProperty(name)) continue;
      const value = this[name];
      delete this[name];
      this[name] = value;
    }
  }

  /** The caller's proof: see proof.js. */
  get token() { return this.#token; }
  set token(token) {
    const before = this.#token, isRender = String(token) === String(before);
    this.#token = token;
    // A render makes the same function anew each time. It is called when a proof is due, and at
    // once only where one is waited for.
    if (token === before || isRender && this.session?.state !== 'signin') return;
    this.session ? this.session.retry(true) : this.#plan();
  }

  get options() { return this.#options; }
  set options(options) {
    const before = asText(this.#options);
    this.#options = options;
    if (asText(options) !== before) this.#plan();
  }

  get texts() { return this.#texts; }
  set texts(words) {
    this.#texts = words;
    this.#draw();
  }

  connectedCallback() { this.#plan(); }

  // Moved by moveBefore(): the frame lives on.
  connectedMoveCallback() {}

  // Out of the page the frame is gone at once. The tokens are kept for when the element comes back.
  disconnectedCallback() {
    this.session?.close(true);
    this.session = null;
  }

  attributeChangedCallback(name, before, value) {
    if (before === value) return;
    if (name === 'token' && value !== null) {
      this.removeAttribute(name); // every script and style sheet can read an attribute
      tell(this.#failure = problem('Attribute', name));
    } else this.#plan();
  }

  // Attributes that change together open once.
  async #plan() {
    if (this.#planned) return;
    this.#planned = true;
    await this.session?.close();
    this.#planned = false;
    this.session = null;
    // A token that came as an attribute is somebody's: nobody is asked for as a guest.
    if (this.#token !== undefined || this.#failure?.value !== 'token') this.#failure = null;
    if (this.isConnected && !this.#failure) this.#open();
    this.#draw();
  }

  #open() {
    const { src, generate, refresh, sdk, integrity, readonly, signin } = this;
    if (!src) return;
    // In the page's own tree, where the SDK looks for it; not before there is a frame, since a
    // framework that takes over a server's HTML expects the tag as the server left it.
    const mount = make('div'), place = () => this.replaceChildren(mount);
    const given = {
      generate, refresh, sdk, integrity, signin, ...this.#options, document: src, mount, place,
      token: () => this.#token,
    };
    if (readonly) given.permission = { ...given.permission, Readonly: true };
    try {
      if (sdk && !markupMayLoad(sdk)) throw problem('Attribute', 'options.sdk');
      this.session = new Session(given, (name, detail) => {
        this.#draw();
        this.dispatchEvent(new CustomEvent(name, { detail }));
      });
    } catch (error) {
      tell(this.#failure = error);
    }
  }

  #draw() {
    const error = this.#failure, nothing = { state: error ? 'failed' : 'closed', error };
    const session = this.session || nothing, { state, instance } = session;
    const { way, runs } = STATES[state], problem = !runs && state !== 'taken' && session.error;
    const tag = this.closest('[lang]')?.lang || navigator.language, own = wordsFor(tag);
    const words = { ...texts.en, ...own, ...this.#texts };
    this.#show(state, instance, own ? tag : 'en', {
      title: words[state],
      detail: problem && sentence(problem, words),
      request: problem?.requestId && 'RequestId ' + problem.requestId,
      way: words[way],
      role: instance && words[session.permission?.Readonly ? 'readonly' : 'editing'],
      file: words[session.fileStatus],
    });
  }
}

// Frameworks set what they find as a property, so that each attribute is one.
for (const name of ATTRIBUTES) {
  const isFlag = /readonly|signin/.test(name);
  Object.defineProperty(WebofficeDocument.prototype, name, {
    get() {
      const text = this.getAttribute(name);
      return isFlag ? !/^(null|false)$/i.test(text) : text;
    },
    set(value) {
      if (isFlag) value = value && value !== 'false' ? '' : null;
      value == null ? this.removeAttribute(name) : this.setAttribute(name, value);
    },
  });
}

if (inBrowser && !customElements.get('weboffice-document')) {
  customElements.define('weboffice-document', WebofficeDocument);
}
