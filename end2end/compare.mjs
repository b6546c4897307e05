// Compares two pictures of a page block by block, by mean colours, so that a different value, or another machine's font
// smoothing, is no difference, but a broken layout is.

/** The side of a block, in pixels. */
const BLOCK = 16;

/** How far a channel's mean (0 to 255) may be off before a block counts as different. */
const TOLERANCE = 12;

/** The share of the compared blocks that may be different. */
export const MAX_SHARE = 0.01;

/** The share of all blocks that have to be compared: where nearly everything is live, nothing is said. */
export const MIN_COMPARED = 0.25;

/**
 * Compares two PNGs in `page`, a blank one, and leaves out blocks that touch a box of `live` ({ x, y, width, height }).
 * Gives `sameSize`; the `share` of the compared blocks that differ; the share `compared`; and `marked`, the actual
 * picture as a PNG in base64, what is live dimmed and what differs framed.
 */
export function compare(page, kept, actual, live) {
  const given = { kept: kept.toString("base64"), actual: actual.toString("base64"), live, BLOCK, TOLERANCE };
  return page.evaluate(async ({ kept, actual, live, BLOCK, TOLERANCE }) => {
    async function draw(base64) {
      const image = new Image();
      image.src = `data:image/png;base64,${base64}`;
      await image.decode();
      const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
      canvas.getContext("2d", { willReadFrequently: true }).drawImage(image, 0, 0);
      return canvas;
    }
    const mean = ({ data, width }, x0, y0, x1, y1) => {
      const sums = [0, 0, 0];
      for (let y = y0; y < y1; y++) {
        for (let x = x0; x < x1; x++) {
          for (let channel = 0; channel < 3; channel++) sums[channel] += data[4 * (y * width + x) + channel];
        }
      }
      return sums.map((sum) => sum / ((x1 - x0) * (y1 - y0)));
    };

    const [before, after] = [await draw(kept), await draw(actual)];
    const { width, height } = after;
    if (before.width !== width || before.height !== height) return { sameSize: false, share: 1, compared: 0, marked: actual };
    const [was, is] = [before, after].map((canvas) => canvas.getContext("2d").getImageData(0, 0, width, height));
    const pen = after.getContext("2d");
    pen.strokeStyle = "red";
    pen.fillStyle = "rgb(128 128 128 / .6)";
    const count = { all: 0, compared: 0, different: 0 };
    for (let y = 0; y < height; y += BLOCK) {
      for (let x = 0; x < width; x += BLOCK) {
        const [right, bottom] = [Math.min(x + BLOCK, width), Math.min(y + BLOCK, height)];
        count.all++;
        if (live.some((box) => box.x < right && box.x + box.width > x && box.y < bottom && box.y + box.height > y)) {
          pen.fillRect(x, y, right - x, bottom - y);
          continue;
        }
        count.compared++;
        const [a, b] = [mean(was, x, y, right, bottom), mean(is, x, y, right, bottom)];
        if (a.some((value, channel) => Math.abs(value - b[channel]) > TOLERANCE)) {
          count.different++;
          pen.strokeRect(x + 0.5, y + 0.5, right - x - 1, bottom - y - 1);
        }
      }
    }
    return {
      sameSize: true,
      share: count.compared === 0 ? 1 : count.different / count.compared,
      compared: count.compared / count.all,
      marked: after.toDataURL("image/png").split(",")[1],
    };
  }, given);
}

/** Whether two pictures show the same page. */
export const isSame = ({ share, compared }) => share <= MAX_SHARE && compared >= MIN_COMPARED;
