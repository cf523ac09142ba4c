/** Line icons, 24 × 24. */

const PATHS = {
  search: ["M10.5 17a6.5 6.5 0 1 0 0-13 6.500 6.500 0 0 0 0 13Z", "m15.500 15.500 5 5"],
  close: ["m6 6 12 12", "M18 6 6 18"],
  camera: ["M4 8.500A1.500 1.500 0 0 1 5.500 7h2L9 4.500h6L16.500 7h2A1.500 1.500 0 0 1 20 8.500v9a1.500 1.500 0 0 1-1.500 1.500h-13A1.500 1.500 0 0 1 4 17.500Z", "M12 16a3.250 3.250 0 1 0 0-6.500 3.250 3.250 0 0 0 0 6.500Z"],
  sliders: ["M4 7h9", "M17 7h3", "M15 9a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z", "M4 17h3", "M11 17h9", "M9 19a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z"],
  basket: ["M4 10h16l-1.500 9h-13Z", "m8 10 3-6", "m16 10-3-6"],
  more: ["M12 6.200v.01", "M12 12v.01", "M12 17.800v.01"],
  check: ["m5 12.500 4.500 4.500L19 7.500"],
  plus: ["M12 5v14", "M5 12h14"],
  minus: ["M5 12h14"],
  left: ["m14.500 5-7 7 7 7"],
  right: ["m9.500 5 7 7-7 7"],
  download: ["M12 4v11", "m7.500 10.500 4.500 4.500 4.500-4.500", "M5 19.500h14"],
  like: ["M5.500 4h6v6h-6Z", "M14.500 14h4v6h-4Z", "M14.500 4h4v6h-4Z", "M5.500 14h6v6h-6Z"],
  link: ["M10 14a4 4 0 0 0 6 .4l3-3a4 4 0 0 0-5.700-5.700l-1 1", "M14 10a4 4 0 0 0-6-.4l-3 3a4 4 0 0 0 5.700 5.700l1-1"],
  picture: ["M4 6.500A1.500 1.500 0 0 1 5.500 5h13A1.500 1.500 0 0 1 20 6.500v11a1.500 1.500 0 0 1-1.500 1.500h-13A1.500 1.500 0 0 1 4 17.500Z", "m4.500 16.500 4.500-4.500 4 4 2.500-2.500 4 4", "M15.500 9.500v.01"],
  shuffle: ["M4 7h3.500c4 0 5 10 9 10H20", "M4 17h3.500c1.600 0 2.700-1.600 3.600-3.500", "M13.500 10c.8-1.700 1.700-3 3-3H20", "m17.500 4.500 2.500 2.500-2.500 2.500", "m17.500 14.500 2.500 2.500-2.500 2.500"],
  warning: ["M12 4 3 19.500h18Z", "M12 10v4.500", "M12 17v.01"],
  up: ["m6 14.500 6-6 6 6"],
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
