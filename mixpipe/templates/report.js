// The overview is sorted and searched by DataTables, plots are drawn by Plotly when their section is opened.
const read = (element) => JSON.parse(element.textContent);
const { template, config } = read(document.getElementById("plotting"));

function draw(section) {
  const source = section.querySelector("script.figures");
  if (!section.open || !source) return;
  source.classList.remove("figures");
  read(source).forEach(({ data, layout }, place) => {
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

for (const section of document.querySelectorAll("details.section")) {
  section.addEventListener("toggle", () => draw(section));
  draw(section);
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
