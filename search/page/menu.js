/** The settings: language, theme, the list of keys, and the way out where a token was needed to come in. */

import { byId, el } from "./base/dom.js";
import { currentLanguage, inEachLanguage, setLanguage, t } from "./base/i18n.js";
import { setTheme, theme, THEMES } from "./base/theme.js";
import { showKeys } from "./keys.js";
import * as api from "./service/api.js";

export function startMenu({ canSignOut }) {
  const draw = () => byId("menu").replaceChildren(...[
    choices(t("language"), "language", [["zh", "中文"], ["en", "English"]], currentLanguage(), setLanguage),
    choices(t("theme"), "theme", THEMES.map((name) => [name, t(`theme_${name}`)]), theme(), setTheme),
    item(t("keys"), () => {
      byId("menu").hidePopover();
      showKeys();
    }),
    canSignOut && item(t("signOut"), async () => {
      await api.signOut().catch(() => {});
      location.reload();
    }),
  ].filter(Boolean));
  inEachLanguage(draw);
}

function choices(label, name, options, chosen, choose) {
  const radio = ([value, text]) => el("label", {},
    el("input", { type: "radio", name, value, checked: value === chosen, on: { change: () => {
      choose(value);
      byId("menu").querySelector(`input[name=${name}]:checked`)?.focus();
    } } }),
    el("span", { text, lang: value === "zh" ? "zh-CN" : value === "en" ? "en" : null }));
  return el("fieldset", {}, el("legend", { text: label }), el("div", { class: "segments" }, ...options.map(radio)));
}

const item = (text, act) => el("button", { type: "button", class: "item", text, on: { click: act } });
