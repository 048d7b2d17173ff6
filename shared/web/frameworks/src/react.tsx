import { open } from 'weboffice-document';
import { StrictMode, useEffect, useRef, useState } from 'react';
import { createRoot } from 'react-dom/client';
import type { Given } from './given';

function Editor({ src, generate, refresh, sdk }: Given) {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!place.current) return;
    const session = open({
      generate, refresh, sdk, document: src, mount: place.current, token: () => window.auth(),
    });
    return () => { session.close(); };
  }, [src]);
  return <div id="effect" ref={place} style={{ height: '100%' }} />;
}

function Page(given: Given) {
  const { src, generate, refresh, sdk, token, inline, signin, readonly, word, hide } = given;
  const [problem, setProblem] = useState('');
  const [count, setCount] = useState(0);
  if (given.effect) return <Editor {...given} />;
  if (given.gone) return null;
  return (
    <>
      <p id="problem" hidden>{problem} {count}</p>
      <weboffice-document
        src={src} generate={generate} refresh={refresh} sdk={sdk} signin={signin} readonly={readonly}
        token={inline ? () => window.auth() : token}
        options={{ parameters: { Hidecmb: !!hide } }} texts={word ? { editing: word } : {}}
        onerror={event => {
          setProblem(event.detail.code);
          setCount(before => before + 1);
        }}
        onsignin={() => setCount(before => before + 1)}
      />
    </>
  );
}

const root = createRoot(document.getElementById('place')!);
window.draw = given => root.render(<StrictMode><Page {...given} /></StrictMode>);
