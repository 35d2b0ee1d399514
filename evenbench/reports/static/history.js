// The history of one cell, drawn when selected; needs figures.js. No table delays the charts.
evenbench.tablesReady();
const byId = (id) => document.getElementById(id);

// The colours of the theme, one per environment; figures have no colours.
const dressed = ({ data, layout }) => {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const axis = { gridcolor: colour("grid"), linecolor: colour("line"), zeroline: false };
  const traces = data.map(({ environment, ...trace }) => {
    const own = colour(`c${(environment % 8) + 1}`);
    return trace.mode === "lines" ? { ...trace, line: { ...trace.line, color: own } }
      : { ...trace, marker: { ...trace.marker, color: own, opacity: 0.75 }, ...(trace.error_y && { error_y: { ...trace.error_y, color: `color-mix(in srgb, ${own} 55%, transparent)` } }) };
  });
  const shapes = layout.shapes.map((shape) => ({ ...shape, line: { color: colour("soft"), width: 1.5, dash: "dot" } }));
  const annotations = layout.annotations.map((mark) => ({ ...mark, arrowcolor: colour("soft"), bgcolor: colour("raised"), font: { size: 12, color: colour("text") } }));
  const title = { ...layout.yaxis.title, font: { size: 12, color: colour("soft") }, standoff: 10 };
  return [traces, {
    ...layout, shapes, annotations, xaxis: { ...axis, ...layout.xaxis }, yaxis: { ...axis, ...layout.yaxis, title }, dragmode: false, showlegend: false,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { family: style.fontFamily, size: 12, color: colour("text") },
    hoverlabel: { bgcolor: colour("raised"), bordercolor: colour("line"), font: { color: colour("text") } }, margin: { l: 8, r: 12, t: 10, b: 52 },
  }];
};

let asked = 0;
const draw = async () => {
  const turn = ++asked;
  const { name, outcomes, environments, figures } = await evenbench.line("history-lines", Number(byId("cell").value));
  if (turn !== asked) return;
  byId("outcomes").textContent = `${name}: ${outcomes}`;
  byId("environments").replaceChildren(...environments.map(({ name: title, first, changes }, place) => {
    const item = element("li");
    item.append(element("b", `k${(place % 8) + 1}`, title), ` from ${first}`, element("small", "", changes.join("; ") || "the first"));
    return item;
  }));
  const plots = figures.map(({ title, figure }) => {
    const box = element("figure", "chart");
    const caption = element("figcaption");
    const plot = element("div", "plot");
    plot.setAttribute("role", "img");
    plot.setAttribute("aria-label", `${title} of ${name} over its results`);
    plot.style.minHeight = `${figure.layout.height}px`;
    caption.append(element("h3", "", title));
    box.append(caption, plot);
    return [box, plot, figure];
  });
  byId("figures").replaceChildren(...plots.map(([box]) => box));
  const { react } = await plotly();
  for (const [, plot, figure] of plots) {
    if (turn !== asked) return;
    await react(plot, ...dressed(structuredClone(figure)), { displayModeBar: false, responsive: true });
  }
  if (turn === asked) byId("figures").dataset.drawn = byId("cell").value;
};

// The chosen cell stands in the address, so that a view can be shared.
const fromAddress = () => {
  const found = /^#cell=(\d+)$/.exec(location.hash);
  if (!found || Number(found[1]) >= byId("cell").options.length) return false;
  byId("cell").value = found[1];
  draw();
  byId("charts").scrollIntoView();
  return true;
};
byId("cell").addEventListener("change", () => { history.replaceState(null, "", `#cell=${byId("cell").value}`); draw(); });
addEventListener("hashchange", fromAddress);
document.addEventListener("themechange", () => { if (byId("figures").dataset.drawn !== undefined) draw(); });

const lines = [...document.querySelectorAll("#history-table tbody tr")];
const texts = lines.map((line) => line.textContent.toLowerCase());
byId("q").addEventListener("input", ({ target }) => {
  const words = target.value.toLowerCase().split(/\s+/).filter(Boolean);
  lines.forEach((line, place) => { line.hidden = !words.every((word) => texts[place].includes(word)); });
});
document.querySelector("form.filters").addEventListener("submit", (event) => event.preventDefault());

if (!fromAddress()) {
  const watcher = new IntersectionObserver(([{ isIntersecting }]) => { if (isIntersecting) { watcher.disconnect(); if (!asked) draw(); } }, { rootMargin: "300px" });
  watcher.observe(byId("charts"));
}
