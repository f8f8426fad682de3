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
  if (section && !section.open) {
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

jQuery("#fitted").DataTable({
  paging: false,
  autoWidth: false,
  order: [],
  layout: { topStart: "search", topEnd: "info", bottomStart: null, bottomEnd: null },
  columnDefs: [{ targets: "number", type: "num" }],
});
