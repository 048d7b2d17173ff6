// Plays one scenario, named by ?name=, in a frame of this page, and tells the other side how it went:
// passed, or failed and why. That may send the browser on.
import { scenarios } from './scenarios.js';

const query = new URLSearchParams(location.search);
const pause = ms => new Promise(done => setTimeout(done, ms));

const stage = {
  setting: await (await fetch('setting.json')).json(),

  /** Asks the other side for something: who is there, what was billed, a fault. */
  async ask(what, given = true) {
    const reply = await fetch('control', { method: 'POST', body: JSON.stringify({ [what]: given }) });
    if (!reply.ok) throw new Error(what + ': ' + (await reply.text()));
    return reply.json();
  },

  /** A person's proof. */
  proof: (sub, ...groups) => stage.ask('token', { sub, name: sub, groups }),

  /** Loads a page into the frame, and gives its window. */
  async visit(path, width = 900) {
    stage.frame?.remove();
    stage.frame = document.createElement('iframe');
    Object.assign(stage.frame, { width, height: 640, title: 'The page', ...stage.size });
    stage.frame.style.cssText = 'border: 0; display: block';
    return stage.loads(() => {
      stage.frame.src = path;
      document.body.append(stage.frame);
    });
  },
  reload: () => stage.loads(() => stage.frame.contentWindow.location.reload()),
  async loads(go) {
    const loaded = new Promise(done => stage.frame.addEventListener('load', done, { once: true }));
    go();
    await loaded;
    return stage.frame.contentWindow;
  },

  /** Waits until something holds, also over a reload. */
  async until(holds, what = String(holds)) {
    for (const end = performance.now() + 20e3; ;) {
      try {
        if (await holds()) return;
      } catch {
        /* the page is on its way */
      }
      if (performance.now() > end) throw new Error('not yet: ' + what + '; ' + stage.describe());
      await pause(20);
    }
  },

  is(found, wanted, what = '') {
    const [one, other] = [found, wanted].map(value => JSON.stringify(value));
    if (one !== other) throw new Error(`${what} ${one}, want ${other}; ${stage.describe()}`);
  },

  describe() {
    const page = stage.frame?.contentWindow,
      found = page?.document.querySelector('weboffice-document');
    const { state, error } = page?.session || found?.session || {};
    return JSON.stringify({ state, error: error?.message, shown: found?.getAttribute('state') });
  },

  pause,
};

let verdict = 'passed';
try {
  await scenarios[query.get('name')](stage, query.get('with'));
} catch (error) {
  verdict = 'failed: ' + error.message + ' ' + error.stack;
}
document.title = verdict;
const next = await stage.ask('verdict', verdict);
if (next) location.replace(next);
