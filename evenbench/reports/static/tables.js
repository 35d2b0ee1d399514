// The tables of cells (DataTables, from the itables package), their filter, and the details of one cell.
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
  code: (value) => { const code = make("code", "", shortened(value)); code.title = value; return code; },
};
const OUTCOMES = ["ok", "mismatch", "fallback", "unsupported", "unavailable", "failed"];
const TIMES = ["Compute", "Host to host", "Per second"];
const struck = (row) => OUTCOMES.includes(row[3]) && row[3] !== "ok";

// A hash is long: 12 digits here, all of them in the details and in the CSV file.
const shortened = (value) => (/^[0-9a-f]{64}$/.test(value) ? value.slice(0, 12) : value);
let oneSetting = false;
const named = {};
named.Model = (value, row) => {
  const box = make("span", "", value);
  if (!oneSetting) box.append(make("small", "", row[2]));
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

const TEXTS = ["Reason", "Remark", "Remark on the answer", "Limits"];
const column = ({ title, kind, help, group }, place) => {
  const cell = (value, type, row) => {
    if (kind === "limits") return type === "display" ? make("span", "", limitText(row)) : type === "sort" ? limitText(row) : "";
    if (type === "display") return kind === "hidden" ? "" : title in named ? named[title](value, row) : draw[kind](value, row, title);
    if (kind === "measure") return type === "filter" ? value[0] : value[1];
    return Array.isArray(value) ? value.join(" ") : value;
  };
  const heading = make("span", "", title);
  if (help) heading.title = help;
  return {
    title: heading.outerHTML, ariaTitle: help ? `${title}: ${help}` : title, data: place, render: cell, type: kind === "measure" ? "measure" : "string",
    visible: !["hidden", "limits"].includes(kind) && (!group || group === shownSet()),
    className: { measure: "number", code: "code", words: TEXTS.includes(title) ? "words" : "" }[kind] ?? "",
    cellType: place === 0 ? "th" : "td",
    createdCell: (td, value) => {
      if (place === 0) td.setAttribute("scope", "row");
      td.dataset.label = title;
      if (value === "–" || value?.[0] === "–" || value === "") td.classList.add("nothing");
    },
  };
};

// The set of columns that is shown: the pressed button.
const sets = [...document.querySelectorAll("[data-set]")];
const shownSet = () => sets.find((button) => button.getAttribute("aria-pressed") === "true")?.dataset.set;

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

let columns = [];
const open = async (grid) => {
  const DataTable = await load();
  const { columns: all, rows } = JSON.parse(await evenbench.unpack("table-matrix"));
  columns = all;
  rows.forEach((row) => byIndex.set(row.at(-1), row));
  oneSetting = new Set(rows.map((row) => row[2])).size < 2;
  const most = matchMedia("(max-width: 46rem)").matches ? 10 : 100;  // a card of a phone is as tall as ten rows
  const table = new DataTable(grid.querySelector("table"), {
    data: rows, columns: columns.map(column), order: [], pageLength: most, lengthMenu: [10, 25, 50, 100, 500], autoWidth: false, deferRender: true,
    layout: { topStart: null, topEnd: null, bottomStart: "info", bottomEnd: rows.length > most ? ["pageLength", "paging"] : null },
    language: { info: "_START_ to _END_ of _TOTAL_ cells", infoFiltered: "(of _MAX_)", infoEmpty: "0 cells", zeroRecords: "No cell matches the filter. Reset shows all.", emptyTable: "No cell was recorded.", lengthMenu: "_MENU_ per page" },
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
  for (const row of document.querySelectorAll("[data-model]")) row.hidden = Boolean(values.model) && row.dataset.model !== values.model;
};
const showSet = (table, name) => {
  if (!sets.some((button) => button.dataset.set === name)) return;
  for (const button of sets) button.setAttribute("aria-pressed", String(button.dataset.set === name));
  columns.forEach(({ group }, place) => { if (group) table.column(place).visible(group === name, false); });
  table.columns.adjust().draw(false);
};
let titles = null;
const parseColumns = () => (titles ??= columns.map(({ title }) => title));

// A command with a button that copies it; the old way of copying works for local files as well.
const copied = (text) => {
  const box = make("div", "copied"), pre = make("pre", "", text), button = make("button", "quiet", "Copy");
  button.type = "button";
  button.addEventListener("click", () => {
    getSelection().selectAllChildren(pre);
    button.textContent = document.execCommand("copy") ? "Copied" : "Press Ctrl+C";
  });
  box.append(pre, button);
  return box;
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
// The runtime's own profile of an inference: a table by operator type, and the trace for Perfetto.
const operators = ({ rows, words, trace }) => {
  const box = make("div", "operators"), table = make("table", "plain"), body = make("tbody"), head = make("tr");
  for (const title of ["Operator", "Calls", "Time", "Share"]) {
    const cell = make("th", title === "Operator" ? "" : "number", title);
    cell.scope = "col";
    head.append(cell);
  }
  for (const [type, ...numbers] of rows) {
    const row = make("tr"), name = make("th", "", type);
    name.scope = "row";
    row.append(name, ...numbers.map((text) => make("td", "number", text)));
    body.append(row);
  }
  const top = make("thead"), link = make("a", "", "Trace file"), note = make("p", "small", " for ui.perfetto.dev: open it there. ");
  top.append(head);
  table.append(top, body);
  link.href = trace;
  link.download = "";
  note.prepend(link);
  note.append(words);
  box.append(table, note);
  return box;
};
const show = async (index) => {
  const { id, sections: numbers, warnings, profile, reproduce, traceback } = await evenbench.line("cell-lines", index);
  const sections = await Promise.all(numbers.map((number) => evenbench.line("section-lines", number)));
  const body = document.getElementById("details-body");
  body.replaceChildren();
  document.getElementById("details-title").textContent = id;
  if (warnings.length) { const notes = make("ul", "notes"); notes.append(...warnings.map((words) => make("li", "", words))); body.append(notes); }
  for (const [title, facts] of sections) body.append(make("h3", "", title), list(facts));
  if (profile) body.append(make("h3", "", "Time by operator"), operators(profile));
  if (reproduce) body.append(make("h3", "", "Reproduce"), copied(reproduce));
  if (traceback) body.append(make("h3", "", "Traceback"), copied(traceback));
  const dialog = document.getElementById("details");
  shownCell = id;
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  toAddress();
};

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-cell]");
  if (opener) show(Number(opener.dataset.cell));
  if (event.target.id === "details" || event.target.id === "details-close") document.getElementById("details").close();
});

