import type { Token } from 'weboffice-document';

/** What a test hands to a page, and changes while it lives. */
export interface Given {
  src: string;
  generate: string;
  refresh: string;
  sdk: string;
  token?: Token;
  /** The token is a function of its own at each render, which calls auth(). */
  inline?: boolean;
  signin?: boolean;
  readonly?: boolean;
  /** open() in an effect in place of the element. */
  effect?: boolean;
  gone?: boolean;
  word?: string;
  hide?: boolean;
}

declare global {
  interface Window {
    auth(): Promise<string>;
    /** Draws the page, or draws it anew. */
    draw(given: Given): void;
  }
}
