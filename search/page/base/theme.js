/** Light, dark, or as the system is. */

import { remember, remembered } from "./remember.js";

export const THEMES = ["auto", "light", "dark"];

export const theme = () => (THEMES.includes(remembered("theme")) ? remembered("theme") : "auto");

export function setTheme(value) {
  remember("theme", value === "auto" ? null : value);
  applyTheme();
}

export function applyTheme() {
  const value = theme();
  if (value === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = value;
}
