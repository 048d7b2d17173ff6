// A failure with a public face. Its message is for whoever builds the page, and goes to the
// console; readers get a sentence from texts.js.

const HINTS = {
  Network: 'no answer; is this page among its origins? ', // the browser hides that 403
  CSP: 'this page lacks ',
  Attribute: 'set by property: ',
};

/** An error with a code, what it is about, and more: retry, status, requestId, wait, said. */
export const problem = (code, value, more) =>
  Object.assign(new Error(code + ': ' + (HINTS[code] || '') + value), { code, value, ...more });

let last;
/** Tells whoever builds the page, once; the functions' own answers their log has. */
export const tell = ({ requestId, message }) => {
  if (!requestId && last !== message) console.warn('weboffice', last = message);
};
