// How fast a page may ask. Pages set tokens from handlers and at each render, and call retry() at
// each problem: nothing they do may become a storm.
import { page } from './page.js';
import { SECOND, MINUTE, clock } from './time.js';

/**
 * What this page remembers of one document, over elements: when the last requests were sent, how
 * many the page caused and when the last of them, and whether the document was refused.
 */
export const paceOf = uri => page.pace = page.pace?.uri === uri ? page.pace
  : { uri, sent: [], caused: 0, last: 0 };

/**
 * When the next request may go; nothing where it may at once, and then it counts. Three in six
 * seconds are enough, whatever they are for. Those that the page causes go at once, then 1, 2, 4 …
 * 60 s after the one before; two quiet minutes end that count.
 */
export const waitsUntil = byPage => {
  const { pace } = page, { sent, last } = pace, now = clock();
  if (now - last > 2 * MINUTE) pace.caused = 0;
  const wait = pace.caused && Math.min(MINUTE, SECOND * 2 ** (pace.caused - 1));
  const at = Math.max(byPage && last + wait, sent.length > 2 && sent[0] + 6 * SECOND);
  if (now < at) return at;
  if (sent.push(now) > 3) sent.shift();
  if (byPage) {
    pace.caused++;
    pace.last = now;
  }
};
