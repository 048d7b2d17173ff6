// A site with a login of its own: its backend mints a share link for each document that somebody
// may open, and the page carries it in its fragment. Node and nothing else: node server.mjs
import { createHash, createHmac, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';

const { GENERATE, REFRESH, SDK = '', PORT = 8082, WEBOFFICE_LINK_KEYS } = process.env;
const key = Buffer.from(WEBOFFICE_LINK_KEYS.split(',')[0], 'base64');
const kid = createHash('sha256').update('weboffice-link:').update(key).digest('hex').slice(0, 8);
const person = () => ({ sub: 'ann', name: 'Ann' }); // of your session cookie
const documents = { welcome: 'oss://test-bucket/test-object.docx', figures: 'oss://test-bucket/test-object.xlsx' };

function mint(document) {
  const part = value => Buffer.from(JSON.stringify(value)).toString('base64url');
  const now = Math.floor(Date.now() / 1000), { sub, name } = person();
  const claims = { iss: 'links', aud: 'weboffice', iat: now, exp: now + 86400, jti: randomUUID(), sub, name };
  const text = part({ alg: 'HS256', kid }) + '.' + part({ ...claims, document, grant: ['view', 'edit'] });
  return text + '.' + createHmac('sha256', key).update(text).digest('base64url');
}

const page = body => `<!doctype html><html lang="en"><meta charset="utf-8"><title>Documents</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<style>html, body, weboffice-document { display: block; height: 100%; margin: 0 } ul { padding: 2rem }</style>${body}`;
const list = page(`<ul>${Object.keys(documents).map(id => `<li><a href="/open/${id}">${id}</a>`).join('')}</ul>`);
const editor = id => page(`<script type="module" src="/weboffice.js"></script><weboffice-document
  src="${documents[id]}" generate="${GENERATE}" refresh="${REFRESH}" ${SDK && `sdk="${SDK}"`}></weboffice-document>`);

createServer(({ url }, answer) => {
  const [, way, id] = url.split('/'), send = (type, text) => answer.setHeader('Content-Type', type).end(text);
  if (url === '/weboffice.js') return send('text/javascript', readFileSync(new URL('../../weboffice.js', import.meta.url)));
  if (!Object.hasOwn(documents, id ?? '')) return send('text/html', list);
  if (way === 'open') return answer.writeHead(302, { Location: `/read/${id}#link=${mint(documents[id])}` }).end();
  send('text/html', editor(id));
}).listen(PORT, '127.0.0.1', () => console.log(`http://127.0.0.1:${PORT}/`));
