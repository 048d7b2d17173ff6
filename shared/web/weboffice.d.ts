/** The six rights of a document, as IMM spells them. */
export interface Permission {
  /** false: the document may be edited. Where it is left out of a request, editing is asked for. */
  Readonly?: boolean;
  Rename?: boolean;
  History?: boolean;
  Copy?: boolean;
  Export?: boolean;
  Print?: boolean;
}

/**
 * Who asks: a proof (a bearer JWT), or a function that gives one, called when a request is due.
 *
 * - undefined: the page's share link where there is one, else a guest
 * - null or false: nobody yet; no request, state `signin`
 * - '': a guest, whatever links there are
 *
 * Once somebody was known in this page's life, each of them is a sign-out when it has lasted a
 * second: the document is saved and gone, and what the tab kept is removed.
 */
export type Token = string | undefined | null | false | (() => Token | Promise<Token>);

export interface Options {
  /** The address of the generate function. The proof goes there. */
  generate: string | URL;
  /** The address of the refresh function. The proof goes there. */
  refresh: string | URL;
  /** What to open: oss://bucket/object. */
  document: string;
  /** Where the editor goes: an element, or a selector of one. It fills it. */
  mount: Element | string;
  token?: Token;
  /** No request until there is a token: undefined is then nobody yet, where there is no link. */
  signin?: boolean;
  /** What the caller would like to be allowed. Left out: all that the policy grants. */
  permission?: Permission;
  /** Opens a protected document. Nothing of it is kept over a reload. */
  password?: string;
  /** Further parameters of GenerateWebofficeToken that the policy accepts, such as Filename. */
  parameters?: Record<string, unknown>;
  /**
   * Where the vendor's SDK lies; default version 1.1.19 on its CDN. An SDK that is on the page
   * already is used.
   */
  sdk?: string;
  /** The Subresource Integrity of the SDK's script. */
  integrity?: string;
  /** Further options of the SDK's aliyun.config(), such as mode and commonOptions. */
  config?: Record<string, unknown>;
}

/**
 * waiting   another document has the page's editor; opens when that one is closed
 * opening   tokens or editor are on their way
 * open      the document is there
 * retrying  a request failed and is repeated by itself; the document goes on
 * expired   the access token ended before a request got through; repeated by itself
 * signin    a proof is wanted: a token that is set, or retry(), goes on
 * taken     another window took the access, twice; retry() takes it back
 * refused   403, no right to this document (any more)
 * ended     410, the session reached its absolute end; retry() begins another
 * failed    anything else, said by error; where error.retry is true it goes on when the network or
 *           the person comes back
 * closed    by close()
 */
export type State =
  | 'waiting' | 'opening' | 'open' | 'retrying' | 'expired' | 'signin' | 'taken' | 'refused'
  | 'ended' | 'failed' | 'closed';

/**
 * A problem. Its message is for whoever builds the page. code is the functions' Code, 'HTTP' for an
 * answer that is not theirs, or one of:
 *
 * - Network: no answer, or none that this origin may read; value names both origins
 * - SDK: its script, value, did not load
 * - CSP: this page's policy refuses an address; value is the directive and the address
 * - Frame: the editor reports value, or nothing at all
 * - Token: token() failed, took over 20 seconds, or gave no token; the fourth time leads to `signin`
 * - Config: aliyun.config() gave nothing
 * - Missing: the option value
 * - Attribute: value is to be set by property
 * - Script: an unexpected exception
 */
export interface WebofficeError extends Error {
  code: string;
  /** What the problem is about. */
  value: string;
  /** The HTTP status, where there was an answer. */
  status?: number;
  /** The functions' RequestId, which their log has too. */
  requestId?: string;
  /** The functions' own sentence; with HTTP who answered, and the status. */
  said?: string;
  /** True where it is tried again by itself. */
  retry?: boolean;
  /** Milliseconds that the functions asked to wait. */
  wait?: number;
}

export interface SessionEvents {
  /** Each state is an event of its own. */
  waiting: CustomEvent<undefined>;
  opening: CustomEvent<undefined>;
  open: CustomEvent<undefined>;
  retrying: CustomEvent<undefined>;
  expired: CustomEvent<undefined>;
  signin: CustomEvent<undefined>;
  taken: CustomEvent<undefined>;
  refused: CustomEvent<undefined>;
  ended: CustomEvent<undefined>;
  failed: CustomEvent<undefined>;
  closed: CustomEvent<undefined>;
  /** New tokens came, at the same rights or others. */
  refreshed: CustomEvent<undefined>;
  /** The rights are others now. */
  changed: CustomEvent<Permission>;
  /** Each failure, also one that is tried again. */
  error: CustomEvent<WebofficeError>;
  /** The editor's save state changed. */
  saving: CustomEvent<undefined>;
  saved: CustomEvent<undefined>;
  unsaved: CustomEvent<undefined>;
  /** An editor was mounted: session.instance is new. */
  frame: CustomEvent<undefined>;
}

