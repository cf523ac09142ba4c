/** The eleven names of dominant colours, and how their swatches look. */
export const SWATCHES = {
  red: "#c8372d", orange: "#e8832a", yellow: "#ecc53a", green: "#4f9a4b", blue: "#3f76c4", purple: "#7d53a8",
  pink: "#e892b4", brown: "#80573a", black: "#1c1c1c", gray: "#8e8e8e", white: "#f7f7f4",
};
