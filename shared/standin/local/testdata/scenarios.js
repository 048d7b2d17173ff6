// What a page and its element do together, in every engine. Each scenario has functions, an IMM
// stand-in and a site of its own; ask() moves them, a frame shows the page.
const MINUTE = 60e3;
const NEXT = 'oss://team-docs/handbook/welcome.docx'; // open to anyone
const DECK = 'oss://test-bucket/test-object.pptx'; // not open to anyone

const elementIn = win => win.document.querySelector('weboffice-document');
const part = (win, id) => elementIn(win).shadowRoot.getElementById(id).textContent;
const shows = (win, state) => () => elementIn(win)?.getAttribute('state') === state;
const frameOf = win => win.document.querySelector('#place iframe, weboffice-document iframe');
const generates = (win, from = 0) =>
  win.requests.slice(from).filter(({ to }) => to === '/generate').length;
const load = (win, file = 'weboffice.js') => win.eval(`import('./${file}')`);

/** An element in a page, not opened by page.js. Attributes that are null are left out. */
function place({ setting }, win, attributes = {}, properties = {}) {
  const element = win.document.createElement('weboffice-document');
  const { generate, refresh, sdk } = setting;
  const all = { src: setting.document, generate, refresh, sdk, ...attributes };
  for (const name in all) if (all[name] !== null) element.setAttribute(name, all[name]);
  Object.assign(element, properties);
  win.document.getElementById('place').append(element);
  return element;
}

/** A page with the element, opened as somebody; with no groups as a guest. */
async function opened(stage, groups = [], path = 'page.html', width) {
  await stage.ask('become', groups);
  const win = await stage.visit(path, width);
  await stage.until(shows(win, 'open'));
  return win;
}

async function calls(stage, generate, refresh) {
  stage.is(await stage.ask('calls'), [generate, refresh, 0], 'billed, and spent twice');
}

/** The machine sleeps, and wakes. */
async function sleep(stage, win, ms) {
  await stage.ask('sleep', ms);
  win.sleepFor(ms);
  win.dispatchEvent(new win.Event('visibilitychange'));
}

const times = (win, name) => win.seen.filter(one => one === name).length;
const type = (win, text) => elementIn(win).session.instance.Application.StandIn.type(text);
const holds = (stage, text) =>
  stage.until(async () => (await stage.ask('text')).includes(text), text);

/** A page that is built with a framework; draw() draws it, and draws it anew. */
async function built(stage, framework, given = {}) {
  const win = await stage.visit(`frameworks/${framework}.html`);
  const { generate, refresh, sdk, document: src } = stage.setting;
  let now = { src, generate, refresh, sdk, ...given };
  win.auth = () => stage.proof('ann', 'editors');
  await stage.until(() => win.draw);
  const draw = async (next = {}) => {
    win.draw((now = { ...now, ...next }));
    await stage.pause(0);
  };
  await draw();
  return { win, draw };
}

/** What the editor's frame tells the page, without its frame. */
function frameSays(win, eventName, data) {
  const { contentWindow: source, src } = frameOf(win),
    event = new win.Event('message');
  const message = { source, origin: new URL(src).origin, data: { weboffice: 1, eventName, data } };
  for (const name in message) Object.defineProperty(event, name, { value: message[name] });
  win.dispatchEvent(event);
}

