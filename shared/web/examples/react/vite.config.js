import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

const { GENERATE, REFRESH, SDK = '', PORT = 8082 } = process.env;

export default defineConfig({
  plugins: [react()],
  define: { SETTING: JSON.stringify({ generate: GENERATE, refresh: REFRESH, sdk: SDK || undefined }) },
  // The login of go run ./scripts/dev; yours answers in its place.
  server: { host: '127.0.0.1', port: +PORT, proxy: { '/dev': GENERATE && new URL(GENERATE).origin } },
});
