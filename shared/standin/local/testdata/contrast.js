// Gives the texts on the page that are hard to read: those with a contrast below 4.5 to what is
// behind them (WCAG 2, 1.4.3).
(() => {
  const pen = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = colour => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], below) =>
    [r, g, b].map((one, i) => one * a + below[i] * (1 - a)).concat(1);
  const light = colour => {
    const [r, g, b] = colour.map(one =>
      (one /= 255) <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4,
    );
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const parent = node => node.assignedSlot || node.parentElement || node.getRootNode().host;
  const behind = element => {
    const layers = [];
    for (let one = element; one; one = parent(one)) {
      layers.push(rgba(getComputedStyle(one).backgroundColor));
      if (layers.at(-1)[3] === 1) break;
    }
    const canvas = matchMedia('(prefers-color-scheme: dark)').matches
      ? [18, 18, 18, 1]
      : [255, 255, 255, 1];
    return layers.reduceRight((below, layer) => over(layer, below), canvas);
  };
  const faint = [];
  let texts = 0;
  const look = root => {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      if (node.shadowRoot) look(node.shadowRoot);
      const element = node.parentElement;
      if (node.nodeType !== Node.TEXT_NODE || !node.data.trim() || !element) continue;
      const style = getComputedStyle(element),
        range = document.createRange();
      range.selectNodeContents(node);
      const { width, height, right, bottom } = range.getBoundingClientRect();
      if (
        !element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) ||
        width * height === 0 ||
        right < 0 ||
        bottom < 0
      )
        continue;
      texts++;
      const below = behind(element),
        ink = over(rgba(element instanceof SVGElement ? style.fill : style.color), below);
      const [high, low] = [light(ink), light(below)].sort((a, b) => b - a),
        ratio = (high + 0.05) / (low + 0.05);
      if (ratio < 4.5)
        faint.push(
          `${ratio.toFixed(2)} ${element.tagName}#${element.id}: ${node.data.trim().slice(0, 40)}`,
        );
    }
  };
  look(document.body);
  return { texts, faint };
})();
