// What the element draws around the editor: a cover while there is none, a line below it while
// there is. One message at a time: a problem takes the line's place, and moves nothing.
import css from './cover.css';

export const make = (tag, attributes, ...inside) => {
  const part = document.createElement(tag);
  for (const name in attributes) part.setAttribute(name, attributes[name]);
  part.append(...inside);
  return part;
};

// A sheet made by script needs no style-src; where a browser cannot, a style element does.
const dress = root => {
  try {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(css);
    root.adoptedStyleSheets = [sheet];
  } catch {
    root.append(make('style', {}, css));
  }
};

/**
 * Builds the element's own parts; tryAgain is what the button does. Gives a function that shows a
 * state, with or without a frame, in the words of a language: title, detail, request, way, role,
 * file.
 */
export const build = (host, tryAgain) => {
  const root = host.attachShadow({ mode: 'open' }), parts = {};
  const text = (id, tag = 'div') => parts[id] = make(tag, { id, part: id, dir: 'auto' });
  const cover = make('div', { id: 'cover', part: 'cover', tabindex: -1 },
    make('div', { id: 'mark' }),
    make('div', { id: 'words', role: 'status' }, text('title'), text('detail'), text('request')),
    make('div', { id: 'progress', role: 'progressbar', 'aria-labelledby': 'title' }),
    text('way', 'button'));
  const bar = make('div', { id: 'bar', part: 'bar', role: 'status' }, text('role'), text('file'));
  root.append(make('slot'), bar, cover);
  dress(root);
  parts.way.onclick = () => {
    cover.focus(); // the button goes, the focus stays here
    tryAgain();
  };
  return (state, framed, lang, words) => {
    host.setAttribute('state', state);
    host.toggleAttribute('framed', !!framed);
    for (const id in parts) {
      const part = parts[id], said = words[id] || '';
      part.hidden = !said;
      part.lang = lang;
      if (part.textContent !== said) part.textContent = said; // unchanged, it is not read out again
    }
    // The cover goes: a focus that it had goes on into the document.
    if (/^open/.test(state) && framed && root.activeElement) host.querySelector('iframe')?.focus();
  };
};
