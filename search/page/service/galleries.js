/** What the service serves: its galleries with their columns, spaces and licences. */

import * as api from "./api.js";

const WAIT = 2000; // milliseconds between questions while the columns of a gallery are still being counted

const listeners = new Set();
let known = [];

export const served = () => known;
export const galleryNamed = (name) => known.find((gallery) => gallery.name === name) ?? known[0] ?? null;

/** Calls a function when more has become known about a gallery. */
export const onGalleries = (listener) => listeners.add(listener);

export async function loadGalleries() {
  known = (await api.galleries()).galleries;
  for (const gallery of known) if (gallery.columns_ready === false) later(gallery.name);
  for (const listener of listeners) listener();
}

function later(name) {
  setTimeout(async () => {
    const gallery = await api.gallery(name).catch(() => null);
    if (gallery === null || gallery.columns_ready === false) return later(name);
    known = known.map((one) => (one.name === name ? gallery : one));
    for (const listener of listeners) listener();
  }, WAIT);
}
