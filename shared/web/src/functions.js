// One request to generate or refresh.
import { originOf } from './page.js';
import { problem } from './problem.js';
import { SECOND, MINUTE, limit, pause } from './time.js';

/**
 * Posts body with the bearer and gives the functions' answer. Rejects with a problem: retry says
 * that it is a passing one, wait how long the functions asked to wait. blocked is what this page's
 * own policy is known to refuse.
 */
export const post = async (url, bearer, body, blocked) => {
  const from = originOf(url);
  let reply, answer = {};
  try {
    reply = await fetch(url, {
      method: 'POST', body: JSON.stringify(body),
      // Well under the minute in which the functions repeat an answer that got lost.
      signal: limit(20 * SECOND),
      headers: {
        'Content-Type': 'application/json', ...bearer && { Authorization: 'Bearer ' + bearer },
      },
    });
    answer = await reply.json() || {};
  } catch {
    await pause(0); // a policy's refusal is reported first
    if (!reply) {
      throw blocked['connect-src ' + from]
        || problem('Network', from + ' to ' + location.origin, { retry: true });
    }
  }
  if (answer.Timeout > 0) return answer;
  const { status } = reply, { Code, Message, Recommend, RequestId: requestId } = answer;
  const said = Code ? [Message, Recommend].join(' ').trim() : from + ' ' + status;
  throw problem(Code || 'HTTP', said, {
    status, said, requestId, retry: !/^4(?!29)/.test(status),
    wait: Math.min(10 * MINUTE, SECOND * reply.headers.get('Retry-After')),
  });
};

/** True where the functions said no: asking again as the same caller is of no use. */
export const isRefusal = ({ status, retry }) => status > 399 && !retry;
