// The vendor's SDK and its frame.
import { page, isLoopback, originOf } from './page.js';
import { problem } from './problem.js';
import { SECOND, within } from './time.js';

export const SDK = 'https://g.alicdn.com/IMM/office-js/1.1.19/aliyun-web-office-sdk.min.js';

/**
 * True for an sdk that markup may name: the vendor's, or on loopback one from there. Markup that
 * looks harmless must not run a foreign script.
 */
export const markupMayLoad = sdk => {
  const { href } = new URL(sdk, location.href);
  return href.startsWith(SDK.slice(0, 35)) || isLoopback(href) && isLoopback('');
};

// Under require-trusted-types-for 'script' an address is trusted by a policy of the page's.
const trusted = url => {
  try {
    page.trust ||= trustedTypes.createPolicy('weboffice', { createScriptURL: at => at });
    return page.trust.createScriptURL(url);
  } catch { return url; }
};

/** Loads the SDK once; one that is on the page already is used. */
export const loadSDK = async (url, integrity) => {
  if (!window.aliyun) await (page.loading ||= new Promise((done, fail) => {
    const script = document.createElement('script');
    const ended = script.onload = script.onerror = () => {
      page.loading = null;
      window.aliyun ? done() : fail(problem('SDK', url, { retry: true }));
    };
    if (integrity) Object.assign(script, { integrity, crossOrigin: '' });
    try {
      script.src = trusted(url);
      document.head.append(script);
    } catch { ended(); }
  }));
};

/** Mounts an editor that fills its place, and gives the SDK's instance. */
export const mountFrame = options => {
  const instance = window.aliyun.config(options); // which swallows its exceptions
  if (!instance) throw problem('Config', 'mount');
  const { iframe } = instance;
  if (iframe) { // a strict policy may keep the SDK from styling it
    iframe.style.cssText += ';width:100%;height:100%;border:0;display:block';
    iframe.title ||= 'WebOffice';
  }
  return instance;
};

/** Calls then with what the frame tells, {} at least. */
export const hearFrame = (instance, name, then) => {
  const { ApiEvent } = instance, hear = data => then(data || {});
  ApiEvent ? ApiEvent.AddApiEventListener(name, hear) : instance.on(name, hear);
};

/** What the numbers of fileStatus mean. */
export const FILE_STATUS =
  ['', 'saved', 'unsaved', 'unsaved', 'saving', 'unsaved', 'saving', 'saved'];

/** Saves: the SDK's word for what came of it; 'fail' also after five seconds. Never rejects. */
export const saveFrame = async instance => {
  try { return (await within(5 * SECOND, instance.save())).result; } catch { return 'fail'; }
};

/** Remembers what this page's Content-Security-Policy refuses, by directive and origin. */
export const watchPolicy = (options, then) => {
  const blocked = {};
  addEventListener('securitypolicyviolation', ({ blockedURI, effectiveDirective, disposition }) => {
    if (disposition === 'report' || !/^http/.test(blockedURI)) return;
    const lacks = effectiveDirective.replace('-elem', '') + ' ' + originOf(blockedURI);
    then(lacks, blocked[lacks] = problem('CSP', lacks));
  }, options);
  return blocked;
};
