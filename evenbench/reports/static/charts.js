// The comparison of one group, with the distribution of its laps.
const { make: element } = evenbench;
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
  line.children[3].classList.add("speedup");
  [...line.children].forEach((cell, place) => {
    cell.dataset.label = document.querySelector(`#ranking thead th:nth-child(${place + 1})`).textContent;
    if (cell.textContent === "–") cell.classList.add("nothing");
  });
  return line;
};
// Boxes of laps: places are percent of the axis, so that they follow the width of the page.
const placed = (className, left, right) => {
  const mark = element("span", className);
  mark.style.left = `${left}%`;
  if (right !== undefined) mark.style.width = `${Math.max(0, right - left)}%`;
  return mark;
};
const drawnLaps = ({ unit, ticks, rows }) => {
  const chart = element("div", "laps");
  for (const { name, boxes } of rows) {
    const lanes = element("div", "lanes");
    for (const { at: [low, first, middle, third, high], title } of boxes) {
      const lane = element("div", "lane");
      lane.title = title;
      lane.append(placed("whisker", low, high), placed("box", first, third), placed("middle", middle));
      lanes.append(lane);
    }
    lanes.prepend(...ticks.map(([left]) => placed("rule", left)));
    chart.append(element("div", "lane-name", name), lanes);
  }
  const axis = element("div", "lane-axis");
  axis.append(...ticks.map(([left, text]) => { const tick = placed("tick", left); tick.textContent = text; return tick; }));
  chart.append(element("div", "lane-name"), axis, element("div", "lane-name"), element("div", "lane-unit", unit));
  return chart;
};

// The baseline of the ranking: torch-eager, or any other correct runtime of the group.
const baselines = document.getElementById("baseline");
let compared = null;
const offered = ({ over, baseline }) => {
  const names = Object.keys(over);
  baselines.closest("p").hidden = !names.length;
  baselines.replaceChildren(...names.map((name) => element("option", "", name)));
  if (names.includes(baseline)) baselines.value = baseline;
};
const rebase = () => {
  const chosen = compared.over[baselines.value];
  if (!chosen) return;
  chosen.forEach(([value, interval, tone], place) => {
    const cell = document.querySelector(`#ranking tbody tr:nth-child(${place + 1}) .speedup`);
    cell.replaceChildren(element("span", `tone ${tone}`, value), ...(interval ? [element("small", "", interval)] : []));
  });
};
baselines.addEventListener("change", rebase);

const picker = document.getElementById("group");
const compare = async (index, chosen = true) => {
  picker.value = String(index);
  if (chosen) evenbench.compared?.(picker.selectedOptions[0].textContent);
  const group = await evenbench.line("group-lines", index);
  if (picker.value !== String(index)) return;
  document.getElementById("compare-words").textContent = `${group.title}: ${group.words}`;
  document.querySelector("#ranking tbody").replaceChildren(...group.rows.map((row, position) => ranked(row, group.first + position)));
  compared = group;
  offered(group);
  const figure = document.getElementById("laps-chart");
  figure.hidden = !group.laps;
  figure.querySelector(".plot").replaceChildren(...(group.laps ? [drawnLaps(group.laps)] : []));
};
picker.addEventListener("change", () => compare(Number(picker.value)));
document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-group]");
  if (link) compare(Number(link.dataset.group));
});

document.addEventListener("compare", ({ detail }) => {
  const option = [...picker.options].find(({ textContent }) => textContent === detail);
  if (!option) return;
  compare(Number(option.value));
  document.getElementById("compare").scrollIntoView();
});
await evenbench.tables;
if (!location.hash.includes("group=")) compare(0, false);
