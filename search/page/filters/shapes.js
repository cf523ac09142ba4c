/** Shapes of images as ranges of width ÷ height. */
export const SHAPES = {
  portrait: { high: 0.85 },
  square: { low: 0.85, high: 1.18 },
  landscape: { low: 1.18 },
  wide: { low: 2 },
};
