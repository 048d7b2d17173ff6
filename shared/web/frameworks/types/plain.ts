// The declarations without a framework, under strict.
import { link, open, texts, type Session, type State, type WebofficeError } from 'weboffice-document';

const element = document.querySelector('weboffice-document')!;
element.token = () => Promise.resolve('proof');
element.token = null;
element.token = document.hidden && (() => 'proof');
element.src = document.hidden ? 'oss://bucket/plan.docx' : undefined;
element.readonly = true;
element.token = undefined;
element.options = { parameters: { PreviewPages: 3 }, password: 'x' };
element.texts = { editing: 'Yours' };
element.addEventListener('error', event => {
  const code: string = event.detail.code, wait: number | undefined = event.detail.wait;
  console.log(code, wait, event.detail.requestId);
});
element.addEventListener('changed', event => event.detail.Readonly);
element.addEventListener('click', event => event.clientX);
element.addEventListener('signin', () => element.session?.retry(true));
// @ts-expect-error: no such property of a problem
element.addEventListener('error', event => event.detail.nothing);
// @ts-expect-error: a number is no proof
element.token = 7;

const session: Session = open({
  generate: new URL('https://api.example.com/generate'), refresh: 'https://api.example.com/refresh',
  document: 'oss://bucket/plan.docx', mount: '#editor', token: async () => 'proof',
  permission: { Readonly: true }, integrity: 'sha384-x', config: { mode: 'simple' },
});
session.addEventListener('error', ({ detail }) => detail.retry);
session.addEventListener('open', () => session.permission?.Export);
// @ts-expect-error: a mount is needed
open({ generate: '', refresh: '', document: '' });
const state: State = session.state, error: WebofficeError | null = session.error;
texts.fr = { editing: 'Modification' };
console.log(link, state, error?.status, session.left() / session.life);
