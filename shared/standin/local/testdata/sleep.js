// Lets a page's machine sleep: the wall clock has moved on, no timer has.
(() => {
  const now = Date.now.bind(Date);
  let slept = 0;
  Date.now = () => now() + slept;
  window.sleepFor = ms => { slept += ms; };
})();
