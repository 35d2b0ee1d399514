// The tables of cells (DataTables, from the itables package), their filter, and the details of one cell.
const parse = (id) => JSON.parse(document.getElementById(id).textContent);
const { make } = evenbench;

// Text goes in as text, never as HTML: names and reasons come from results.
const draw = {
  words: (value) => make("span", "", value),
  measure: ([shown], row, title) => {
    const match = /^(.*?) \((.*)\)$/.exec(shown);
    const wrong = TIMES.includes(title) && struck(row) && shown !== "–";
    const span = make("span", wrong ? "struck" : "", match ? match[1] : shown);
    if (match) span.append(make("small", "", match[2]));
    return span;
  },
  outcome: (value) => make("span", `badge ${/^[a-z]+$/.test(value) ? value : ""}`, value),
  code: (value) => make("code", "", value),
};
const OUTCOMES = ["ok", "mismatch", "fallback", "unsupported", "unavailable", "failed"];
const TIMES = ["Compute", "Host to host"];
const struck = (row) => OUTCOMES.includes(row[3]) && row[3] !== "ok";

const named = {};
named.Model = (value, row) => {
  const box = make("span", "", value);
  box.append(make("small", "", row[2]));
  return box;
};
named.Backend = (value, row) => {
  const box = make("span");
  const [labels, id, index] = row.slice(-3);
  const button = make("button", "link", value);
  button.type = "button";
  button.dataset.cell = index;
  button.setAttribute("aria-haspopup", "dialog");
  button.setAttribute("aria-label", `${value}: details of ${id}`);
  box.append(button, ...labels.map((label) => make("span", "chip", label)));
  return box;
};

const column = ({ title, kind, help }, place) => {
  const cell = (value, type, row) => {
    if (kind === "limits") return type === "display" ? make("span", "", limitText(row)) : type === "sort" ? limitText(row) : "";
    if (type === "display") return kind === "hidden" ? "" : title in named ? named[title](value, row) : draw[kind](value, row, title);
    if (kind === "measure") return type === "filter" ? value[0] : value[1];
    return Array.isArray(value) ? value.join(" ") : value;
  };
  const heading = make("span", "", title);
  if (help) heading.title = help;
  return {
    title: heading.outerHTML, data: place, render: cell, visible: !["hidden", "limits"].includes(kind), type: kind === "measure" ? "measure" : "string",
    className: { measure: "number", code: "code", words: ["Reason", "Remark", "Limits"].includes(title) ? "words" : "" }[kind] ?? "",
    cellType: place === 0 ? "th" : "td",
    createdCell: (td) => { if (place === 0) td.setAttribute("scope", "row"); },
  };
};

// Cells without a number come last, in either order.
const order = (sign) => (a, b) => (a === null) - (b === null) || sign * (a - b);

let loading = null;
const load = () => (loading ??= (async () => {
  const url = URL.createObjectURL(new Blob([await evenbench.unpack("datatables-source")], { type: "text/javascript" }));
  const { default: DataTable } = await import(url);
  URL.revokeObjectURL(url);
  DataTable.type("measure", { order: { asc: order(1), desc: order(-1) } });
  DataTable.ext.errMode = "throw";
  return DataTable;
})());

const open = async (grid) => {
  const DataTable = await load();
  const name = `table-${grid.dataset.table}`;
  const { columns, rows } = grid.dataset.table === "matrix" ? parse(name) : JSON.parse(await evenbench.unpack(name));
  if (grid.dataset.table === "matrix") rows.forEach((row) => byIndex.set(row.at(-1), row));
  const table = new DataTable(grid.querySelector("table"), {
    data: rows, columns: columns.map(column), order: [], pageLength: 25, lengthMenu: [25, 50, 100, 500], autoWidth: false, deferRender: true,
    layout: { topStart: null, topEnd: null, bottomStart: "info", bottomEnd: ["pageLength", "paging"] },
    language: { info: "_START_ to _END_ of _TOTAL_ cells", infoFiltered: "(of _MAX_)", infoEmpty: "0 cells", zeroRecords: "No cell matches the filter.", lengthMenu: "_MENU_ per page" },
    createdRow: (row, data) => { if (struck(data)) row.classList.add("unranked"); },
  });
  // The controls of DataTables stay outside of the region that scrolls sideways.
  const foot = grid.querySelector(".dt-container > div:last-child");
  if (foot) { foot.classList.add("table-foot"); grid.append(foot); }
  grid.dataset.ready = "";
  return table;
};

