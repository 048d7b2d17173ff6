// The stand-in's editor frame. It shows nothing without the JS-SDK: the page hands it an access
// token by postMessage, and every right it shows comes from the server's answer to that token.
'use strict';

(function () {
  const byID = id => document.getElementById(id);
  const body = document.body;
  const file = location.pathname.split('/').pop();
  const frame = crypto.getRandomValues(new Uint32Array(4)).join('-');

  let page = null; // the origin of the page around, fixed by its first message
  let token = '';
  let password = '';
  let view = null; // what the server lets this session see
  let shown = 0; // the version on the screen
  let expires = 0; // by performance.now()
  let opened = false; // this frame has opened its grant
  let online = true;
  let dirty = false;
  let saving = null; // the save under way
  let saveTimer = 0;
  let pollTimer = 0;
  let asked = 0; // numbers the open and renew calls: a late answer to an older token is dropped

  const dead = {
    expired: [
      'tokenExpired',
      'The session has expired',
      'The access token has ended and no new one came. What was saved is safe.',
    ],
    revoked: [
      'tokenRevoked',
      'Your edit right was cancelled',
      'The same token was opened in another place. Only the last one keeps the document.',
    ],
    unknown: [
      'tokenInvalid',
      'This token opens nothing here',
      'The access token is not known, or belongs to another document.',
    ],
  };

  // ---- to the page ----

  function tell(eventName, data) {
    if (window.parent !== window)
      window.parent.postMessage({ weboffice: 1, eventName, data }, page || '*');
  }

  function fileStatus(status, words) {
    tell('fileStatus', { status });
    byID('saved').textContent = words;
    byID('saved').dataset.status = status;
  }

  // ---- from the page ----

  window.addEventListener('message', message => {
    const sent = message.data;
    if (
      message.source !== window.parent ||
      window.parent === window ||
      !sent ||
      sent.weboffice !== 1
    )
      return;
    if (page === null) page = message.origin;
    if (message.origin !== page) return;
    if (sent.eventName === 'config') configure(sent.data);
    if (sent.eventName === 'setToken') takeToken(sent.data.token);
    if (sent.eventName === 'save')
      saveNow(true).then(answer => tell('save.result', { id: sent.data.id, answer }));
    if (sent.eventName === 'commandBars') showBars(sent.data);
    if (sent.eventName === 'executeCommandBar') barOf(sent.data.id)?.click();
    if (sent.eventName === 'userColors') byID('user').style.color = sent.data[0]?.color || '';
    if (sent.eventName === 'type') typeIn(sent.data.text);
  });

  function configure({ mode, commonOptions }) {
    const hidden =
      commonOptions.isShowTopArea === false
        ? 'none'
        : commonOptions.isShowHeader === false
          ? 'no-header'
          : '';
    body.dataset.chrome = hidden || (mode === 'simple' ? 'simple' : 'all');
  }

  // The buttons that pages know by the editor's names for them.
  const BARS = {
    HistoryVersion: 'history',
    TabPrintPreview: 'print',
    ExportPDF: 'export',
    Undo: 'undo',
    Redo: 'redo',
  };
  const barOf = id => (id in BARS ? byID(BARS[id]) : null);

  function showBars(bars) {
    for (const { cmbId, attributes } of bars)
      barOf(cmbId)?.classList.toggle('barred', attributes?.visible === false);
  }

  // What a person would type at the end of the first page.
  function typeIn(text) {
    const last = byID('document').querySelector(
      'article[contenteditable] > :last-child, td[contenteditable]',
    );
    if (!last) return;
    last.textContent += text;
    byID('document').dispatchEvent(new Event('input'));
  }

  async function takeToken(next) {
    if (next === token && body.dataset.state === 'open') return;
    token = next;
    await enter(opened ? 'renew' : 'open');
  }

  // ---- to the server ----

  async function ask(action, more) {
    const answer = await fetch('/office/session', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({
        Action: action,
        File: file,
        Frame: frame,
        Token: token,
        Password: password,
        ...more,
      }),
    });
    if (!answer.ok) throw new Error('the stand-in answered ' + answer.status);
    if (!online) {
      online = true;
      tell('webSocketStatus', { status: 'online' });
      // As the real frame does when it comes back: the JS-SDK answers with the token it has kept.
      tell('ready');
      if (dirty) saveSoon();
    }
    return answer.json();
  }

  function lost() {
    if (!online) return;
    online = false;
    tell('webSocketStatus', { status: 'offline' });
    notice('Connection lost. Trying again.');
  }

  // enter opens the document with the current token, or goes on with it.
  async function enter(action) {
    const number = ++asked;
    let answer;
    try {
      answer = await ask(action);
    } catch {
      lost();
      return later(1000, () => token && enter(action));
    }
    if (number !== asked) return;
    opened = opened || answer.State === 'open' || answer.State === 'locked';
    watch(answer);
    if (answer.State === 'locked') return askPassword();
    if (answer.State !== 'open') return die(answer.State);
    const first = view === null;
    show(answer);
    if (body.dataset.state === 'locked') tell('filePasswordStatus', { status: 'opened' });
    enterState('open');
    if (dirty) saveSoon();
    if (!first) return;
    tell('fileOpen', {
      success: true,
      readonly: view.Readonly,
      fileInfo: { id: file, officeType: view.Kind, name: view.Name },
    });
  }

  // watch looks after the session: at the token's end, and often enough to see that another frame
  // has taken the document.
  function watch(answer) {
    expires = performance.now() + (answer.ExpiresIn || 0);
    if (answer.State !== 'open') return clearTimeout(pollTimer);
    later(Math.min(answer.ExpiresIn + 10, Math.max(400, Math.min(answer.Life / 30, 5000))), check);
  }

  function later(milliseconds, call) {
    clearTimeout(pollTimer);
    pollTimer = setTimeout(call, milliseconds);
  }

  async function check() {
    const used = token;
    let answer;
    try {
      answer = await ask('check');
    } catch {
      lost();
      return later(1000, check);
    }
    if (used !== token) return;
    watch(answer);
    if (answer.State !== 'open') return die(answer.State);
    if (answer.Version > shown && !dirty && !saving && !view.Cached) enter('renew');
  }

  // ---- the session's end ----

  function enterState(state) {
    body.dataset.state = state;
    for (const part of ['top', 'tools', 'middle', 'bottom']) byID(part).inert = state !== 'open';
  }

  function overlay(state, title, text) {
    enterState(state);
    byID('overlay-title').textContent = title;
    byID('overlay-text').textContent = text;
    byID('unlock').hidden = state !== 'locked';
    byID('reload').hidden = !(state in dead);
  }

  // As with the real one, a token that ends says nothing to the page, and a document that never
  // opened says it by fileOpen.
  function die(state) {
    if (body.dataset.state === state) return;
    const [reason, title, text] = dead[state] || dead.unknown;
    clearTimeout(pollTimer);
    setEditable(false);
    overlay(state in dead ? state : 'unknown', title, text);
    if (!opened) tell('fileOpen', { msg: reason, result: 'Fail' });
    else if (state !== 'expired') tell('error', { reason });
  }

  function askPassword() {
    overlay(
      'locked',
      'This document is protected',
      password ? 'That password is not right.' : 'Enter its password to open it.',
    );
    tell('filePasswordStatus', { status: password ? 'wrong' : 'required' });
    byID('password').focus();
  }

  byID('unlock').addEventListener('submit', event => {
    event.preventDefault();
    password = byID('password').value;
    enter('renew');
  });
  byID('reload').addEventListener('click', () => location.reload());

  // ---- what is shown ----

  const count = pages => pages + (pages === 1 ? ' page' : ' pages');

  function show(answer) {
    const before = view;
    view = answer.View;
    const same = before && answer.Version === shown && before.Pages.length === view.Pages.length;
    byID('title').textContent = document.title = view.Title;
    byID('kind').textContent = { w: 'W', p: 'P', s: 'S', f: 'PDF' }[view.Kind];
    body.dataset.kind = view.Kind;
    byID('user').textContent = [...view.UserName][0].toUpperCase();
    byID('user').title = view.UserName;
    byID('user').setAttribute('aria-label', view.UserName);
    byID('mode').textContent = view.Cached
      ? 'Cached preview'
      : view.Readonly
        ? 'Read only'
        : 'Editing';
    for (const button of document.querySelectorAll('[data-needs]')) {
      const right = button.dataset.needs;
      button.hidden = right === 'edit' ? view.Readonly : !view[right];
    }
    body.classList.toggle('hidecmb', view.Hidecmb);
    body.classList.toggle('no-copy', !view.Copy);
    body.classList.toggle('may-print', view.Print);
    const limited = view.Pages.length < view.TotalPages;
    const of = limited ? view.Pages.length + ' of ' : '';
    byID('pages').textContent = view.File?.Pages === 0 ? '' : of + count(view.TotalPages);
    drawVersions();
    drawWatermark();
    if (!same && !dirty) {
      shown = answer.Version;
      drawPages(limited);
    }
    setEditable(!view.Readonly);
    if (!dirty && (!before || before.Readonly !== view.Readonly)) {
      byID('saved').textContent = view.Readonly ? '' : 'Changes are saved as you type';
      byID('saved').dataset.status = '';
    }
  }

  function drawPages(limited) {
    const content = view.File
      ? [drawFile(view.File)]
      : view.Pages.map(text => (view.Kind === 's' ? drawSheet(text) : drawPage(text)));
    if (limited) {
      const limit = make(
        'p',
        'limit',
        'The preview ends here: ' + view.Pages.length + ' of ' + view.TotalPages + ' pages.',
      );
      content.push(limit);
      new IntersectionObserver((seen, observer) => {
        if (!seen.some(one => one.isIntersecting)) return;
        observer.disconnect();
        tell('previewLimit', { pages: view.Pages.length, totalPages: view.TotalPages });
      }).observe(limit);
    }
    byID('document').replaceChildren(...content);
  }

  function make(tag, className, text) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  }

  function drawPage(text) {
    const sheet = make('article', 'page');
    sheet.dataset.part = 'page';
    sheet.append(...text.split('\n').map((line, i) => make(i === 0 ? 'h2' : 'p', '', line)));
    return sheet;
  }

  // A real file: what it is, since the stand-in cannot read what it says.
  function drawFile({ Name, Size, Pages, Picture }) {
    const sheet = make('article', 'page');
    const size = Math.ceil(Size / 1024).toLocaleString() + ' KB';
    sheet.append(
      make('h2', '', Name),
      make('p', '', Pages ? size + ', ' + count(Pages) : size),
      make('p', '', 'This stand-in cannot read office files, nor edit them. IMM can.'),
    );
    if (Picture) {
      const picture = make('img');
      picture.src = Picture;
      picture.alt = 'The first page, as its program left it in the file';
      sheet.append(picture);
    }
    return sheet;
  }

  function drawSheet(text) {
    const rows = text.split('\n').map(line => line.split('\t'));
    const columns = Math.max(5, ...rows.map(row => row.length));
    const table = make('table', 'sheet');
    table.dataset.part = 'sheet';
    const head = table.insertRow();
    head.append(
      make('th'),
      ...Array.from({ length: columns }, (_, i) =>
        make('th', '', String.fromCharCode(65 + (i % 26))),
      ),
    );
    rows.forEach((row, number) => {
      const line = table.insertRow();
      line.append(
        make('th', '', number + 1),
        ...Array.from(head.cells)
          .slice(1)
          .map((_, i) => make('td', '', row[i] || '')),
      );
    });
    return table;
  }

  // readPages turns what is on the screen back into text.
  function readPages() {
    const lines = nodes => [...nodes].map(node => node.textContent.replace(/\n$/, '')).join('\n');
    return [...byID('document').querySelectorAll('[data-part]')].map(part => {
      if (part.dataset.part === 'page') return lines(part.childNodes);
      return [...part.rows]
        .slice(1)
        .map(row =>
          [...row.querySelectorAll('td')]
            .map(cell => cell.textContent.replace(/\s+/g, ' '))
            .join('\t')
            .trimEnd(),
        )
        .join('\n');
    });
  }

  function setEditable(editable) {
    for (const part of byID('document').querySelectorAll('article, td')) {
      if (editable) {
        part.setAttribute('contenteditable', 'plaintext-only');
        part.setAttribute('role', 'textbox');
        part.setAttribute('aria-multiline', 'true');
        part.setAttribute('aria-label', 'Text');
      } else {
        for (const name of ['contenteditable', 'role', 'aria-multiline', 'aria-label'])
          part.removeAttribute(name);
      }
    }
  }

  function drawVersions() {
    const items = (view.Versions || [])
      .slice()
      .reverse()
      .map(one => {
        const item = make('li', '', 'Version ' + one.Version);
        item.append(
          make(
            'small',
            '',
            one.User ? one.User + ', ' + new Date(one.Time).toLocaleString() : 'As it was found',
          ),
        );
        return item;
      });
    const entries = make('ol');
    entries.append(...items);
    byID('versions').replaceChildren(make('h2', '', 'Versions'), entries);
    if (!view.History) byID('versions').hidden = true;
  }

  function drawWatermark() {
    const mark = view.Watermark || {};
    if (mark.Type !== 1) {
      byID('watermark').style.backgroundImage = 'none';
      return;
    }
    const lines = mark.Value.split('\n');
    const font = mark.Font || 'bold 20px Serif';
    const canvas = document.createElement('canvas');
    const pen = canvas.getContext('2d');
    pen.font = font;
    const width = Math.max(...lines.map(line => pen.measureText(line).width));
    canvas.width = Math.ceil(width + (mark.Horizontal || 50));
    canvas.height = Math.ceil(width * 0.7 + 24 * lines.length + (mark.Vertical || 50));
    pen.font = font;
    pen.fillStyle = mark.FillStyle || 'rgba(192,192,192,0.6)';
    pen.textAlign = 'center';
    pen.translate(canvas.width / 2, canvas.height / 2);
    pen.rotate(mark.Rotate === undefined ? -Math.PI / 4 : mark.Rotate);
    lines.forEach((line, i) => pen.fillText(line, 0, i * 24));
    byID('watermark').style.backgroundImage = 'url(' + canvas.toDataURL() + ')';
  }

  function notice(words) {
    byID('notice').textContent = words;
    clearTimeout(notice.timer);
    notice.timer = setTimeout(() => {
      byID('notice').textContent = '';
    }, 5000);
  }

  // ---- editing ----

  byID('document').addEventListener('input', () => {
    dirty = true;
    byID('saved').textContent = 'Not saved yet';
    byID('saved').dataset.status = '';
    saveSoon();
  });

  function saveSoon() {
    clearTimeout(saveTimer);
    saveTimer = setTimeout(() => saveNow(false), 600);
  }

  // A page that takes its frame away, or is left, ends this one in the middle of a word. What can
  // still be sent is.
  window.addEventListener('pagehide', () => {
    if (!dirty || saving || !token) return;
    fetch('/office/session', {
      method: 'POST',
      keepalive: true,
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({
        Action: 'save',
        File: file,
        Frame: frame,
        Token: token,
        Password: password,
        Pages: readPages(),
      }),
    }).catch(() => {});
  });

  // saveNow saves what changed. asked is a save by the page: its outcome has other numbers than one
  // that happens by itself.
  async function saveNow(asked) {
    clearTimeout(saveTimer);
    if (saving) {
      if (asked) tell('fileStatus', { status: 4 });
      return saving.then(() => (dirty ? saveNow(asked) : { result: 'ok' }));
    }
    if (!dirty) {
      if (asked) tell('fileStatus', { status: 0 });
      return { result: 'nochange' };
    }
    const pages = readPages();
    if (pages.join('').trim() === '') {
      fileStatus(2, 'An empty document cannot be saved');
      return { result: 'SavedEmptyFile' };
    }
    fileStatus(6, 'Saving');
    dirty = false;
    saving = ask('save', { Pages: pages }).catch(() => ({ State: 'lost' }));
    const answer = await saving;
    saving = null;
    if (answer.State !== 'open') {
      dirty = true;
      fileStatus(5, 'Not saved');
      if (answer.State === 'lost') lost();
      if (answer.State in dead) die(answer.State);
      return { result: 'fail' };
    }
    shown = answer.Version;
    fileStatus(asked ? 1 : 7, 'Saved as version ' + answer.Version);
    return { result: 'ok', version: answer.Version };
  }

  byID('undo').addEventListener('click', () => document.execCommand('undo'));
  byID('redo').addEventListener('click', () => document.execCommand('redo'));
  byID('print').addEventListener('click', () => window.print());
  byID('export').addEventListener('click', () =>
    notice('The stand-in writes no PDF. The real editor would offer one now.'),
  );
  byID('history').addEventListener('click', () => {
    byID('versions').hidden = !byID('versions').hidden;
    byID('history').setAttribute('aria-expanded', String(!byID('versions').hidden));
    if (!byID('versions').hidden) enter('renew');
  });
  byID('copy').addEventListener('click', async () => {
    const chosen = String(getSelection()) || readPages().join('\n\n');
    try {
      await navigator.clipboard.writeText(chosen);
      notice('Copied');
    } catch {
      notice('The browser does not let this page copy.');
    }
  });

  byID('rename').addEventListener('click', () => {
    const title = byID('title');
    title.setAttribute('contenteditable', 'plaintext-only');
    title.focus();
    getSelection().selectAllChildren(title);
  });
  byID('title').addEventListener('keydown', event => {
    if (event.key !== 'Enter' && event.key !== 'Escape') return;
    event.preventDefault();
    if (event.key === 'Escape') byID('title').textContent = view.Title;
    byID('title').blur();
  });
  byID('title').addEventListener('blur', async () => {
    const name = byID('title').textContent.trim();
    byID('title').removeAttribute('contenteditable');
    if (!view || name === view.Title) return;
    const answer = await ask('rename', { Name: name }).catch(() => ({ State: 'lost' }));
    if (answer.State === 'open') {
      view.Title = document.title = name;
      tell('fileNameChange', { name });
    } else {
      byID('title').textContent = view.Title;
      notice('Not renamed');
    }
  });

  // ---- rights that the browser could get around ----

  for (const name of ['copy', 'cut', 'dragstart', 'contextmenu']) {
    document.addEventListener(name, event => {
      if (view && !view.Copy) {
        event.preventDefault();
        notice('Copying is not allowed here.');
      }
    });
  }
  document.addEventListener('keydown', event => {
    if (!(event.ctrlKey || event.metaKey)) return;
    if (event.key === 'p' && view && !view.Print) {
      event.preventDefault();
      notice('Printing is not allowed here.');
    }
    if (event.key === 's') {
      event.preventDefault();
      if (view && !view.Readonly) saveNow(true);
    }
  });

  window.addEventListener('online', () => {
    if (opened) {
      online = false;
      check();
    }
  });

  setInterval(() => {
    const left = Math.max(0, Math.round((expires - performance.now()) / 1000));
    const clock = Math.floor(left / 60) + ':' + String(left % 60).padStart(2, '0');
    byID('life').textContent = body.dataset.state === 'open' ? 'Token ' + clock : '';
  }, 500);

  if (window.parent === window) {
    overlay(
      'direct',
      'This address does not open by itself',
      'A WebOffice URL works only inside a page that opens it with the JS-SDK and an access token.',
    );
  } else {
    tell('ready');
  }
})();
