/** What the service serves: its galleries with their columns, spaces and licences. */

import * as api from "./api.js";

const WAIT = 2000; // milliseconds between questions while a gallery is empty, or its columns are being counted

const listeners = new Set();
let known = [];

export const served = () => known;
export const galleryNamed = (name) => known.find((gallery) => gallery.name === name) ?? known[0] ?? null;

/** Calls a function when more has become known about a gallery. */
export const onGalleries = (listener) => listeners.add(listener);

export async function loadGalleries() {
  known = (await api.galleries()).galleries;
  known.filter(isIncomplete).forEach(later);
  for (const listener of listeners) listener();
}

const isIncomplete = (gallery) => gallery.rows === 0 || gallery.columns_ready === false;

function later(before) {
  setTimeout(async () => {
    const gallery = await api.gallery(before.name).catch(() => before);
    if (isIncomplete(gallery)) later(gallery);
    if (gallery.version === before.version && gallery.columns_ready === before.columns_ready) return;
    known = known.map((one) => (one.name === gallery.name ? gallery : one));
    for (const listener of listeners) listener();
  }, WAIT);
}
