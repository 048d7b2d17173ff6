import { svelte } from '@sveltejs/vite-plugin-svelte';
import react from '@vitejs/plugin-react';
import vue from '@vitejs/plugin-vue';
import { defineConfig } from 'vite';

const isCustomElement = tag => tag === 'weboffice-document';

export default defineConfig({
  base: './',
  plugins: [react(), vue({ template: { compilerOptions: { isCustomElement } } }), svelte()],
  build: { rolldownOptions: { input: ['react.html', 'vue.html', 'svelte.html'] } },
});
