// The comparison of one group, with its charts; needs figures.js.
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

for (const name of ["overview", "tuning", "limit"]) stand(name);
compare(0);
