"use strict";
// Comfort only: the page is whole without it. Sorting, copying, and the section that is in view.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const key = (row, column) => {
    const cell = row.cells[column];
    const number = parseFloat(cell.dataset.v);
    return Number.isNaN(number) ? cell.textContent.trim() : number;
  };
  const compare = (a, b) => {
    if (typeof a === typeof b) return typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true });
    return typeof a === "number" ? -1 : 1;
  };
  table.querySelectorAll("thead th").forEach((head, column) => {
    if (!head.textContent) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.title = "Sort by this column";
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") === "descending" || (!head.ariaSort && !head.classList.contains("n"));
      table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...body.rows].map((row) => [key(row, column), row]);
      rows.sort((a, b) => (up ? 1 : -1) * compare(a[0], b[0]));
      body.append(...rows.map((pair) => pair[1]));
    });
  });
}
for (const box of document.querySelectorAll(".code")) {
  if (!navigator.clipboard) break;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(box.querySelector("code").textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  box.append(button);
}
const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
const mark = () => {
  const passed = [...document.querySelectorAll("main > section")].filter((s) => s.getBoundingClientRect().top < 140);
  const atEnd = window.innerHeight + window.scrollY >= document.body.scrollHeight - 2;
  const sections = [...document.querySelectorAll("main > section")];
  const now = atEnd && window.scrollY > 0 ? sections.at(-1) : passed.at(-1) ?? sections[0];
  links.forEach((a) => a.removeAttribute("aria-current"));
  if (now && links.get(now.id)) links.get(now.id).setAttribute("aria-current", "true");
};
if (links.size) {
  addEventListener("scroll", mark, { passive: true });
  mark();
}
