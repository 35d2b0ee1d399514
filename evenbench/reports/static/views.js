// Views of the page and their addresses: filter, column set, cell and comparison; needs tables.js.
let shownCell = "", shownGroup = "";
const toAddress = () => {
  const view = [...new FormData(filters)].filter(([, value]) => value);
  if (sets.length && shownSet() !== sets[0].dataset.set) view.push(["columns", shownSet()]);
  if (shownGroup) view.push(["group", shownGroup]);
  if (shownCell) view.push(["cell", shownCell]);
  const set = new URLSearchParams(view).toString();
  history.replaceState(null, "", set ? `#${set}` : location.pathname);
};
evenbench.compared = (title) => { shownGroup = title; toAddress(); };
document.getElementById("details").addEventListener("close", () => { shownCell = ""; toAddress(); });

const indexOf = (id) => {
  const place = parseColumns().indexOf("Cell");
  return [...byIndex].find(([, row]) => row[place] === id || row[place].startsWith(`${id} `))?.[0];
};
// Shows the view of the address; true if it is about the table.
const fromAddress = (table) => {
  const hash = location.hash.slice(1);
  if (!hash.includes("=")) return;
  const view = new URLSearchParams(hash);
  filters.reset();
  for (const [name, value] of view) if (filters.elements[name]) filters.elements[name].value = value;
  showSet(table, view.get("columns") ?? sets[0]?.dataset.set);
  filter(table);
  const group = view.get("group"), cell = view.get("cell");
  const tabled = [...view.keys()].some((name) => name === "columns" || filters.elements[name]);
  if (group) document.dispatchEvent(new CustomEvent("compare", { detail: group }));
  if (cell && indexOf(cell) !== undefined) show(indexOf(cell));
  else if (tabled) document.getElementById("cells").scrollIntoView();
};

// Rows that pass the filter, with every column but those of the page itself.
const quoted = (value) => (/[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
const plainText = (value) => (Array.isArray(value) ? String(value[0] ?? "") : String(value ?? ""));
const saved = {
  csv: (titles, rows) => [titles, ...rows].map((line) => line.map(quoted).join(",")).join("\r\n"),
  jsonl: (titles, rows) => rows.map((row) => `${JSON.stringify(Object.fromEntries(titles.map((title, place) => [title, row[place]])))}\n`).join(""),
};
const save = (table, form) => {
  const places = columns.map(({ kind, title }, place) => [kind, title, place]).filter(([kind, title]) => kind !== "limits" && !["Index", "Labels"].includes(title));
  const rows = table.rows({ search: "applied" }).data().toArray();
  const text = saved[form](places.map(([, title]) => title), rows.map((row) => places.map(([, , place]) => plainText(row[place]))));
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([text], { type: form === "csv" ? "text/csv" : "application/jsonl" }));
  link.download = `cells.${form}`;
  link.click();
  URL.revokeObjectURL(link.href);
};

// Lazily drawn parts move a section after a jump; scroll back until the reader acts.
let sought = null;
for (const kind of ["pointerdown", "keydown", "wheel", "touchmove"]) addEventListener(kind, () => { sought = null; }, { passive: true });
document.addEventListener("click", (event) => {
  const link = event.target.closest("nav a[href^='#']");
  sought = link && document.querySelector(link.getAttribute("href"));
});
new ResizeObserver(() => sought?.scrollIntoView()).observe(document.body);

// The section in view is the current one of the navigation.
const links = new Map([...document.querySelectorAll("nav a[href^='#']")].map((link) => [link.getAttribute("href").slice(1), link]));
const inView = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    for (const [name, link] of links) link.toggleAttribute("aria-current", name === target.id);
    if (links.get(target.id)) links.get(target.id).setAttribute("aria-current", "true");
  }
}, { rootMargin: "-30% 0px -65% 0px" });
document.querySelectorAll("main > section[id]").forEach((section) => inView.observe(section));

const matrix = await open(document.querySelector("[data-table=matrix]"));
evenbench.tablesReady();
filters.addEventListener("input", () => { filter(matrix); toAddress(); });
filters.addEventListener("reset", () => setTimeout(() => { filter(matrix); toAddress(); }));
for (const button of sets) button.addEventListener("click", () => { showSet(matrix, button.dataset.set); toAddress(); });
for (const button of document.querySelectorAll("[data-save]")) button.addEventListener("click", () => save(matrix, button.dataset.save));

// Paper has no pages to turn and nothing to unfold.
let before = null;
addEventListener("beforeprint", () => {
  const folds = [...document.querySelectorAll("details:not([open])")];
  before = { length: matrix.page.len(), folds };
  for (const fold of folds) fold.open = true;
  matrix.page.len(-1).draw(false);
});
addEventListener("afterprint", () => {
  for (const fold of before.folds) fold.open = false;
  matrix.page.len(before.length).draw(false);
});

// Keys: a slash goes to the search, a question mark to the list of keys.
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog")) return;
  const place = { "/": document.getElementById("q"), "?": document.getElementById("keys") }[event.key];
  if (!place) return;
  event.preventDefault();
  place.scrollIntoView({ block: "center" });
  place.focus();
});
addEventListener("hashchange", () => fromAddress(matrix));
fromAddress(matrix);
