/**
 * Justified rows: images of one height side by side fill the width, so that nothing is cropped and the order of the
 * hits reads as text does. Rows are only ever appended; an unfinished last row waits for further images.
 */

const NARROWEST = 0.45, WIDEST = 3.2; // images beyond are cropped: a strip would make a row of a few pixels

export const shown = (aspect) => Math.min(Math.max(aspect || 1, NARROWEST), WIDEST);

/** The height of a row to aim at, and the gap, for a width of the grid in CSS pixels. */
export function metrics(width) {
  if (width < 560) return { height: 150, gap: 6 };
  if (width < 1000) return { height: 200, gap: 10 };
  if (width < 1800) return { height: 250, gap: 14 };
  if (width < 2800) return { height: 300, gap: 16 };
  return { height: 380, gap: 20 };
}

export class Rows {
  constructor(width) {
    this.width = width;
    Object.assign(this, metrics(width));
    this.starts = [0]; // index of the first image of each row; the last entry is the first image without a row
    this.tops = [0]; // of each row; the last entry is where the next row begins
    this.heights = [];
  }

  /** Appends rows for images up to `count`; all of them if `done`. */
  extend(aspectOf, count, done) {
    let index = this.starts.at(-1), sum = 0, first = index;
    for (; index < count; index++) {
      const aspect = shown(aspectOf(index));
      const number = index - first;
      const without = this.#height(sum, number);
      const withIt = this.#height(sum + aspect, number + 1);
      if (withIt > this.height) {
        sum += aspect;
        continue;
      }
      // The row is full with or without this image: whichever is closer to the height that is aimed at.
      if (number > 0 && without / this.height < this.height / withIt) {
        this.#append(index, without);
        first = index;
        sum = aspect;
        if (this.#height(sum, 1) <= this.height) {
          this.#append(index + 1, this.#height(sum, 1));
          first = index + 1;
          sum = 0;
        }
      } else {
        this.#append(index + 1, withIt);
        first = index + 1;
        sum = 0;
      }
    }
    if (done && first < count) this.#append(count, Math.min(this.height, this.#height(sum, count - first)));
  }

  get count() {
    return this.heights.length;
  }

  get total() {
    return this.tops.at(-1);
  }

  /** The row at a height: the last one that begins at or above it. */
  at(y) {
    return Math.max(0, before(this.tops, y, this.count));
  }

  /** The row that an image is in. */
  of(index) {
    return Math.max(0, before(this.starts, index, this.count));
  }

  #height(sum, number) {
    return sum === 0 ? Infinity : (this.width - this.gap * (number - 1)) / sum;
  }

  #append(end, height) {
    this.heights.push(height);
    this.starts.push(end);
    this.tops.push(this.tops.at(-1) + height + this.gap);
  }
}

/** The last of the first `count` sorted values that is at most `value`. */
function before(sorted, value, count) {
  let low = 0, high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
