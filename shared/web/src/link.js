// The share link's token in the page's fragment: #link=TOKEN, which a router that came first makes
// #/link=TOKEN. It leaves the address bar at once and stays in the history entry that it came with,
// so that a reload still knows who asks.
import { inBrowser, page } from './page.js';

/** The share link's token, or ''. */
export let link = '';

const pattern = /(^|[/&?])link=[^&]+(&|$)/;

/** Takes the link out of the address, and leaves the rest of the fragment as it is. */
export const takeLink = () => {
  const fragment = location.hash.slice(1), [found, before, after] = pattern.exec(fragment) || [];
  if (found) {
    page.link = new URLSearchParams(found.slice(before.length)).get('link');
    const rest = fragment.replace(found, after && before);
    // The whole address: of one alone, //docs/a.html, the path would name another host.
    history.replaceState({ ...history.state, weboffice: page.link }, '',
      location.href.split('#')[0] + (rest && '#' + rest));
  }
  link = page.link;
};

if (inBrowser) {
  page.link ||= history.state?.weboffice || '';
  takeLink();
  addEventListener('hashchange', takeLink);
}
