// The one place for time.

export const SECOND = 1000, MINUTE = 60 * SECOND;

let wall = Date.now(), passed = 0;

/**
 * Milliseconds that have passed, sleep included. Only what the wall clock moved forward is added
 * up: a page whose clock is wrong, or set back, counts the server's Timeout rightly all the same.
 */
export const clock = () => {
  const moved = Date.now() - wall;
  wall += moved;
  return passed += Math.max(0, moved);
};

export const pause = ms => new Promise(done => setTimeout(done, ms));

/** What work gives, or a rejection after ms. */
export const within = (ms, work) =>
  Promise.race([work, new Promise((_, fail) => setTimeout(fail, ms))]);

/** A signal that ends after ms what still waits then; AbortSignal.timeout came late to browsers. */
export const limit = ms => {
  const stop = new AbortController();
  setTimeout(() => stop.abort(), ms);
  return stop.signal;
};
