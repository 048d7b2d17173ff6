// A page in React: somebody signs in, chooses a document, and signs out.
import 'weboffice-document'; // before the first render
import { useState } from 'react';
import { createRoot } from 'react-dom/client';

// What your login has: a function that gives a proof which is valid now.
const signIn = async () => ({
  name: 'Erin',
  token: async () => (await (await fetch('/dev/token?persona=editor')).json()).token,
});
const documents = ['test-object.docx', 'test-object.xlsx', 'test-object.pptx'];

function App() {
  const [person, setPerson] = useState(null);
  const [name, setName] = useState(documents[0]);
  const toggle = async () => setPerson(person ? null : await signIn());
  return (
    <>
      <header>
        <button onClick={toggle}>{person ? `Sign out ${person.name}` : 'Sign in'}</button>
        <select aria-label="Document" value={name} onChange={event => setName(event.target.value)}>
          {documents.map(one => <option key={one}>{one}</option>)}
        </select>
      </header>
      <weboffice-document
        {...SETTING} src={`oss://test-bucket/${name}`}
        token={person && person.token}
        onerror={event => console.warn(event.detail.message)}
      />
    </>
  );
}

createRoot(document.getElementById('root')).render(<App />);