// How a page gets into each state. query is of page.html: lang, dir, bar.
const states = {
  async opening(stage, query) {
    const win = await stage.visit('blank.html');
    await load(win);
    win.hang = true;
    place(stage, win, query, { token: '' });
    return win;
  },
  async waiting(stage, query) {
    const win = await states.open(stage, query),
      first = elementIn(win);
    const second = first.cloneNode(false);
    first.hidden = true;
    first.after(second);
    await stage.until(() => second.getAttribute('state') === 'waiting');
    return win;
  },
  open: (stage, query) => opened(stage, ['editors'], 'page.html?' + new URLSearchParams(query)),
  async retrying(stage, query) {
    const win = await states.open(stage, query);
    win.offline = true;
    await sleep(stage, win, 26 * MINUTE);
    await stage.until(shows(win, 'retrying'));
    return win;
  },
  async expired(stage, query) {
    const win = await states.retrying(stage, query);
    await sleep(stage, win, 5 * MINUTE);
    await stage.until(shows(win, 'expired'));
    return win;
  },
  async signin(stage, query) {
    const win = await stage.visit('blank.html');
    await load(win);
    place(stage, win, query, { token: null });
    await stage.until(shows(win, 'signin'));
    return win;
  },
  async 'signin over the document'(stage, query) {
    const win = await states.open(stage, query),
      proof = await stage.proof('erin', 'editors');
    elementIn(win).token = proof + 'broken';
    await sleep(stage, win, 26 * MINUTE);
    await stage.until(shows(win, 'signin'));
    return win;
  },
  async refused(stage, query) {
    await stage.ask('become', ['nobody']);
    const win = await stage.visit('page.html?' + new URLSearchParams({ src: DECK, ...query }));
    await stage.until(shows(win, 'refused'));
    return win;
  },
  async ended(stage, query) {
    const src = 'oss://test-bucket/test-object.xlsx'; // its rule has session: 1m
    const win = await states.open(stage, { src, ...query });
    await sleep(stage, win, 26 * MINUTE);
    await stage.until(shows(win, 'ended'));
    return win;
  },
  async failed(stage, query) {
    const win = await stage.visit('blank.html');
    await load(win);
    const { sdk } = stage.setting;
    place(stage, win, { ...query, sdk: sdk + '.blocked' }, { token: '' });
    await stage.until(() => elementIn(win).session?.error);
    await win.pass(MINUTE);
    await stage.until(shows(win, 'failed'));
    return win;
  },
  async taken(stage, query) {
    const win = await states.open(stage, query);
    frameSays(win, 'error', { reason: 'tokenRevoked' });
    await stage.until(() => times(win, 'frame') === 2 && shows(win, 'open')());
    frameSays(win, 'error', { reason: 'tokenRevoked' });
    await stage.until(shows(win, 'taken'));
    return win;
  },
};

/** Lets axe look at each state. */
async function axe(stage, query) {
  for (const state in states) {
    sessionStorage.clear();
    const win = await states[state](stage, query),
      script = win.document.createElement('script');
    script.src = 'axe.js';
    await new Promise(done => {
      script.onload = done;
      win.document.head.append(script);
    });
    // The page around is this test's, and the frame is the stand-in's.
    const rules = { region: { enabled: false }, 'page-has-heading-one': { enabled: false } };
    const { violations, passes } = await win.axe.run(win.document, { iframes: false, rules });
    const found = violations.map(
      ({ id, nodes }) => id + ': ' + nodes.map(node => node.html).join(),
    );
    stage.is(found, [], state);
    stage.is(passes.length > 3, true, 'axe has looked');
  }
}

