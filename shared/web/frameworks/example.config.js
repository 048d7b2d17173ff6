// The example in React, built with this folder's packages. Its addresses come from the page that
// a test serves.
import { fileURLToPath } from 'node:url';
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

const own = name => fileURLToPath(new URL('node_modules/' + name, import.meta.url));

export default defineConfig({
  root: '../examples/react',
  base: './',
  plugins: [react()],
  define: { SETTING: 'window.SETTING' },
  resolve: {
    alias: Object.fromEntries(['react', 'react-dom', 'weboffice-document'].map(name => [name, own(name)])),
  },
  build: { outDir: '../../frameworks/dist/example', emptyOutDir: true },
});
