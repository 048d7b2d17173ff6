// The sample page: lets somebody be several people, opens a document through weboffice.js, and
// shows in its margin what happens.
import './weboffice.js';

const byID = id => document.getElementById(id);
const fetchJSON = async url => {
  const answer = await fetch(url, { cache: 'no-store' });
  return answer.ok ? answer.json() : {};
};
const make = (tag, className, ...inside) => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...inside);
  return element;
};

const dev = await fetchJSON('dev.json').catch(() => ({}));
if (!dev.personas) {
  byID('document').textContent = 'This page needs what go run ./scripts/dev serves beside it.';
  throw new Error('no dev.json');
}
const query = new URLSearchParams(location.search);
const asked = {
  persona: dev.personas.find(one => one.id === query.get('as')) || dev.personas.at(-1),
  document: dev.documents.find(one => one.uri === query.get('open')) || dev.documents[0],
};

// ---- who and what ----

const KINDS = [
  ['Text', /^(docx?m?|dotx?m?|wp[st]|txt|rtf)$/i],
  ['Table', /^(xlsx?m?|xltx?m?|et|csv)$/i],
  ['Slides', /^(pptx?m?|pp[st]x?m?|potx?m?|dp[st])$/i],
  ['Page', /^pdf$/i],
];

function choice(name, value, checked, ...inside) {
  const input = make('input');
  Object.assign(input, { type: 'radio', name, value, checked });
  return make('label', '', input, ...inside);
}

function drawChoices() {
  byID('choose').textContent = asked.persona.title + ' opens ' + asked.document.title;
  byID('people').append(
    ...dev.personas.map(one =>
      choice(
        'as',
        one.id,
        one === asked.persona,
        make('b', '', one.title),
        make('small', '', one.about),
      ),
    ),
  );
  const kindOf = ({ uri }) =>
    (KINDS.find(([, kind]) => kind.test(uri.split('.').pop())) || ['Other'])[0];
  for (const title of [...KINDS.map(([kind]) => kind), 'Other']) {
    const some = dev.documents.filter(one => kindOf(one) === title);
    if (!some.length) continue;
    const labels = some.map(one => {
      const label = choice(
        'open',
        one.uri,
        one === asked.document,
        one.title.replace(/^test-object\./, '.'),
      );
      label.title = one.uri;
      return label;
    });
    const group = make('div', 'kind', make('span', '', title), make('div', '', ...labels));
    group.setAttribute('role', 'group');
    group.setAttribute('aria-label', title);
    byID('documents').append(group);
  }
}

// A choice takes effect with the button, or with a click: the arrow keys only walk over them. Each
// is a page of its own, as a login and a logout would make it.
byID('choices').addEventListener('click', event => {
  if (event.detail && event.target.closest('label'))
    setTimeout(() => byID('choices').requestSubmit());
});
byID('choose').addEventListener('click', () => {
  const shown = byID('choose').getAttribute('aria-expanded') === 'true';
  byID('choose').setAttribute('aria-expanded', !shown);
});

// ---- the document ----

// Whoever signed in brings a fresh proof with each request, as a page's login would give one. A
// guest brings none, and a link holder's comes in the address, as from a mail: the module takes it
// from there.
const tokenOf = async id => (await fetchJSON('dev/token?persona=' + encodeURIComponent(id))).token;
const proofOf = id => (id === 'guest' ? '' : id === 'link' ? undefined : () => tokenOf(id));

const shown = document.querySelector('weboffice-document');

async function open() {
  const {
    persona,
    document: { uri },
  } = asked;
  shown.addEventListener('refreshed', () => {
    refreshes++;
  });
  for (const name of [
    'open',
    'refreshed',
    'changed',
    'frame',
    'refused',
    'signin',
    'failed',
    'taken',
    'ended',
  ]) {
    shown.addEventListener(name, drawDecision);
  }
  ledger.opens.push(Date.now());
  if (persona.id === 'link') location.hash = 'link=' + (await tokenOf('link'));
  shown.token = proofOf(persona.id);
  shown.setAttribute('sdk', dev.sdk);
  shown.setAttribute('src', uri);
  drawSnippet();
  drawDecision();
}

