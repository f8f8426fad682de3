// The overview is sorted and searched by DataTables, plots are drawn by Plotly when their section is opened.
const { template, config } = JSON.parse(document.getElementById("plotting").textContent);

function unpack(element) {
  const bytes = Uint8Array.from(atob(element.textContent), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
}

let loading;
async function load() {
  const script = document.createElement("script");
  script.textContent = await unpack(document.getElementById("plotly"));
  document.head.append(script);
}

async function draw(section) {
  const source = section.querySelector("script.figures");
  if (!section.open || !source) return;
  source.classList.remove("figures");
  loading ??= load();
  const [figures] = await Promise.all([unpack(source), loading]);
  if (!section.open) return source.classList.add("figures");
  JSON.parse(figures).forEach(({ data, layout }, place) => {
    const target = document.getElementById(`${source.id}-${place + 1}`);
    Plotly.newPlot(target, data, { ...layout, template }, config);
  });
}

function openTarget() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const section = target && target.closest("details");
  if (section && (section.hidden || !section.open)) {
    section.hidden = false;
    section.open = true;
    target.scrollIntoView();
  }
}

if (globalThis.DecompressionStream) {
  for (const section of document.querySelectorAll("details.section")) {
    section.addEventListener("toggle", () => draw(section));
    draw(section);
  }
} else {
  document.body.classList.add("plain");
}
addEventListener("hashchange", openTarget);
openTarget();

const table = jQuery("#fitted").DataTable({
  paging: false,
  autoWidth: false,
  order: [],
  layout: { topStart: "search", topEnd: "info", bottomStart: null, bottomEnd: null },
  columnDefs: [{ targets: "number", type: "num" }, { targets: "unsorted", orderable: false }],
  language: { info: "_TOTAL_ shown", infoFiltered: "of _MAX_", infoEmpty: "none shown", search: "Search" },
});

// What is chosen in the overview holds for the sections of the fits, too.
function follow() {
  const shown = new Set(table.rows({ search: "applied" }).nodes().toArray().map((row) => row.dataset.section));
  const sections = [...document.querySelectorAll("details.section")];
  for (const section of sections) section.hidden = !shown.has(section.querySelector(".fit").id);
  const note = document.getElementById("left-out");
  note.hidden = shown.size === sections.length;
  note.textContent = `${shown.size} of ${sections.length} fits: those chosen in the overview.`;
}

const filters = document.querySelector(".filters");
if (filters) {
  const choices = [...filters.querySelectorAll("select")];
  filters.hidden = false;
  table.search.fixed("chosen", (_text, _data, index) => {
    const { dataset } = table.row(index).node();
    return choices.every(({ name, value }) =>
      !value || (name === "warnings" ? dataset.warnings.split(" ").includes(value) : dataset[name] === value));
  });
  filters.addEventListener("change", () => table.draw());
  table.on("draw", follow);
  // A browser may keep what was chosen when the page is loaded again.
  table.draw();
}

// Texts beside the page's own are JSON.
function textOf(element) {
  return element.matches("script") ? JSON.parse(element.textContent) : element.textContent;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = document.createElement("textarea");
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
}

for (const button of document.querySelectorAll("button.copy")) {
  const title = button.textContent;
  button.addEventListener("click", async () => {
    await copy(textOf(document.getElementById(button.dataset.of)));
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = title; }, 2000);
  });
}
