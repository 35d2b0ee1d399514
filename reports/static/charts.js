// The comparison of one group and all charts (plotly.js, from the plotly package), drawn when they come into view.
const element = (tag, className = "", text = "") => {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
};

// plotly.js is 5 MB of source: it is run when the first chart is needed, so that the page can be read before.
let running = null;
const plotly = () => (running ??= (async () => {
  // The table of cells comes first: it answers at once, whereas plotly.js takes a while to run.
  await evenbench.tables;
  await new Promise((idle) => ("requestIdleCallback" in window ? requestIdleCallback(idle, { timeout: 500 }) : setTimeout(idle, 200)));
  const script = element("script");
  // From a blob and not inline, because browsers compile what they load beside the page's own thread.
  script.src = URL.createObjectURL(new Blob([await evenbench.unpack("plotly-source")], { type: "text/javascript" }));
  await new Promise((loaded, failed) => { script.onload = loaded; script.onerror = failed; document.head.append(script); });
  URL.revokeObjectURL(script.src);
  return window.Plotly;
})());

// The colours of the style sheet as a plotly template: figures carry none of their own.
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

// The legend is a list of the page and not of plotly: it wraps on a phone, and a screen reader can read it.
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

const measured = (className, [value, interval], struck) => {
  const cell = element("td", "number");
  cell.append(element("span", struck ? "struck" : className, value));
  if (interval) cell.append(element("small", "", interval));
  return cell;
};
const ranked = (row, index) => {
  const wrong = row.outcome !== "ok";
  const line = element("tr", row.rank === "–" ? "unranked" : "");
  const name = element("th");
  name.scope = "row";
  const button = element("button", "link", row.name);
  button.type = "button";
  button.dataset.cell = index;
  button.setAttribute("aria-haspopup", "dialog");
  button.setAttribute("aria-label", `${row.name}: details of ${row.id}`);
  name.append(button);
  const outcome = element("td");
  outcome.append(element("span", `badge ${/^[a-z]+$/.test(row.outcome) ? row.outcome : ""}`, row.outcome));
  line.append(element("td", "number", row.rank), name, outcome, measured(`tone ${row.tone}`, row.speedup), measured("", row.compute, wrong));
  line.append(measured("", [row.p90], wrong), measured("", [row.p99], wrong), measured("", row.host, wrong), element("td", "number", row.parity), element("td", "words", row.words));
  return line;
};
const chart = ({ title, words, figure, whole }) => {
  const box = element("figure", whole ? "chart whole" : "chart");
  const caption = element("figcaption");
  caption.append(element("h3", "", title), element("p", "", words), ...keys(figure));
  const plot = element("div", "plot");
  plot.setAttribute("role", "img");
  plot.setAttribute("aria-label", `${title}. ${words} The numbers are in the tables of this page.`);
  box.append(caption, plot);
  later(plot, figure);
  return box;
};

const picker = document.getElementById("group");
const compare = async (index) => {
  picker.value = String(index);
  const group = await evenbench.line("group-lines", index);
  if (picker.value !== String(index)) return;
  document.getElementById("compare-words").textContent = `${group.title}: ${group.words}`;
  document.querySelector("#ranking tbody").replaceChildren(...group.rows.map((row, position) => ranked(row, group.first + position)));
  document.getElementById("figures").replaceChildren(...group.figures.map(chart));
};
picker.addEventListener("change", () => compare(Number(picker.value)));
document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-group]");
  if (link) compare(Number(link.dataset.group));
});

// The figures that stand on the page from the start, where there is something to draw.
for (const name of ["overview", "tuning", "limit"]) {
  const figure = JSON.parse(document.getElementById(`${name}-figure`).textContent);
  const box = document.getElementById(`${name}-chart`);
  if (!figure || !box) continue;
  box.hidden = false;
  box.querySelector("figcaption").append(...keys(figure));
  later(box.querySelector(".plot"), figure);
}
compare(0);
