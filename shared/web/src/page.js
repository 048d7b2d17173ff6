// What all documents of this page share, also where two copies of the module were loaded.

export const inBrowser = typeof document !== 'undefined';

export const page = globalThis[Symbol.for('weboffice')] ||= {
  /** The session that has the editor: the vendor's SDK has one per page. */
  current: null,
  /** Those that wait for it to leave. */
  waiting: [],
  /** How somebody was known in this page's life: '', 'link' or 'token'. */
  known: '',
  /** The share link's token. */
  link: '',
  /** This page's name, that of the Web Lock which it holds while it lives. */
  owner: '',
  /** Requests for one document, and refusals: see pace.js. */
  pace: null,
};

export const originOf = url => new URL(url, location.href).origin;

export const isLoopback = url =>
  /^(localhost|127(\.\d+){3}|\[::1\])$/.test(new URL(url, location.href).hostname);
