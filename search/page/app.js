/** Puts the page together: the state in the address → a request → results → the grid, and everything around it. */

import { byId } from "./base/dom.js";
import { inEachLanguage, localize } from "./base/i18n.js";
import { drawIcons } from "./base/icons.js";
import { applyTheme } from "./base/theme.js";
import { setBasketGallery, startBasket, toggleBasket } from "./collect/basket.js";
import { clearSelection, isPicked, numPicked, pick, startSelection } from "./collect/selection.js";
import { startDetail } from "./detail/dialog.js";
import { setFilterGallery, startFilters } from "./filters/panel.js";
import { Grid } from "./grid/grid.js";
import { makeTile } from "./grid/tile.js";
import { startKeys } from "./keys.js";
import { startMenu } from "./menu.js";
import { showActive } from "./messages/active.js";
import { showIntro } from "./messages/intro.js";
import { hideMessage, messageFor, showMessage } from "./messages/message.js";
import { showSummary } from "./messages/summary.js";
import { startBar } from "./query/bar.js";
import { startTerms } from "./query/terms.js";
import { Searches } from "./search.js";
import { onUnauthorized } from "./service/api.js";
import { galleryNamed, loadGalleries, onGalleries, served } from "./service/galleries.js";
import { session, signedIn } from "./service/session.js";
import { go, now, onState } from "./state/history.js";
import { EMPTY, NO_QUERY, term } from "./state/state.js";

applyTheme();
drawIcons(document);
localize(document);

const gallery = () => galleryNamed(now().gallery);
const name = () => gallery()?.name ?? "";
const grid = new Grid(byId("grid"), (hit, index, width, height) => makeTile(hit, index, width, height, { gallery: name(), isPicked }));
const searches = new Searches(grid, { gallery, changed: showAround });
let anchor = null; // the tile from which a selection with Shift reaches

/** Everything around the grid that depends on the results. */
function showAround(results, error = null) {
  const state = now();
  const busy = results === null && error === null;
  byId("progress").hidden = !busy && !(results?.running.size && results.count === 0);
  byId("grid").setAttribute("aria-busy", String(busy));
  if (gallery()) showIntro(state, gallery(), results);
  showActive(state);
  showSummary(state, gallery(), results, again);
  const message = messageFor(state, gallery(), results, error ?? results?.error ?? null);
  if (message) showMessage(message, { retry: () => (gallery() ? searches.again() : start()) });
  else hideMessage();
  document.body.classList.toggle("without-hits", message !== null && !results?.count);
}

/** Searches the gallery as it is now. */
async function again() {
  await loadGalleries().catch(() => {}); // the search itself says what is wrong
  searches.again();
}

const detail = startDetail({
  gallery: name,
  hitOf: (row) => searches.hitOf(row),
  step: (row, by) => searches.step(row, by),
  closed: (row) => searches.focus(row),
  pick, isPicked,
});

byId("grid").addEventListener("click", (event) => {
  const tile = event.target.closest(".tile[data-row]");
  if (!tile) return;
  const index = Number(tile.dataset.index);
  if (event.target.closest(".pick")) return pickAt(index, event.shiftKey);
  if (event.target.closest(".like")) return likeAt(index);
  if (event.metaKey || event.ctrlKey || event.button) return; // the browser opens the link elsewhere
  event.preventDefault();
  if (event.shiftKey) return pickAt(index, true);
  if (numPicked() && matchMedia("(hover: none)").matches) return pickAt(index);
  openAt(index);
});

/** On a screen that is touched, a long press selects; while something is selected, a tap selects, too. */
byId("grid").addEventListener("contextmenu", (event) => {
  const tile = event.target.closest(".tile[data-row]");
  if (!tile || !matchMedia("(hover: none)").matches) return;
  event.preventDefault();
  pickAt(Number(tile.dataset.index));
});

function openAt(index) {
  const hit = grid.source?.item(index);
  if (!hit) return;
  grid.activate(index, { focus: false });
  go({ row: hit.row });
}

function pickAt(index, through = false) {
  const hit = grid.source?.item(index);
  if (!hit) return;
  const yes = through && anchor !== null ? true : !isPicked(hit.row);
  if (through && anchor !== null) {
    for (let at = Math.min(anchor, index); at <= Math.max(anchor, index); at++) {
      const one = grid.source.item(at);
      if (one && !isPicked(one.row)) pick(one, yes);
    }
  } else pick(hit, yes);
  anchor = index;
}

function likeAt(index) {
  const hit = grid.source?.item(index);
  if (hit) go({ ...NO_QUERY, terms: [term("row", String(hit.row))] });
}

function basketAt(index) {
  const hit = grid.source?.item(index);
  if (hit) toggleBasket(name(), hit);
}

function markPicked() {
  for (const tile of grid.tiles.values()) {
    const picked = isPicked(Number(tile.dataset.row));
    tile.classList.toggle("picked", picked);
    tile.querySelector(".pick")?.setAttribute("aria-pressed", String(picked));
  }
}

function showGalleries() {
  const select = byId("gallery");
  select.hidden = served().length < 2;
  select.replaceChildren(...served().map((one) => new Option(one.name, one.name, false, one.name === name())));
  setFilterGallery(gallery());
}

function enterGallery() {
  clearSelection();
  setBasketGallery(name());
  showGalleries();
}

async function start() {
  showAround(null);
  try {
    await loadGalleries();
  } catch (error) {
    if (error.status !== 401) showAround(null, error);
    return;
  }
  enterGallery();
  searches.run(now());
  detail();
}

startBar();
startTerms(name);
startFilters();
startBasket();
startSelection({ gallery: name, onChange: markPicked });
startKeys(grid, {
  pick: pickAt, basket: basketAt, like: likeAt,
  filters: () => byId("filters-button").click(),
  escape: () => (byId("filters").open ? byId("filters-button").click() : numPicked() && clearSelection()),
});
byId("gallery").addEventListener("change", (event) => go({ ...EMPTY, gallery: event.target.value === served()[0].name ? "" : event.target.value }));
onGalleries(() => {
  setFilterGallery(gallery());
  const { results } = searches;
  if (results?.done && results.count === 0 && results.first.version !== gallery()?.version) searches.again(); // it was empty
});
onState((state, before) => {
  if (state.gallery !== before.gallery) enterGallery();
  searches.run(state);
});
onUnauthorized(async () => {
  await signedIn();
  start();
});
inEachLanguage(() => {
  if (!gallery()) return;
  grid.redraw();
  showAround(searches.results, searches.error);
});

const { token_required: needsToken, authorized } = await session();
startMenu({ canSignOut: needsToken });
if (authorized) start();
else signedIn().then(start);

