import 'weboffice-document';
import { mount } from 'svelte';
import Page from './Page.svelte';
// @ts-expect-error: a module of runes
import { page } from './page.svelte.js';

mount(Page, { target: document.getElementById('place')!, props: { page } });
window.draw = given => { page.given = given; };
