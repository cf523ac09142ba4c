/** Line icons, 24 × 24. */

const PATHS = {
  search: ["M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13Z", "m15.5 15.5 5 5"],
  close: ["m6 6 12 12", "M18 6 6 18"],
  camera: ["M4 8.5A1.5 1.5 0 0 1 5.5 7h2L9 4.5h6L16.5 7h2A1.5 1.5 0 0 1 20 8.5v9a1.5 1.5 0 0 1-1.5 1.5h-13A1.5 1.5 0 0 1 4 17.5Z", "M12 16a3.25 3.25 0 1 0 0-6.5 3.25 3.25 0 0 0 0 6.5Z"],
  sliders: ["M4 7h9", "M17 7h3", "M15 9a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z", "M4 17h3", "M11 17h9", "M9 19a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z"],
  basket: ["M4 10h16l-1.5 9h-13Z", "m8 10 3-6", "m16 10-3-6"],
  more: ["M12 5.5v.7h.01v-.7Z", "M12 11.7v.7h.01v-.7Z", "M12 17.9v.7h.01v-.7Z"],
  check: ["m5 12.5 4.5 4.5L19 7.5"],
  plus: ["M12 5v14", "M5 12h14"],
  minus: ["M5 12h14"],
  left: ["m14.5 5-7 7 7 7"],
  right: ["m9.5 5 7 7-7 7"],
  download: ["M12 4v11", "m7.5 10.5 4.5 4.5 4.5-4.5", "M5 19.5h14"],
  like: ["M5.5 4h6v6h-6Z", "M14.5 14h4v6h-4Z", "M14.5 4h4v6h-4Z", "M5.5 14h6v6h-6Z"],
  link: ["M10 14a4 4 0 0 0 6 .4l3-3a4 4 0 0 0-5.7-5.7l-1 1", "M14 10a4 4 0 0 0-6-.4l-3 3a4 4 0 0 0 5.7 5.7l1-1"],
  picture: ["M4 6.5A1.5 1.5 0 0 1 5.5 5h13A1.5 1.5 0 0 1 20 6.5v11a1.5 1.5 0 0 1-1.5 1.5h-13A1.5 1.5 0 0 1 4 17.5Z", "m4.5 16.5 4.5-4.5 4 4 2.5-2.5 4 4", "M15.5 9.5v.01"],
  shuffle: ["M4 7h3.5c4 0 5 10 9 10H20", "M4 17h3.5c1.6 0 2.7-1.6 3.6-3.5", "M13.5 10c.8-1.7 1.7-3 3-3H20", "m17.5 4.5 2.5 2.5-2.5 2.5", "m17.5 14.5 2.5 2.5-2.5 2.5"],
  warning: ["M12 4 3 19.5h18Z", "M12 10v4.5", "M12 17v.01"],
  up: ["m6 14.5 6-6 6 6"],
};

const NAMESPACE = "http://www.w3.org/2000/svg";

/** An icon as an element that screen readers pass over. */
export function icon(name) {
  return drawn(document.createElementNS(NAMESPACE, "svg"), name);
}

/** Fills the icons that the document names. */
export function drawIcons(root) {
  for (const svg of root.querySelectorAll("svg[data-icon]")) drawn(svg, svg.dataset.icon);
}

function drawn(svg, name) {
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  for (const d of PATHS[name]) {
    const path = document.createElementNS(NAMESPACE, "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}