function drawSnippet() {
  const proof =
    typeof proofOf(asked.persona.id) === 'function'
      ? `
<script type="module">
  document.querySelector('weboffice-document').token = () => myLogin.token();
</script>`
      : '';
  byID('snippet').textContent = `<script type="module" src="weboffice.js"></script>
<weboffice-document src="${asked.document.uri}"
  generate="https://…/generate" refresh="https://…/refresh"></weboffice-document>${proof}`;
}

// ---- the margin ----

const RIGHTS = ['Edit', 'Rename', 'History', 'Copy', 'Export', 'Print'];
let decisions = [];

// What this tab has seen, over reloads: when it began, each opening, and by RequestId each answer
// until its decision is known.
const ledger = { start: Date.now(), opens: [], waiting: [], billed: [] };
let refreshes = 0;
// A reload goes on with it; whoever comes anew, by the address or a link, begins anew.
if (performance.getEntriesByType('navigation')[0]?.type !== 'navigate') {
  try {
    Object.assign(ledger, JSON.parse(sessionStorage.ledger));
  } catch {
    /* a new tab */
  }
}
// Also what happened since the last look: an opening, an answer whose decision is not known yet.
const keep = () => {
  try {
    sessionStorage.ledger = JSON.stringify(ledger);
  } catch {
    /* the chart begins anew */
  }
};
addEventListener('pagehide', keep);

function drawDecision() {
  const { session } = shown,
    id = session?.error?.requestId || session?.requestId,
    granted = session?.permission;
  const last = decisions.find(one => one.RequestId === id),
    refused = /refused|signin/.test(session?.state);
  if (session?.requestId && session.requestId !== ledger.last)
    ledger.waiting.push((ledger.last = session.requestId));
  byID('rule').textContent = refused
    ? 'No rule lets them in'
    : last?.rule || (granted ? byID('rule').textContent : 'None yet');
  byID('rights').replaceChildren(
    ...RIGHTS.map(name => {
      const has =
        granted && session.instance && (name === 'Edit' ? !granted.Readonly : granted[name]);
      const item = make('li', has ? 'granted' : '', name);
      item.setAttribute('aria-label', name + (has ? ', granted' : ', not granted'));
      return item;
    }),
  );
  byID('reference').textContent = id || '';
}

function drawLife() {
  const { session } = shown,
    left = session?.left() || 0,
    life = session?.life || dev.lifetime,
    seconds = Math.ceil(left / 1000);
  byID('left').setAttribute('stroke-dasharray', (100 * left) / life + ' 100');
  byID('clock').textContent = left
    ? Math.floor(seconds / 60) + ':' + String(seconds % 60).padStart(2, '0')
    : '–';
  byID('left')
    .closest('svg')
    .classList.toggle('soon', left > 0 && left < life / 6);
  byID('refreshes').textContent = refreshes;
  byID('refreshes-word').textContent = refreshes === 1 ? 'refresh' : 'refreshes';
}

// The quick start's page gives 25 minutes as its timeout, so its SDK refreshes every 20; and each
// load is a new session.
const everyOfTheirs = () => (dev.lifetime * 20) / 30,
  everyOfOurs = () => (dev.lifetime * 25) / 30;

function theirs(until) {
  const steps = [];
  ledger.opens.forEach((from, i) => {
    const end = Math.min(until, ledger.opens[i + 1] || until);
    for (let at = from; at <= end; at += everyOfTheirs()) steps.push([at, steps.length + 1]);
  });
  return steps;
}

const ours = () => ledger.billed.map((at, i) => [at, i + 1]);

const svg = (tag, attributes, text) => {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const name in attributes) element.setAttribute(name, attributes[name]);
  if (text !== undefined) element.textContent = text;
  return element;
};

