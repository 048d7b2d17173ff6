// What all documents of this page share, also where two copies of the module were loaded.

// A server may have a document, made by a library; a history it has not.
export const inBrowser = typeof history !== 'undefined';

/**
 * - current: the session that has the editor: the vendor's SDK has one per page
 * - waiting: those that wait for it to leave
 * - known: how somebody was known in this page's life, 'link' or 'token'
 * - link: the share link's token, or ''
 * - owner: this page's name, that of the Web Lock which it holds while it lives
 * - pace: requests for one document, and refusals: see pace.js
 * - loading, trust: of the SDK's script: see frame.js
 */
export const page = globalThis[Symbol.for('weboffice')] ||= { waiting: [], link: '' };

export const originOf = url => new URL(url, location.href).origin;

export const isLoopback = url =>
  /^(localhost|127(\.\d+){3}|\[::1\])$/.test(new URL(url, location.href).hostname);
