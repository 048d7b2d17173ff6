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
 * A caller's proof (a bearer JWT), or a function that gives one, called again for each request. Undefined or null: the page's share
 * link, where there is one. '': a guest, whatever links there are.
 */
export type Token = string | undefined | null | (() => Token | Promise<Token>);

export interface Options {
  /** The address of the generate function. */
  generate: string | URL;
  /** The address of the refresh function. */
  refresh: string | URL;
  /** What to open: oss://bucket/object. */
  document: string;
  /** Where the editor goes: an element, or a selector of one. It fills it. */
  mount: Element | string;
  /** Who asks. Left out: the bearer of the page's share link (#link=…), else a guest. */
  token?: Token;
  /** What the caller would like to be allowed. Left out: all that the policy grants. */
  permission?: Permission;
  /** Opens a protected document. Never kept. */
  password?: string;
  /** Further parameters of GenerateWebofficeToken that the policy accepts, such as Filename or PreviewPages. Kept for a reload. */
  parameters?: Record<string, unknown>;
  /** Where the vendor's SDK lies. Default: version 1.1.19 on the vendor's CDN. An SDK that is on the page already is used. */
  sdk?: string;
  /** Further options of the SDK's aliyun.config(), such as mode and commonOptions. */
  config?: Record<string, unknown>;
}

/**
 * opening   tokens or editor are on their way
 * open      the document is there
 * retrying  a request failed and is repeated by itself; the document goes on
 * expired   the access token ended before a request got through; repeated by itself
 * signin    the functions want another proof, or token() gives none any more; goes on when the person comes back to the tab, with retry(),
 *           or when the element's token is set
 * taken     another window took the access, twice; retry() takes it back
 * refused   403, no right to this document (any more)
 * ended     410, the session reached its absolute end; retry() begins another
 * failed    anything else, said by error; where error.retry is true it goes on when the network or the person comes back
 * closed    by close()
 */
export type State = 'opening' | 'open' | 'retrying' | 'expired' | 'signin' | 'taken' | 'refused' | 'ended' | 'failed' | 'closed';

/**
 * A problem, with a message that says what to do. code is the functions' Code, 'HTTP' for an answer that is not theirs (value: from
 * where, and the status), or one of:
 * Network (no answer, or none that this origin may read), SDK (its script did not load), CSP (this page's policy refuses an
 * address; value is the directive and the address), Config (aliyun.config() gave nothing), Frame (the editor reports value,
 * or nothing at all), Unauthenticated (also where a proof was there before and token() gives none now), Missing, Single (another document
 * is open), Script.
 */
export interface WebofficeError extends Error {
  code: string;
  /** What the problem is about, without the sentence. */
  value: string;
  /** The HTTP status, where there was an answer. */
  status?: number;
  /** The functions' RequestId, which their log has too. */
  requestId?: string;
  /** True where it is tried again by itself. */
  retry?: boolean;
  /** Milliseconds that the functions asked to wait. */
  wait?: number;
}

export interface SessionEvents {
  /** Each state is an event of its own. */
  opening: CustomEvent; open: CustomEvent; retrying: CustomEvent; expired: CustomEvent; signin: CustomEvent;
  taken: CustomEvent; refused: CustomEvent; ended: CustomEvent; failed: CustomEvent; closed: CustomEvent;
  /** New tokens came, at the same rights or others. */
  refreshed: CustomEvent;
  /** The rights are others now. */
  changed: CustomEvent<Permission>;
  /** Each failure, also one that is tried again. */
  error: CustomEvent<WebofficeError>;
  /** The editor's save state changed. */
  saving: CustomEvent; saved: CustomEvent; unsaved: CustomEvent;
  /** An editor was mounted: session.instance is new. */
  frame: CustomEvent;
}

export interface Session extends EventTarget {
  readonly state: State;
  /** What was really granted; null before the first answer. */
  readonly permission: Required<Permission> | null;
  /** The SDK's instance while an editor is mounted: a new one after each `frame`. */
  readonly instance: any;
  /** The RequestId of the last good answer, which the functions' log has too. */
  readonly requestId: string;
  /** The last problem, null while all is well. */
  readonly error: WebofficeError | null;
  readonly fileStatus: '' | 'saving' | 'saved' | 'unsaved';
  /** Milliseconds that an access token lives, by the functions' count; half an hour before the first answer. */
  readonly life: number;
  /** Milliseconds that the present access token still lives. */
  left(): number;
  /** Saves: 'ok', 'nochange', or what went wrong in the SDK's word. Never rejects. */
  save(): Promise<string>;
  /**
   * Goes on after whatever stopped, and at once. With true, for a page whose person signed in or changed, the proof is asked for as
   * well: another caller's opens the document anew, saved before; the same caller's costs nothing, nor does it take back what was taken
   * or begin what has ended.
   */
  retry(anew?: boolean): void;
  /** Saves, ends, and forgets the tokens. With true it ends at once and keeps them, for a page that opens the same again. */
  close(now?: boolean): Promise<void>;
  addEventListener<K extends keyof SessionEvents>(
    type: K, listener: (event: SessionEvents[K]) => void, options?: boolean | AddEventListenerOptions): void;
  addEventListener(
    type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
}

/**
 * Opens a document and keeps it open. Throws a WebofficeError (Missing, Single) where it cannot begin; whatever comes later is a
 * state and an event of the session. One document per page.
 */
export function open(options: Options): Session;

/**
 * The share link's token that came in the page's fragment, which has left the address bar; '' where there was none. It stays in
 * history.state.weboffice, so that a reload still has it; a page that writes its history entry should keep that field.
 */
export let link: string;

/** What people read, by language: states, buttons, errors by code. Change any, add any; what a language lacks is English. */
export const texts: Record<string, Record<string, string>>;

/**
 * <weboffice-document src="oss://…" generate="…" refresh="…">, with the attributes readonly (asks for reading only), sdk, lang and
 * bar="none". Its attribute `state` is the session's state; it fires the session's events. Parts: cover, way (the button), bar.
 */
export class WebofficeDocument extends HTMLElement {
  /**
   * The caller's proof. Set it before or after the element is in the page; never an attribute. Where it comes late or is another
   * caller's, the document is saved and opened anew with it.
   */
  token: Token;
  /** Further options of open(). */
  options?: Partial<Options>;
  /** Words of this element's own. */
  texts?: Record<string, string>;
  /** The session, null where none is open. */
  readonly session: Session | null;
}

declare global {
  interface HTMLElementTagNameMap { 'weboffice-document': WebofficeDocument; }
}
