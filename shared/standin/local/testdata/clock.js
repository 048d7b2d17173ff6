// Before all other scripts of a page under test: a clock that can be moved, and what the page asks.
//   pass(ms)      lets time go by: timers fire in their order, each after the last one's requests
//   sleepFor(ms)  the machine sleeps: the wall clock has moved on, no timer has
//   requests      the POSTs so far: {to, at, bearer}
(() => {
  const realNow = Date.now.bind(Date),
    realSet = window.setTimeout.bind(window);
  const realClear = window.clearTimeout.bind(window),
    realFetch = window.fetch.bind(window);
  const timers = new Map();
  let ahead = 0,
    last = 0,
    wake = 0,
    pending = 0;
  const pause = ms => new Promise(done => realSet(done, ms));
  const now = (Date.now = () => realNow() + ahead);

  const next = () => {
    let first = null;
    for (const timer of timers.values()) if (!first || timer.at < first.at) first = timer;
    return first;
  };
  const arm = () => {
    realClear(wake);
    const first = next();
    if (first) wake = realSet(fire, Math.max(0, first.at - now()));
  };
  const fire = () => {
    for (let first = next(); first && first.at <= now(); first = next()) {
      timers.delete(first.id);
      first.call();
    }
    arm();
  };
  window.setTimeout = (call, ms = 0, ...given) => {
    const id = 1e6 + ++last;
    timers.set(id, { id, at: now() + (+ms || 0), call: () => call(...given) });
    arm();
    return id;
  };
  window.clearTimeout = id => {
    timers.delete(id);
    realClear(id);
  };

  window.requests = [];
  window.fetch = async (to, init = {}) => {
    if (init.method === 'POST') {
      const bearer = init.headers?.Authorization || '';
      window.requests.push({ to: new URL(to, location.href).pathname, at: now(), bearer });
    }
    pending++;
    try {
      if (window.hang) await new Promise(() => {});
      if (window.offline) throw new TypeError('offline');
      return await realFetch(to, init);
    } finally {
      pending--;
    }
  };

  const idle = async () => {
    for (let quiet = 0; quiet < 3; quiet++) {
      await pause(4);
      if (pending) quiet = -1;
    }
  };
  window.pass = async ms => {
    const end = now() + ms;
    for (await idle(); next()?.at <= end; await idle()) {
      ahead += Math.max(0, next().at - now());
      fire();
    }
    ahead += Math.max(0, end - now());
    arm();
  };
  window.sleepFor = ms => {
    ahead += ms;
    for (const timer of timers.values()) timer.at += ms;
  };
})();
