import 'weboffice-document';
import { createApp, h, shallowRef } from 'vue';
import type { Given } from './given';
// @ts-expect-error: typed by vue-tsc alone
import Page from './Page.vue';

const given = shallowRef<Given>();
createApp({ render: () => given.value && h(Page, { given: given.value }) }).mount('#place');
window.draw = next => { given.value = next; };
