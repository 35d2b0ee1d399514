// Plotly figures (plotly.js, from the plotly package), drawn when visible.
const { make: element } = evenbench;

// plotly.js is 5 MB of source: run on the first visible chart, so that the page is readable before.
let running = null;
const plotly = () => (running ??= (async () => {
  // The table of cells comes first: plotly.js takes a while to run.
  await evenbench.tables;
  await new Promise((idle) => ("requestIdleCallback" in window ? requestIdleCallback(idle, { timeout: 500 }) : setTimeout(idle, 200)));
  const script = element("script");
  // From a blob and not inline, because browsers compile loaded scripts beside the page's thread.
  script.src = URL.createObjectURL(new Blob([await evenbench.unpack("plotly-source")], { type: "text/javascript" }));
  await new Promise((loaded, failed) => { script.onload = loaded; script.onerror = failed; document.head.append(script); });
  URL.revokeObjectURL(script.src);
  return window.Plotly;
})());

// The colours of the style sheet as a plotly template: figures have no colours.
const template = () => {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const axis = { gridcolor: colour("grid"), linecolor: colour("line"), tickcolor: colour("line"), zerolinecolor: colour("grid"), zeroline: false, title: { font: { size: 12, color: colour("soft") }, standoff: 12 } };
  return {
    layout: {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { family: style.fontFamily, size: 13, color: colour("text") },
      colorway: ["c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8"].map(colour), xaxis: axis, yaxis: axis,
      hoverlabel: { bgcolor: colour("raised"), bordercolor: colour("line"), font: { color: colour("text") } },
      shapedefaults: { line: { color: colour("soft"), width: 1.5, dash: "dot" } },
      margin: { l: 8, r: 16, t: 14, b: 52 },
    },
  };
};

// The legend is a list of the page and not of plotly: a list wraps on a phone, and screen readers can read a list.
const GLYPHS = { circle: "●", square: "■", diamond: "◆", "triangle-up": "▲", cross: "✚", x: "✖", star: "★", hexagon: "⬢" };
const keys = ({ data, layout }) => {
  if (!layout.showlegend) return [];
  const list = element("ul", "keys");
  list.append(...data.map((trace, place) => {
    const item = element("li");
    const glyph = element("span", `k${(place % 8) + 1}`, GLYPHS[trace.marker?.symbol] ?? "■");
    glyph.setAttribute("aria-hidden", "true");
    item.append(glyph, new DOMParser().parseFromString(trace.name, "text/html").documentElement.textContent);
    return item;
  }));
  return [list];
};

const drawn = new Map();
const place = async (plot, { data, layout }) => {
  const { react } = await plotly();
  if (!plot.isConnected) return;
  const themed = template();
  const shapes = (layout.shapes ?? []).map((shape) => ({ ...shape, line: themed.layout.shapedefaults.line }));
  await react(plot, structuredClone(data), { dragmode: false, ...structuredClone(layout), showlegend: false, shapes, template: themed }, { displayModeBar: false, responsive: true });
  drawn.set(plot, { data, layout });
};
const pending = new Map();
const watcher = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    watcher.unobserve(target);
    const figure = pending.get(target);
    pending.delete(target);
    if (figure) place(target, figure);
  }
}, { rootMargin: "200px" });
const later = (plot, figure) => {
  plot.style.minHeight = `${figure.layout.height}px`;
  pending.set(plot, figure);
  watcher.observe(plot);
};
document.addEventListener("themechange", () => drawn.forEach((figure, plot) => (plot.isConnected ? place(plot, figure) : drawn.delete(plot))));

// A figure whose JSON is in the page: `${name}-figure`, drawn in the box `${name}-chart`.
const stand = (name) => {
  const figure = JSON.parse(document.getElementById(`${name}-figure`).textContent);
  const box = document.getElementById(`${name}-chart`);
  if (!figure || !box) return;
  box.hidden = false;
  box.querySelector("figcaption").append(...keys(figure));
  later(box.querySelector(".plot"), figure);
};
