// The element's declarations for Vue's and Svelte's templates.
import type { SvelteHTMLElements } from 'svelte/elements';
import type { GlobalComponents } from 'vue';
import type { WebofficeError } from 'weboffice-document';

export const vue: InstanceType<GlobalComponents['weboffice-document']>['$props'] = {
  src: 'oss://bucket/plan.docx', token: () => 'proof', options: { parameters: {} },
};
export const svelte: SvelteHTMLElements['weboffice-document'] = {
  src: 'oss://bucket/plan.docx', signin: true, class: 'wide', token: null, sdk: null,
  onerror: event => { const problem: WebofficeError = event.detail; return problem.code; },
};
