// Who asks. A token is a string or a function; what it gives means:
//
//   value              nobody known in this page's life   somebody was known
//   a proof            that person                        that person
//   undefined          the page's link, else a guest      sign-out; with a link, and nobody but
//                                                         its holder known: the link
//   null, false        nobody yet: `signin`, no request   sign-out
//   ''                 a guest, whatever links there are  sign-out
//
// A sign-out is one when it has lasted a second: logins flicker while they renew a proof, React
// sets undefined for what is gone, Vue writes '' for null.
import { page } from './page.js';
import { takeLink } from './link.js';
import { SECOND, within } from './time.js';

// Whom a proof stands for: fresh proofs of one person count as the same, those of two people never
// do; null where it does not say.
const personOf = bearer => {
  try {
    const part = bearer.split('.')[1].replace(/-/g, '+').replace(/_/g, '/');
    const { iss, sub, jti } = JSON.parse(atob(part));
    const name = String(sub ?? '').trim() || String(jti ?? '').trim();
    return name ? iss + ' ' + name : null;
  } catch { return null; }
};

/**
 * Asks for the proof: {bearer, me, by}, where me is '' for a guest and by says where it came from.
 * Without anybody it gives {signedOut: true} after a sign-out, else {}. With signin undefined means
 * nobody yet, where there is no link. Rejects where the page's function fails, takes over 20
 * seconds, or gives what is no token.
 */
export const askProof = (token, signin) => within(20 * SECOND, (async () => {
  let value = token;
  while (typeof value === 'function') value = await value();
  if (value && !/^[!-~]+\s*$/.test(value)) throw 0; // no token: an object, or a page to log in
  takeLink();
  if (value) return { bearer: value, me: personOf(value), by: 'token' };
  if (value === undefined && page.link && page.known !== 'token') {
    return { bearer: page.link, me: personOf(page.link), by: 'link' };
  }
  if (page.known) return { signedOut: true };
  return value === '' || value === undefined && !signin ? { bearer: '', me: '' } : {};
})());
