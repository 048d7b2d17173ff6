// A page that opens what setting.json says, as whoever /token says, through the element, or through
// open() with ?open. The address may add attributes of the element. `seen` holds the events that
// the document fired, `session` is the present one.
import { open, link } from './weboffice.js';

const EVENTS =
  ('opening open retrying expired signin taken refused ended failed closed ' +
    'refreshed changed error frame').split(
    ' ',
  );
const setting = await (await fetch('setting.json')).json();
const token = async () => (await fetch('token')).text();
const place = document.getElementById('place'),
  query = new URLSearchParams(location.search);

window.seen = [];
window.link = link;
window.times = name => seen.filter(one => one === name).length;
const follow = target => {
  for (const name of EVENTS) target.addEventListener(name, () => seen.push(name));
};

if (query.has('open')) {
  window.session = open({ ...setting, mount: place, token });
  follow(session);
} else {
  const element = (window.element = document.createElement('weboffice-document'));
  for (const [name, value] of Object.entries({
    ...setting,
    src: setting.document,
    ...Object.fromEntries(query),
  }))
    element.setAttribute(name, value);
  if (!link) element.token = token;
  follow(element);
  Object.defineProperty(window, 'session', { get: () => element.session });
  window.says = part => element.shadowRoot.getElementById(part).textContent;
  place.append(element);
}
