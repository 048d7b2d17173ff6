// How fast a page may ask again after a refusal without a person who asks. Pages set tokens from
// handlers and at each render: nothing they do may become a storm.
import { page } from './page.js';
import { SECOND, MINUTE, clock } from './time.js';

/**
 * What this page remembers of one document, over elements: when the last requests were sent, how
 * many the page caused and when the last of them, and whether the document was refused.
 */
export const paceOf = about => page.pace = page.pace?.about === about ? page.pace
  : { about, sent: [], caused: 0, last: 0, refused: false };

/**
 * When the next request that the page causes may go: at once, then 1, 2, 4 … 60 s after the one
 * before, and three in six seconds at most. Two quiet minutes end the count.
 */
export const dueAt = pace => {
  const { sent, last } = pace;
  if (clock() - last > 2 * MINUTE) pace.caused = 0;
  const wait = pace.caused && Math.min(MINUTE, SECOND * 2 ** (pace.caused - 1));
  return Math.max(last + wait, sent.length > 2 ? sent[0] + 6 * SECOND : 0);
};