const filters = document.querySelector("form.filters");
const FIELDS = { outcome: "Outcome", model: "Model", backend: "Backend", precision: "Precision" };
// Limits of a deployment: a row stays if every limited value is known and within the limit.
const limits = [...filters.querySelectorAll("[data-unit]")];
// Exceeded limits of a row as text, as in `evenbench recommend`.
const broken = (known) => {
  const words = limits.flatMap((input, place) => {
    const value = known[place], limit = Number(input.value) * Number(input.dataset.unit);
    if (input.value === "" || (value !== null && value <= limit)) return [];
    const name = input.labels[0].textContent.split(" at most")[0];
    if (value === null) return [`${name} not known`];
    return [`${name} over the limit${limit > 0 ? ` by ${Number((100 * (value - limit) / limit).toPrecision(2))} %` : ""}`];
  });
  return filters.elements.front.value && !known[4] ? [...words, "not on the Pareto front"] : words;
};
const byIndex = new Map();
const limitsOf = (row) => row[parseColumns().indexOf("Limits")];
const limitText = (row) => {
  const words = broken(limitsOf(row));
  if (words.length) return words.join("; ");
  const tied = limitsOf(row)[5].map((index) => byIndex.get(index)).filter((other) => !broken(limitsOf(other)).length);
  return tied.length ? `not told apart from ${tied.map((other) => other[1]).join(", ")}` : "";
};
const filter = (table) => {
  const values = Object.fromEntries(new FormData(filters));
  table.search(values.q);
  for (const [name, title] of Object.entries(FIELDS)) {
    const place = parseColumns().indexOf(title);
    const wanted = values[name];
    table.column(place).search.fixed(name, wanted ? (_, row) => row[place] === wanted : () => true);
  }
  const column = table.column(parseColumns().indexOf("Limits"));
  const asked = Boolean(values.front) || limits.some(({ value }) => value !== "");
  column.search.fixed("limits", (_, row) => (asked && values.others) || !broken(limitsOf(row)).length);
  if (asked || column.visible()) table.rows().invalidate();  // the text of the column depends on the limits
  column.visible(asked, false);
  table.draw();
};
let titles = null;
const parseColumns = () => (titles ??= parse("table-matrix").columns.map(({ title }) => title));

// The filter stands in the address, so that a view can be shared.
const toAddress = () => {
  const set = new URLSearchParams([...new FormData(filters)].filter(([, value]) => value)).toString();
  history.replaceState(null, "", set ? `#${set}` : "#cells");
};
const fromAddress = () => {
  const hash = location.hash.slice(1);
  if (!hash.includes("=")) return false;
  filters.reset();
  for (const [name, value] of new URLSearchParams(hash)) if (filters.elements[name]) filters.elements[name].value = value;
  return true;
};

const list = (facts) => {
  const dl = make("dl", "facts");
  for (const [label, value] of facts) {
    const pair = make("div");
    pair.append(make("dt", "", label), make("dd", "", value));
    dl.append(pair);
  }
  return dl;
};
const show = async (index) => {
  const { id, sections: numbers, warnings, reproduce, traceback } = await evenbench.line("cell-lines", index);
  const sections = await Promise.all(numbers.map((number) => evenbench.line("section-lines", number)));
  const body = document.getElementById("details-body");
  body.replaceChildren();
  document.getElementById("details-title").textContent = id;
  if (warnings.length) { const notes = make("ul", "notes"); notes.append(...warnings.map((words) => make("li", "", words))); body.append(notes); }
  for (const [title, facts] of sections) body.append(make("h3", "", title), list(facts));
  if (reproduce) body.append(make("h3", "", "Reproduce"), make("pre", "", reproduce));
  if (traceback) body.append(make("h3", "", "Traceback"), make("pre", "", traceback));
  const dialog = document.getElementById("details");
  dialog.showModal();
  dialog.scrollTop = 0;
};

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-cell]");
  if (opener) show(Number(opener.dataset.cell));
  if (event.target.id === "details" || event.target.id === "details-close") document.getElementById("details").close();
});

const started = new Map();
const start = (grid) => { if (!started.has(grid)) started.set(grid, open(grid)); return started.get(grid); };
const grids = [...document.querySelectorAll(".grid")];
const watcher = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) if (isIntersecting) { watcher.unobserve(target); start(target); }
}, { rootMargin: "600px" });

// Lazily drawn charts move a section after a jump; scroll back until the reader acts.
let sought = null;
for (const kind of ["pointerdown", "keydown", "wheel", "touchmove"]) addEventListener(kind, () => { sought = null; }, { passive: true });
document.addEventListener("click", (event) => {
  const link = event.target.closest("nav a[href^='#']");
  sought = link && document.querySelector(link.getAttribute("href"));
});
new ResizeObserver(() => sought?.scrollIntoView()).observe(document.body);

const matrix = await start(grids.find((grid) => grid.dataset.table === "matrix"));
evenbench.tablesReady();
filters.addEventListener("input", () => { filter(matrix); toAddress(); });
filters.addEventListener("reset", () => setTimeout(() => { filter(matrix); toAddress(); }));
addEventListener("hashchange", () => {
  if (fromAddress()) { filter(matrix); document.getElementById("cells").scrollIntoView(); }
});
if (fromAddress()) { filter(matrix); document.getElementById("cells").scrollIntoView(); }
grids.forEach((grid) => watcher.observe(grid));
