// Pixels of a frame on a canvas; nothing but the frame is drawn here.

const GREYS = new Uint32Array(256).map((_, grey) => 0xff000000 | (grey << 16) | (grey << 8) | grey);

export class Picture {
  #canvas;
  #context;
  #native = document.createElement("canvas");
  #nativeContext = this.#native.getContext("2d", { alpha: false });
  #image = null;

  constructor(canvas) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d", { alpha: false });
  }

  /** Match the canvas to the device's pixels; true when that changed anything. */
  resize(width, height) {
    if (this.#canvas.width === width && this.#canvas.height === height) return false;
    this.#canvas.width = width;
    this.#canvas.height = height;
    return true;
  }

  clear() {
    this.#context.fillStyle = "#000";
    this.#context.fillRect(0, 0, this.#canvas.width, this.#canvas.height);
  }

  /** Draw `samples` (8 bit, rows x columns) into the rectangle. */
  draw(samples, rows, columns, rect, smooth) {
    if (this.#image?.width !== columns || this.#image?.height !== rows) {
      this.#native.width = columns;
      this.#native.height = rows;
      this.#image = this.#nativeContext.createImageData(columns, rows);
    }
    const pixels = new Uint32Array(this.#image.data.buffer);
    for (let index = 0; index < samples.length; index++) pixels[index] = GREYS[samples[index]];
    this.#nativeContext.putImageData(this.#image, 0, 0);
    this.#context.imageSmoothingEnabled = smooth;
    this.#context.imageSmoothingQuality = "high";
    this.#context.drawImage(this.#native, rect.x, rect.y, rect.width, rect.height);
  }
}