export const scenarios = {
  async 'whoever asks gets what a rule grants'(stage) {
    for (const [groups, role, readonly] of [
      [[], 'Read-only'],
      [['viewers'], 'Read-only'],
      [['editors'], 'Editing'],
      [['editors'], 'Read-only', ''],
    ]) {
      sessionStorage.clear(); // each in a tab of their own
      const win = await opened(stage, groups, 'page.html' + (readonly === '' ? '?readonly' : ''));
      stage.is(part(win, 'role'), role);
      stage.is(win.seen.join(), 'frame,open');
    }
    await calls(stage, 4, 0);
  },

  async 'readonly="false" may edit'(stage) {
    const win = await opened(stage, ['editors'], 'page.html?readonly=false');
    stage.is(part(win, 'role'), 'Editing');
  },

  async 'a person signs in with the button'(stage) {
    const win = await stage.visit('page.html?src=' + encodeURIComponent(DECK));
    await stage.until(shows(win, 'signin'));
    stage.is(part(win, 'way'), 'Try again');
    await stage.ask('become', ['editors']);
    const way = elementIn(win).shadowRoot.getElementById('way');
    // with high contrast a browser would paint the label's own colour behind it
    stage.is(win.getComputedStyle(way).forcedColorAdjust === 'auto', false);
    way.focus();
    way.click();
    await stage.until(shows(win, 'open'));
    stage.is(part(win, 'role'), 'Editing');
    // the button hides, and the focus goes with the person, into the document
    await stage.until(() => win.document.activeElement === frameOf(win));
    await calls(stage, 1, 0);
  },

  async 'a guest who signs in later gets their own'(stage) {
    const win = await opened(stage);
    await stage.ask('become', ['editors']);
    win.session.retry(true);
    await stage.until(() => part(win, 'role') === 'Editing');
    await calls(stage, 2, 0);
  },

  // ---- no storms ----

  async 'attack: a signin handler that sets a fresh token against a steady 401'(stage) {
    const win = await stage.visit('blank.html');
    await load(win);
    const element = win.document.createElement('weboffice-document');
    element.addEventListener('signin', async () => {
      element.token = (await stage.proof('ann', 'editors')) + 'broken';
    });
    const { generate, refresh, sdk } = stage.setting;
    for (const [name, value] of Object.entries({ src: DECK, generate, refresh, sdk })) {
      element.setAttribute(name, value);
    }
    win.document.getElementById('place').append(element);
    await stage.until(() => generates(win) >= 2);
    await win.pass(5000 - (win.Date.now() - win.requests[0].at));
    stage.is(generates(win) <= 3, true, generates(win) + ' generates');
    await stage.until(shows(win, 'signin'));
  },

  async 'attack: an inline function at each render against a 403'(stage) {
    const win = await stage.visit('blank.html');
    await load(win);
    const inline = () => () => stage.proof('nobody', 'nothing');
    const element = place(
      stage,
      win,
      { src: DECK },
      { token: inline(), options: { parameters: {} } },
    );
    await stage.until(shows(win, 'refused'));
    for (let i = 0; i < 40; i++) {
      element.token = inline();
      element.options = { parameters: {} };
      await win.pass(100);
      stage.is(part(win, 'title'), 'You have no access');
    }
    stage.is(generates(win) <= 3, true, generates(win) + ' generates');
  },

  async 'attack: an image of a page opens nothing; twin: the page does'(stage) {
    const { generate, document: uri } = stage.setting,
      src = generate + '?SourceURI=' + encodeURIComponent(uri);
    await new Promise(done => Object.assign(new Image(), { onerror: done, src }));
    await calls(stage, 0, 0);
    stage.is((await fetch(src)).status, 200);
    await calls(stage, 1, 0);
  },

  // ---- the right person ----

  async 'a token that is set before the module is there'(stage) {
    const win = await stage.visit('blank.html');
    const element = place(stage, win, {}, { token: await stage.proof('ann', 'editors') });
    await load(win);
    await stage.until(shows(win, 'open'));
    stage.is(part(win, 'role'), 'Editing');
    element.token = await stage.proof('victor', 'viewers');
    await stage.until(() => part(win, 'role') === 'Read-only' && shows(win, 'open')());
    await calls(stage, 2, 0);
  },

  async 'with the attribute signin a late token is nobody’s guest'(stage) {
    const win = await stage.visit('blank.html');
    const element = place(stage, win, { signin: '' });
    await load(win);
    await stage.until(shows(win, 'signin'));
    await win.pass(5000);
    stage.is(win.requests.length, 0);
    element.token = await stage.proof('ann', 'editors');
    await stage.until(shows(win, 'open'));
    stage.is(part(win, 'role'), 'Editing');
    await calls(stage, 1, 0);
  },

  async 'an attribute token is removed, with a sentence'(stage) {
    const win = await stage.visit('blank.html');
    await load(win);
    const element = place(stage, win, { token: await stage.proof('ann', 'editors') });
    await stage.until(shows(win, 'failed'));
    stage.is(element.hasAttribute('token'), false);
    stage.is(part(win, 'detail'), 'The page is not set up right');
    stage.is(win.requests.length, 0);
    element.token = await stage.proof('ann', 'editors');
    await stage.until(shows(win, 'open'));
  },

  async 'a sign-out: saved, frame gone, key removed, within two seconds'(stage) {
    const win = await stage.visit('blank.html');
    await load(win);
    const element = place(stage, win, {}, { token: await stage.proof('ann', 'editors') });
    await stage.until(shows(win, 'open'));
    type(win, ' Her last words.');
    stage.is(Object.keys(win.sessionStorage).join(), 'weboffice');
    const start = performance.now();
    element.token = null;
    await stage.until(shows(win, 'signin'));
    stage.is(performance.now() - start < 2000, true, 'in time');
    stage.is([!!frameOf(win), win.sessionStorage.weboffice], [false, undefined]);
    await holds(stage, 'Her last words.');
    await win.pass(MINUTE);
    await calls(stage, 1, 0);
  },

  async 'a guest in the tab of a guest with a password, or of a link’s holder, is asked anew'(
    stage,
  ) {
    await stage.ask('lay', { URI: NEXT, Password: 'hush' });
    let win = await stage.visit('blank.html');
    await load(win);
    place(stage, win, { src: NEXT }, { token: '', options: { password: 'hush' } });
    await stage.until(shows(win, 'open'));
    stage.is(win.sessionStorage.weboffice, undefined);
    win = await stage.visit('blank.html');
    await load(win);
    place(stage, win, { src: NEXT }, { token: '' });
    await stage.until(() => frameOf(win)); // which asks for the password
    stage.is(shows(win, 'opening')(), true);
    await calls(stage, 2, 0);
    win = await stage.visit('page.html#link=' + (await stage.ask('link')));
    await stage.until(shows(win, 'open'));
    stage.is(part(win, 'role'), 'Editing');
    win.history.replaceState(null, ''); // a router that knows nothing of it
    win = await stage.reload();
    await stage.until(shows(win, 'open'));
    stage.is(part(win, 'role'), 'Read-only');
    await calls(stage, 4, 0);
  },

  async 'a reload is free; another person’s is theirs'(stage) {
    let win = await opened(stage, ['editors']);
    for (let i = 0; i < 3; i++) {
      win = await stage.reload();
      await stage.until(shows(win, 'open'));
      stage.is(part(win, 'role'), 'Editing');
    }
    await calls(stage, 1, 0);
    await stage.ask('become', []);
    win = await stage.reload();
    await stage.until(shows(win, 'open'));
    stage.is(part(win, 'role'), 'Read-only');
    await calls(stage, 2, 0);
  },

  async 'a share link leaves the address, and the rest of the fragment stays'(stage) {
    const link = await stage.ask('link');
    for (const [hash, rest] of [
      ['#/route&link=', '#/route'],
      ['#section&link=', '#section'],
      ['#link=', ''],
    ]) {
      const win = await stage.visit('page.html' + hash + link);
      await stage.until(shows(win, 'open'));
      stage.is(win.location.href, new URL('page.html' + rest, location.href).href);
      stage.is(part(win, 'role'), 'Editing');
      const kept = JSON.stringify([{ ...win.sessionStorage }, { ...win.localStorage }]);
      stage.is(kept.includes(link.split('.')[2]), false, 'kept outside the history entry');
    }
    const before = await stage.ask('calls');
    const win = await stage.reload();
    await stage.until(shows(win, 'open'));
    stage.is(await stage.ask('calls'), before, 'a reload is free');
  },

  // ---- among others ----

  async 'open() in an effect with its cleanup, twice, and for another document'(stage) {
    const win = await stage.visit('blank.html');
    const { open } = await load(win),
      mount = win.document.getElementById('place');
    const { generate, refresh, sdk } = stage.setting;
    const effect = uri => {
      const session = open({ generate, refresh, sdk, document: uri, mount, token: '' });
      win.session = session;
      return () => session.close();
    };
    effect(stage.setting.document)();
    const cleanup = effect(stage.setting.document);
    await stage.until(() => win.session.state === 'open');
    cleanup();
    await stage.ask('lay', { URI: NEXT });
    effect(NEXT);
    await stage.until(() => win.session.state === 'open');
    await calls(stage, 2, 0);
    stage.is(win.document.querySelectorAll('iframe').length, 1);
  },

  async 'a new element opens when the old one has left'(stage) {
    const win = await stage.visit('blank.html');
    await load(win);
    const old = place(stage, win, {}, { token: '' });
    await stage.until(shows(win, 'open'));
    await stage.ask('lay', { URI: NEXT });
    const next = place(stage, win, { src: NEXT }, { token: '' });
    await stage.until(() => next.getAttribute('state') === 'waiting');
    await stage.pause(300);
    old.remove();
    await stage.until(() => next.getAttribute('state') === 'open');
    await calls(stage, 2, 0);
  },

  async 'what was typed is there after the element was removed and put back'(stage) {
    const win = await opened(stage, ['editors']),
      element = elementIn(win),
      at = element.parentNode;
    type(win, ' In the middle of a');
    await stage.pause(50); // on its way into the other process
    element.remove();
    at.append(element);
    await stage.until(shows(win, 'open'));
    await holds(stage, 'In the middle of a');
    await calls(stage, 1, 0);
  },

  async 'importing two copies'(stage) {
    const win = await opened(stage, ['editors']);
    const copy = await load(win, 'weboffice.js?copy');
    stage.is(Object.keys(copy).sort().join(), 'WebofficeDocument,link,open,texts');
    stage.is(elementIn(win).getAttribute('state'), 'open');
  },

  async 'moveBefore() keeps the frame, where the browser has it'(stage) {
    const win = await opened(stage, ['editors']),
      { body } = win.document;
    if (!body.moveBefore) return;
    const before = frameOf(win).contentWindow;
    body.moveBefore(elementIn(win), null);
    stage.is(frameOf(win).contentWindow === before, true);
    stage.is(times(win, 'frame'), 1);
  },

  async 'the editor fills the element, whatever display a page gives to it'(stage) {
    const win = await opened(stage, ['editors']),
      element = elementIn(win);
    const height = of => of.getBoundingClientRect().height;
    element.style.height = '500px';
    for (const display of ['', 'block', 'flex', 'inline-block', 'grid', 'inline-flex']) {
      element.style.display = display;
      element.removeAttribute('bar');
      stage.is([height(element), height(frameOf(win))], [500, 456], display);
      element.setAttribute('bar', 'none');
      stage.is(height(frameOf(win)), 500, display);
    }
    element.style.display = 'none';
    stage.is(height(element), 0);
  },

  async 'a problem moves nothing while somebody types on a phone'(stage) {
    const win = await opened(stage, ['editors'], 'page.html', 390);
    const box = () => {
      const { top, left, width, height } = frameOf(win).getBoundingClientRect();
      return [top, left, width, height];
    };
    const before = box();
    win.offline = true;
    await sleep(stage, win, 26 * MINUTE);
    await stage.until(shows(win, 'retrying'));
    stage.is(box(), before);
    stage.is(part(win, 'title'), 'Trying again…');
    const { width, scrollWidth } = {
      ...win.document.documentElement.getBoundingClientRect().toJSON(),
      scrollWidth: win.document.documentElement.scrollWidth,
    };
    stage.is(scrollWidth <= width, true, 'wider than the phone');
    win.offline = false;
    win.session.retry();
    await stage.until(shows(win, 'open'));
    stage.is(box(), before);
  },

  async 'a browser without AbortSignal.timeout, style sheets by script, or locks'(stage) {
    const win = await stage.visit('blank.html');
    delete win.AbortSignal.timeout;
    delete win.CSSStyleSheet.prototype.replaceSync;
    Object.defineProperty(win.navigator, 'locks', { value: undefined });
    await load(win);
    const element = place(stage, win, {}, { token: '' });
    await stage.until(shows(win, 'open'));
    stage.is(element.shadowRoot.querySelectorAll('style').length, 1);
    stage.is(win.getComputedStyle(element).display, 'block');
  },

  async 'the stand-in’s SDK has the surface that pages use'(stage) {
    const win = await opened(stage, ['editors']), { instance } = elementIn(win).session;
    await instance.ready();
    const { version, mainVersion, on } = instance;
    stage.is([version, mainVersion, typeof on], ['1.1.19', 'v1', 'undefined']);
    stage.is(Object.keys(instance.tokenData), ['token', 'timeout']);
    stage.is((await instance.tabs.getTabs()).length, 1);
    await instance.tabs.switchTab(1);
    await instance.setCommandBars([{ cmbId: 'HistoryVersion', attributes: { visible: false } }]);
    await instance.setCooperUserColor([{ userId: 'x', color: '#a00' }]);
    const heard = [], hear = ({ status }) => heard.push(status);
    instance.ApiEvent.AddApiEventListener('fileStatus', hear);
    type(win, ' By the bar.');
    stage.is((await instance.save()).result, 'ok');
    stage.is((await instance.save()).result, 'nochange');
    await instance.executeCommandBar('Undo');
    stage.is(heard.includes(1), true, String(heard));
    instance.ApiEvent.RemoveApiEventListener('fileStatus', hear);
    const before = heard.length;
    await instance.save();
    stage.is(heard.length, before);
    await holds(stage, 'By the bar.');
  },

  // ---- sites with a policy of their own ----

  async 'the policy that the guide names, with require-trusted-types-for'(stage) {
    const { generate, sdk } = stage.setting;
    await stage.ask('policies', {
      '/plain.html':
        "default-src 'none'; base-uri 'none'; form-action 'none'; " +
        `script-src 'self' ${new URL(sdk).origin}; frame-src ${new URL(sdk).origin}; ` +
        `connect-src ${new URL(generate).origin}; img-src data:; ` +
        "require-trusted-types-for 'script'; " +
        'trusted-types weboffice',
    });
    const win = await stage.visit('plain.html');
    await stage.until(shows(win, 'open'));
    stage.is(frameOf(win).getBoundingClientRect().height > 200, true, 'the frame’s height');
    stage.is(win.getComputedStyle(elementIn(win)).display, 'block');
    await calls(stage, 1, 0);
  },

  async 'what a policy lacks is named'(stage) {
    const { generate, sdk } = stage.setting,
      [office, api] = [sdk, generate].map(url => new URL(url).origin);
    for (const [lacks, host, rest] of [
      ['script-src', office, `script-src 'self'; frame-src ${office}; connect-src ${api}`],
      ['frame-src', office, `script-src 'self' ${office}; frame-src 'none'; connect-src ${api}`],
      ['connect-src', api, `script-src 'self' ${office}; frame-src ${office}; connect-src 'none'`],
    ]) {
      sessionStorage.clear();
      await stage.ask('policies', { '/plain.html': `default-src 'none'; img-src data:; ${rest}` });
      const win = await stage.visit('plain.html');
      await stage.until(shows(win, 'failed'));
      const { code, value } = elementIn(win).session.error;
      stage.is(code + ' ' + value, `CSP ${lacks} ${host}`);
      stage.is(part(win, 'detail'), 'The page is not set up right');
    }
  },

  async 'a wrong origin: the page’s console is told which to add'(stage) {
    const win = await stage.visit('page.html');
    await stage.until(() => win.session?.error);
    await win.pass(MINUTE);
    await stage.until(shows(win, 'failed'));
    const { code, message } = win.session.error;
    stage.is(code, 'Network');
    stage.is(message.includes('origins') && message.includes(location.origin), true, message);
    stage.is(part(win, 'detail').includes('origins'), false, part(win, 'detail'));
    await calls(stage, 0, 0);
  },

  async 'a blocked SDK is named, and then goes on without another call'(stage) {
    const win = await stage.visit('blank.html');
    let end = '.blocked';
    Object.defineProperty(win.HTMLScriptElement.prototype, 'src', {
      set(src) {
        this.setAttribute('src', src + end);
      },
    });
    await load(win);
    place(stage, win, {}, { token: '' });
    await stage.until(() => elementIn(win).session?.error);
    await win.pass(MINUTE);
    await stage.until(shows(win, 'failed'));
    stage.is(elementIn(win).session.error.code, 'SDK');
    stage.is(part(win, 'detail'), 'Blocked. Allow ' + stage.setting.sdk);
    end = '';
    elementIn(win).shadowRoot.getElementById('way').click();
    await stage.until(shows(win, 'open'));
    await calls(stage, 1, 0);
  },

  // ---- the life of a session ----

  async 'three refreshes, in a frame that goes on'(stage) {
    const win = await opened(stage);
    for (let i = 1; i <= 3; i++) {
      await stage.ask('sleep', 25 * MINUTE);
      await win.pass(25 * MINUTE);
      await stage.until(() => times(win, 'refreshed') === i);
    }
    stage.is(win.seen.join(), 'frame,open,refreshed,refreshed,refreshed');
    await calls(stage, 1, 3);
  },

  async 'a machine that slept for eight hours'(stage) {
    const win = await opened(stage);
    await sleep(stage, win, 8 * 60 * MINUTE);
    await stage.until(() => times(win, 'refreshed') === 1 && shows(win, 'open')());
    await calls(stage, 1, 1);
    await sleep(stage, win, 25 * MINUTE);
    await stage.until(() => times(win, 'refreshed') === 2);
    await calls(stage, 1, 2);
  },

  async 'rights that change while somebody writes'(stage) {
    const win = await opened(stage, ['editors']);
    type(win, ' While I may.');
    for (const [i, [group, role]] of [
      ['viewers', 'Read-only'],
      ['editors', 'Editing'],
    ].entries()) {
      await stage.ask('become', [group]);
      await sleep(stage, win, 25 * MINUTE);
      await stage.until(() => times(win, 'changed') === i + 1 && part(win, 'role') === role);
      await calls(stage, 2 + i, 0);
    }
    await holds(stage, 'While I may.');
    stage.is(times(win, 'frame'), 1, 'the same address, the same frame');
  },

  async 'a right that ends, and a session'(stage) {
    let win = await opened(stage, ['viewers'], 'page.html?src=' + encodeURIComponent(DECK));
    await stage.ask('become', ['nobody']);
    await sleep(stage, win, 25 * MINUTE);
    await stage.until(shows(win, 'refused'));
    stage.is(!!frameOf(win), false);
    stage.is(/^RequestId \S+$/.test(part(win, 'request')), true, part(win, 'request'));
    // Its rule has session: 1m.
    const sheet = encodeURIComponent('oss://test-bucket/test-object.xlsx');
    win = await opened(stage, ['editors'], 'page.html?src=' + sheet);
    await sleep(stage, win, 26 * MINUTE);
    await stage.until(shows(win, 'ended'));
    stage.is(part(win, 'way'), 'Continue here');
    elementIn(win).shadowRoot.getElementById('way').click();
    await stage.until(shows(win, 'open'));
    await calls(stage, 3, 0);
  },

  async 'IMM throttles: asked again, not before Retry-After'(stage) {
    const win = await opened(stage);
    await stage.ask('fault', 'throttled');
    await sleep(stage, win, 25 * MINUTE);
    await stage.until(shows(win, 'retrying'));
    const { wait, status } = win.session.error,
      before = win.requests.length;
    stage.is([wait, status], [3000, 429]);
    win.session.retry();
    await win.pass(2500);
    stage.is(win.requests.length, before);
    await win.pass(2500);
    await stage.until(() => times(win, 'refreshed') === 1 && shows(win, 'open')());
    await calls(stage, 1, 1);
  },

  async 'an answer that got lost behind the function'(stage) {
    const win = await opened(stage);
    await stage.ask('fault', 'cut after');
    await sleep(stage, win, 25 * MINUTE);
    await stage.until(() => times(win, 'refreshed') === 1 && shows(win, 'open')());
    await calls(stage, 2, 1);
  },

  async 'an answer that got lost before the page'(stage) {
    const win = await opened(stage),
      send = win.fetch;
    let answers = 0;
    win.fetch = async (to, init) => {
      const reply = await send(to, init);
      if (String(to).endsWith('/refresh') && !answers++) throw new TypeError('lost');
      return reply;
    };
    await sleep(stage, win, 25 * MINUTE);
    await stage.until(shows(win, 'retrying'));
    await win.pass(MINUTE / 2);
    await stage.until(() => times(win, 'refreshed') === 1 && shows(win, 'open')());
    stage.is(answers, 2, 'the lost one and its repetition');
    await calls(stage, 1, 1);
  },

  async 'a token opened elsewhere: taken back once, then it is the person’s choice'(stage) {
    const win = await opened(stage, ['editors']);
    const take = async text => {
      const { AccessToken, WebofficeURL } = JSON.parse(win.sessionStorage.weboffice).answer,
        File = new URL(WebofficeURL).pathname.split('/').pop();
      await stage.ask('steal', { Action: 'open', Frame: 'theirs', Token: AccessToken, File });
      type(win, text); // when it is saved, the frame hears of it
    };
    await take(' One.');
    await stage.until(() => times(win, 'frame') === 2 && shows(win, 'open')());
    await calls(stage, 2, 0);
    await take(' Two.');
    await stage.until(shows(win, 'taken'));
    stage.is(part(win, 'way'), 'Continue here');
    await calls(stage, 2, 0);
    win.session.retry();
    await stage.until(shows(win, 'open'));
    await calls(stage, 3, 0);
  },

  async 'another address needs another frame'(stage) {
    await stage.ask('switches', { NewURLEachTime: true });
    const win = await opened(stage, ['editors']);
    type(win, ' Kept.');
    await stage.ask('become', ['viewers']);
    await sleep(stage, win, 25 * MINUTE);
    await stage.until(() => times(win, 'frame') === 2 && shows(win, 'open')());
    stage.is(win.document.querySelectorAll('iframe').length, 1);
    await holds(stage, 'Kept.');
    await calls(stage, 2, 0);
  },

  // ---- built with React, Vue and Svelte ----

  async 'framework: options and texts arrive, and a render asks nobody'(stage, framework) {
    const { win, draw } = await built(stage, framework, {
      inline: true,
      word: 'Yours',
      hide: true,
    });
    await stage.until(shows(win, 'open'));
    stage.is(elementIn(win).options, { parameters: { Hidecmb: true } });
    stage.is(part(win, 'role'), 'Yours');
    let asked = 0;
    const { auth } = win;
    win.auth = () => (asked++, auth());
    for (let i = 0; i < 20; i++) await draw({ word: 'Word ' + i });
    await stage.until(() => part(win, 'role') === 'Word 19');
    stage.is([asked, generates(win), elementIn(win).getAttribute('state')], [0, 1, 'open']);
    await draw({ readonly: true });
    await stage.until(() => generates(win) === 2 && shows(win, 'open')());
    await draw({ readonly: false });
    await stage.until(() => generates(win) === 3 && shows(win, 'open')());
  },

  async 'framework: attack: an inline token at each render, against a 403'(stage, framework) {
    const { win, draw } = await built(stage, framework, { src: DECK });
    win.auth = () => stage.proof('nobody', 'nothing');
    await stage.until(() => elementIn(win)); // a guest's 401 comes first
    await stage.until(shows(win, 'signin'));
    await draw({ inline: true });
    await stage.until(shows(win, 'refused'));
    const from = win.requests.length;
    await win.pass(1000);
    for (let i = 0; i < 20; i++) {
      await draw({ word: 'Word ' + i });
      await win.pass(200);
      stage.is(part(win, 'title'), 'You have no access');
    }
    stage.is(generates(win, from), 0, 'after the refusal');
    stage.is(generates(win) <= 3, true, generates(win) + ' generates');
  },

  async 'framework: attack: a fresh token at each render, against a steady 401'(stage, framework) {
    const { win, draw } = await built(stage, framework, { src: DECK, inline: true });
    win.auth = async () => (await stage.proof('ann', 'editors')) + 'broken';
    await stage.until(() => generates(win) > 0);
    const start = win.requests[0].at;
    for (let i = 0; win.Date.now() < start + 4800; i++) {
      await draw({ word: 'Word ' + i });
      await win.pass(100);
    }
    stage.is(generates(win) <= 3, true, generates(win) + ' generates');
  },

  async 'framework: signs in late, signs out, and in as another'(stage, framework) {
    const { win, draw } = await built(stage, framework, { signin: true });
    await stage.until(shows(win, 'signin'));
    stage.is(win.requests.length, 0);
    await draw({ token: await stage.proof('ann', 'editors') });
    await stage.until(shows(win, 'open'));
    stage.is(part(win, 'role'), 'Editing');
    stage.is(elementIn(win).hasAttribute('token'), false);
    await draw({ token: undefined });
    await stage.until(shows(win, 'signin'));
    stage.is(win.sessionStorage.weboffice, undefined);
    await draw({ token: await stage.proof('victor', 'viewers') });
    await stage.until(shows(win, 'open'));
    stage.is(part(win, 'role'), 'Read-only');
    await calls(stage, 2, 0);
  },

  async 'framework: another document, gone, and back'(stage, framework) {
    await stage.ask('lay', { URI: NEXT });
    const { win, draw } = await built(stage, framework, { inline: true });
    await stage.until(shows(win, 'open'));
    await draw({ src: NEXT });
    await stage.until(() => generates(win) === 2 && shows(win, 'open')());
    await draw({ src: stage.setting.document });
    await stage.until(() => generates(win) === 3 && shows(win, 'open')());
    await draw({ gone: true });
    await stage.until(() => !elementIn(win));
    await draw({ gone: false });
    await stage.until(shows(win, 'open'));
    stage.is(generates(win), 3);
    stage.is(win.document.querySelectorAll('iframe').length, 1);
  },

  async 'framework: open() in an effect, under StrictMode'(stage, framework) {
    if (framework !== 'react') return;
    await stage.ask('lay', { URI: NEXT });
    const { win, draw } = await built(stage, framework, { effect: true });
    await stage.until(() => win.document.querySelector('#effect iframe'));
    stage.is(generates(win), 1);
    await draw({ src: 'oss://test-bucket/test-object.pptx' });
    await stage.until(() => generates(win) === 2);
    await stage.until(() => win.document.querySelectorAll('#effect iframe').length === 1);
  },

  // ---- seen, and read out ----

  async 'axe: every state'(stage) {
    await axe(stage, {});
  },
  async 'axe: every state in Chinese'(stage) {
    await axe(stage, { lang: 'zh' });
  },
  async 'axe: every state from right to left'(stage) {
    await axe(stage, { dir: 'rtl', lang: 'ar' });
  },
  async 'axe: every state without the line'(stage) {
    await axe(stage, { bar: 'none' });
  },

  // Shows a state, and leaves it there: for a picture, not for a verdict.
  async picture(stage, what) {
    const { state, width, height, ...query } = Object.fromEntries(new URLSearchParams(what));
    Object.assign(document.body.style, { margin: 0, overflow: 'hidden' });
    stage.size = { width, height };
    await states[state](stage, query);
    await stage.pause(400);
  },
};
