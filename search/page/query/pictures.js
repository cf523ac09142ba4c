/**
 * Pictures that somebody searches with. The address names them, this browser keeps them, so that back, forward and a
 * reload find them again. Nobody else can see them.
 */

const STORE = "pictures", KEPT = 50;
const MOST = 6 << 20; // bytes; larger ones are sent smaller, because encoders look at a few hundred pixels only
const SIDE = 1600; // pixels of the longer side, then

let opened = null;
const memory = new Map(); // id → blob, for browsers that forbid storage

function database() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("diantu", 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

const answer = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** Keeps a picture. @returns {Promise<string>} its id */
export async function keepPicture(file) {
  const blob = file.size > MOST ? await smaller(file) : file;
  const id = [...crypto.getRandomValues(new Uint8Array(6))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  memory.set(id, blob);
  try {
    const store = (await database()).transaction(STORE, "readwrite").objectStore(STORE);
    await answer(store.put({ id, blob, kept: Date.now() }));
    const all = await answer(store.getAll());
    for (const old of all.sort((a, b) => b.kept - a.kept).slice(KEPT)) store.delete(old.id);
  } catch {
    // It is in memory, until the page is closed.
  }
  return id;
}

/** @returns {Promise<Blob|null>} a kept picture; null where this browser does not have it */
export async function pictureBlob(id) {
  if (memory.has(id)) return memory.get(id);
  try {
    const store = (await database()).transaction(STORE).objectStore(STORE);
    const blob = (await answer(store.get(id)))?.blob ?? null;
    if (blob) memory.set(id, blob);
    return blob;
  } catch {
    return null;
  }
}

/** @returns {Promise<string|null>} a kept picture as a `data:` URL */
export async function pictureData(id) {
  const blob = await pictureBlob(id);
  if (!blob) return null;
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

async function smaller(file) {
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (!bitmap) return file; // the browser does not know the format; the service may
  const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(bitmap.width * scale);
  canvas.height = Math.round(bitmap.height * scale);
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob((blob) => resolve(blob ?? file), "image/jpeg", 0.92));
}