function drawBill() {
  const now = Date.now(),
    day = dev.lifetime * 16,
    end = Math.max(ledger.start + day, now);
  const mine = ours(),
    other = theirs(now),
    count = mine.at(-1)?.[1] || 0,
    otherCount = other.at(-1)?.[1] || 0;
  // What the rest of the day will cost if nobody reloads.
  const lastMine = mine.at(-1)?.[0] || now,
    dayMine = count + Math.floor(Math.max(0, end - lastMine) / everyOfOurs());
  const lastOther = other.at(-1)?.[0] || now,
    dayOther = otherCount + Math.floor(Math.max(0, end - lastOther) / everyOfTheirs());
  const top = Math.max(dayOther, dayMine, 4),
    left = 4,
    right = 262,
    bottom = 146;
  const x = at => left + ((right - left) * (at - ledger.start)) / (end - ledger.start),
    y = n => bottom - ((bottom - 12) * n) / top;
  const path = steps =>
    steps.reduce(
      (line, [at, n]) => line + `H${x(at).toFixed(1)}V${y(n).toFixed(1)}`,
      `M${left} ${bottom}`,
    );
  const ahead = (from, n, to) =>
    `M${x(now).toFixed(1)} ${y(n).toFixed(1)}L${right} ${y(to).toFixed(1)}`;
  const minutes = Math.round((end - ledger.start) / 60e3);
  // Two labels need 16 units between them.
  const yOther = y(dayOther),
    yMine = Math.max(y(dayMine), yOther + 16);
  byID('chart').replaceChildren(
    svg('line', { class: 'axis', x1: left, x2: right, y1: bottom, y2: bottom }),
    svg('line', { class: 'now', x1: x(now), x2: x(now), y1: bottom, y2: bottom + 5 }),
    svg('path', { class: 'theirs', d: path(other) + `H${x(now).toFixed(1)}` }),
    svg('path', { class: 'theirs ahead', d: ahead(other, otherCount, dayOther) }),
    svg('path', { class: 'ours', d: path(mine) + `H${x(now).toFixed(1)}` }),
    svg('path', { class: 'ours ahead', d: ahead(mine, count, dayMine) }),
    svg('text', { class: 'theirs', x: right + 6, y: yOther + 4 }, dayOther + ' calls'),
    svg('text', { class: 'ours', x: right + 6, y: yMine + 4 }, dayMine + ' calls'),
    svg('text', { x: left, y: bottom + 19 }, 'now on'),
    svg(
      'text',
      { x: right, y: bottom + 19, 'text-anchor': 'end' },
      minutes < 120 ? minutes + ' minutes' : Math.round(minutes / 60) + ' hours',
    ),
  );
  const calls = n => n + (n === 1 ? ' billed call' : ' billed calls');
  byID('cost-text').replaceChildren(
    make('b', '', calls(count)),
    ' so far; the quick start’s page would have made ',
    make('b', 'other', String(otherCount)),
    '. Dotted: the rest of the day.',
  );
}

function drawLog() {
  byID('log').replaceChildren(
    ...decisions
      .slice(-6)
      .reverse()
      .map(one => {
        const refused = /^[A-Z]/.test(one.outcome),
          time = make('time', '', new Date(one.time).toLocaleTimeString());
        return make(
          'li',
          '',
          time,
          make('span', '', `${one.function} · ${one.caller || 'guest'}`),
          make(
            'span',
            refused ? 'refused' : one.billed ? 'billed' : 'free',
            refused ? one.outcome : one.billed ? 'billed' : 'free',
          ),
        );
      }),
  );
}

async function look() {
  const fresh = await fetchJSON('dev/state.json').catch(() => ({}));
  if (fresh.decisions) {
    decisions = fresh.decisions;
    drawDecision();
    for (const { RequestId, time, billed } of decisions) {
      const i = ledger.waiting.indexOf(RequestId);
      if (i < 0) continue;
      ledger.waiting.splice(i, 1);
      if (billed) ledger.billed.push(Date.parse(time));
    }
    keep();
    drawBill();
    drawLog();
  }
  setTimeout(look, document.hidden ? 5000 : 1000);
}

drawChoices();
await look();
await open();
drawBill();
setInterval(drawLife, 1000);