export interface Session extends EventTarget {
  readonly state: State;
  /** What was really granted; null before the first answer and after a sign-out. */
  readonly permission: Required<Permission> | null;
  /** The SDK's instance while an editor is mounted: a new one after each `frame`. */
  readonly instance: any;
  /** The RequestId of the last good answer, which the functions' log has too. */
  readonly requestId: string;
  /** The last problem, null while all is well. */
  readonly error: WebofficeError | null;
  readonly fileStatus: '' | 'saving' | 'saved' | 'unsaved';
  /** Milliseconds that an access token lives; half an hour before the first answer. */
  readonly life: number;
  /** Milliseconds that the present access token still lives. */
  left(): number;
  /** Saves: 'ok', 'nochange', or what went wrong in the SDK's word. Never rejects. */
  save(): Promise<string>;
  /**
   * Goes on after whatever stopped, for a person who asks: at once, but for three requests in six
   * seconds. With true the proof is looked at, for a page whose person signed in, changed or left:
   * another caller's opens the document anew, the same caller's costs nothing.
   */
  retry(proof?: boolean): void;
  /**
   * Saves, ends, and forgets the tokens. With true it ends at once and keeps them, for a page that
   * opens the same again.
   */
  close(now?: boolean): Promise<void>;
  addEventListener<K extends keyof SessionEvents>(
    type: K,
    listener: (this: Session, event: SessionEvents[K]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

/**
 * Opens a document and keeps it open. Throws a WebofficeError (Missing) where it cannot begin;
 * whatever comes later is a state and an event of the session. One document per page: a second one
 * waits until the first is closed.
 */
export function open(options: Options): Session;

/**
 * The share link's token that came in the page's fragment, which has left the address bar; '' where
 * there was none. It stays in history.state.weboffice, so that a reload still has it: a page that
 * writes its history entry should keep that field.
 */
export let link: string;

/** What people read, by language. Change any, add any; what a language lacks is English. */
export const texts: Record<string, Record<string, string>>;

/** The element's events: the session's, and those of every element. */
export interface WebofficeEvents
  extends Omit<HTMLElementEventMap, keyof SessionEvents>, SessionEvents {}

/**
 * <weboffice-document src="oss://…" generate="…" refresh="…">, with the attributes readonly (asks
 * for reading only), signin (no request until a token is set), sdk, integrity, lang and bar="none".
 * Its attribute `state` is the session's state. Parts: cover, title, detail, request, way (the
 * button), bar, role, file.
 */
export class WebofficeDocument extends HTMLElement {
  /** The attributes. Undefined or null removes one; false removes readonly and signin. */
  src: string | null | undefined;
  generate: string | null | undefined;
  refresh: string | null | undefined;
  sdk: string | null | undefined;
  integrity: string | null | undefined;
  readonly: boolean;
  signin: boolean;
  /** Who asks. Set it before or after the element is in the page; never an attribute. */
  token: Token;
  /** Further options of open(). Another value opens the document anew. */
  options?: Partial<Options> | undefined;
  /** Words of this element's own. */
  texts?: Record<string, string> | undefined;
  /** The session, null where none is open. */
  readonly session: Session | null;
  addEventListener<K extends keyof WebofficeEvents>(
    type: K,
    listener: (this: WebofficeDocument, event: WebofficeEvents[K]) => any,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof WebofficeEvents>(
    type: K,
    listener: (this: WebofficeDocument, event: WebofficeEvents[K]) => any,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject,
    options?: boolean | EventListenerOptions,
  ): void;
}

/** What markup may say of the element. */
export interface WebofficeAttributes {
  src?: string | null;
  generate?: string | null;
  refresh?: string | null;
  readonly?: boolean | 'true' | 'false' | null;
  signin?: boolean | 'true' | 'false' | null;
  sdk?: string | null;
  integrity?: string | null;
  bar?: 'none';
  token?: Token;
  options?: Partial<Options>;
  texts?: Record<string, string>;
}

/** Listeners as React and Svelte take them: onopen, onerror and so on. */
export type WebofficeListeners = {
  [K in keyof SessionEvents as `on${K}`]?: (event: SessionEvents[K]) => void;
};

declare global {
  interface HTMLElementTagNameMap {
    'weboffice-document': WebofficeDocument;
  }
}

// For whoever has the framework; without it there is nothing to add to.
// @ts-ignore
declare module 'react' {
  namespace JSX {
    interface IntrinsicElements {
      // @ts-ignore
      'weboffice-document': Omit<import('react').HTMLAttributes<WebofficeDocument>,
        keyof WebofficeAttributes | keyof WebofficeListeners | 'onError'>
        & WebofficeAttributes & WebofficeListeners & { ref?: any; key?: any; class?: string };
    }
  }
}

// @ts-ignore
declare module 'vue' {
  interface GlobalComponents {
    // @ts-ignore
    'weboffice-document': import('vue').DefineComponent<WebofficeAttributes>;
  }
}

// @ts-ignore
declare module 'svelte/elements' {
  interface SvelteHTMLElements {
    // @ts-ignore
    'weboffice-document': Omit<import('svelte/elements').HTMLAttributes<WebofficeDocument>,
      keyof WebofficeAttributes | keyof WebofficeListeners>
      & WebofficeAttributes & WebofficeListeners;
  }
}
