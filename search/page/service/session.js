/** Signing in, where the service wants a token: it becomes a cookie that scripts cannot read. */

import { byId, el } from "../base/dom.js";
import { t } from "../base/i18n.js";
import * as api from "./api.js";

/** Whether the service wants a token, and has it. */
export const session = () => api.session().catch(() => ({ token_required: false, authorized: true }));

/** Shows the dialog that asks for the token; resolves once the service has accepted it. */
export function signedIn() {
  return new Promise((resolve) => {
    const dialog = byId("sign-in");
    if (dialog.open) return;
    const token = el("input", { type: "password", id: "token", autocomplete: "current-password", required: true });
    const problem = el("p", { class: "problem", role: "alert" });
    const submit = async (event) => {
      event.preventDefault();
      problem.textContent = "";
      try {
        await api.signIn(token.value);
        dialog.close();
        resolve();
      } catch (error) {
        problem.textContent = error.status === 401 ? t("wrongToken") : error.message;
        token.select();
      }
    };
    dialog.replaceChildren(
      el("form", { on: { submit } },
        el("img", { src: "page/icon.svg", alt: "", width: 44, height: 44 }),
        el("h2", { text: t("signIn") }),
        el("label", { for: "token", text: t("token") }),
        token,
        problem,
        el("button", { class: "primary", text: t("signIn") }),
      ),
    );
    dialog.oncancel = (event) => event.preventDefault(); // nothing can be shown without it
    dialog.showModal();
    token.focus();
  });
}
