/*
 * Opens one office document in a page and keeps it open.
 *
 *   <script type="module" src="weboffice.js"></script>
 *   <weboffice-document src="oss://…" generate="https://…" refresh="https://…">
 *
 * or, with a script of your own, open({generate, refresh, document, mount, token}). README.md says
 * how, weboffice.d.ts has every option.
 *
 * Promises: one request to the functions at a time and none before it is due; every failure ends in
 * a state with a sentence for the reader; what was written is saved before an end that cannot be
 * avoided; whoever was known is never taken for a guest.
 * Limits: one document per page, since the vendor's SDK destroys its last instance when it makes
 * the next. A second one waits.
 *
 * A reader's way: states.js, proof.js, session.js; then time, tab (what a reload keeps), pace (no
 * storms), functions (requests), frame (the vendor's SDK), texts, element, cover (how it looks).
 */
export { WebofficeDocument } from './element.js';
export { link } from './link.js';
export { open } from './session.js';
export { texts } from './texts.js';
