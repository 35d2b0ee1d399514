// Shared by the scripts: the text of a packed element, and the theme.
const evenbench = {};
evenbench.tables = new Promise((ready) => { evenbench.tablesReady = ready; });
evenbench.make = (tag, className = "", text = "") => {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
};
const unpacked = new Map();
evenbench.unpack = (id) => {
  if (!unpacked.has(id)) unpacked.set(id, inflate(document.getElementById(id).textContent));
  return unpacked.get(id);
};
const inflate = (base64) => {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
};
// One JSON value per line: only opened lines are parsed.
const split = new Map();
evenbench.line = async (id, index) => {
  if (!split.has(id)) split.set(id, (await evenbench.unpack(id)).split("\n"));
  return JSON.parse(split.get(id)[index]);
};

// The theme is set before the first paint: the last choice of the reader, otherwise the preference of the system.
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  try { chosen = localStorage.getItem("evenbench-theme"); } catch { /* storage may be forbidden for a local file */ }
  const apply = () => {
    const dark = chosen ? chosen === "dark" : system.matches;
    root.dataset.theme = dark ? "dark" : "light";
    const button = document.getElementById("theme");
    if (button) button.textContent = dark ? "Light theme" : "Dark theme";
    document.dispatchEvent(new CustomEvent("themechange"));
  };
  apply();
  system.addEventListener("change", apply);
  document.addEventListener("DOMContentLoaded", () => {
    apply();
    document.getElementById("theme").addEventListener("click", () => {
      chosen = root.dataset.theme === "dark" ? "light" : "dark";
      try { localStorage.setItem("evenbench-theme", chosen); } catch { /* the choice then lasts as long as the page */ }
      apply();
    });
  });
})();
