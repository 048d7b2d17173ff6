// What this tab keeps over a reload: the tokens of the open document, so that a reload costs
// nothing. They serve only the person they were given to, and none is kept of a document that was
// opened with a password, or by a proof that names nobody.
//
// That is bearable: sessionStorage is this tab's and this origin's alone, a script that could read
// it could call the functions itself, the tokens open one document for half an hour, and the sealed
// one is worthless without the caller's proof. A duplicated tab gets a copy of them: their owner is
// who holds the Web Lock that they name.
import { page } from './page.js';
import { SECOND, limit } from './time.js';

const KEY = 'weboffice';

const read = () => {
  try { return JSON.parse(sessionStorage.getItem(KEY)) || {}; } catch { return {}; }
};

export const forget = () => {
  try { sessionStorage.removeItem(KEY); } catch { /* forbidden: nothing is there either */ }
};

// Whom and what tokens are for.
const nameOf = (about, me) => JSON.stringify([about, me]);

/** Keeps the tokens that person me has for about, which live for another left ms. */
export const keep = (about, me, answer, left) => {
  const { owner } = page, end = Date.now() + left;
  const record = { owner, name: nameOf(about, me), end, answer };
  try { sessionStorage.setItem(KEY, JSON.stringify(record)); } catch { /* a reload costs a call */ }
};

/** Those that were kept for the same person and document, with what is left of their life. */
export const kept = (about, me) => {
  const record = read(), { owner, answer } = record, left = record.end - Date.now();
  const mine = owner && owner === page.owner && record.name === nameOf(about, me);
  // Longer than they can live: the clock was set back.
  return mine && left > 0 && left <= answer.Timeout && { answer, left };
};

// A reload finds the lock free, or free in a moment; a duplicated tab finds it held.
const hold = (name, patience) => new Promise(done => {
  navigator.locks.request('weboffice ' + name, { signal: limit(patience) }, () => {
    done(page.owner = name);
    return new Promise(() => {}); // for as long as the page lives
  }).catch(() => done());
});

/** Gives this page its name: that of the tokens in its tab where they are its own. */
export const ownTab = async () => {
  if (page.owner) return;
  try {
    const { owner } = read();
    owner && await hold(owner, SECOND) || await hold(String(Math.random()), 20 * SECOND);
  } catch { /* no locks: nothing is taken over */ }
};
