// Mistakes: pictures with question, right answer and given answer; by way and by kind.
const state = { way: "", kind: "" };
const percent = (part, of) => (of ? `${((100 * part) / of).toFixed(1)} %` : "–");
main.append(make("p", {}, `${record.data}. First seed; at most 60 mistakes of each way, drawn at random.`));
main.append(table([["way", "text"], ["wrong"], ["asked"], ["share"]], Object.entries(record.ways).map(([way, one]) => row(name(way), whole(one.wrong), whole(one.asked), percent(one.wrong, one.asked))), { caption: "Wrong answers" }));
const head = make("div", { class: "controls still" }), count = make("p", { role: "status", "aria-live": "polite" }), body = make("div");
main.append(head, count, body);
const style = make("style", {}, ".cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(15rem,1fr));gap:1rem}.card img{width:9rem;height:9rem;image-rendering:pixelated;display:block}.card p{margin:.2rem 0}");
document.head.append(style);

function card(one) {
  const seen = one.seen.join(", ");
  const image = make("img", { src: record.pictures[one.picture], alt: `picture with ${seen}`, width: "144", height: "144" });
  return make("section", { class: "card" }, image, make("p", {}, make("strong", {}, one.question)), make("p", {}, `answer: ${one.answer || "(nothing)"} · right: ${one.right}`), make("p", { class: "muted" }, `there: ${seen}`), one.named ? make("p", { class: "muted" }, `named: ${one.named.join(", ")}`) : null, make("p", { class: "muted" }, `${one.way} · ${one.kind}`));
}

function draw() {
  keptChoice(head, "way", "way", [["", "all"], ...Object.keys(record.ways).map((way) => [way, way])], state.way, (value) => { state.way = value; draw(); });
  keptChoice(head, "kind", "questions", [["", "all"], ...record.kinds.map((kind) => [kind, kind])], state.kind, (value) => { state.kind = value; draw(); });
  const shown = record.mistakes.filter((one) => (!state.way || one.way === state.way) && (!state.kind || one.kind === state.kind));
  count.textContent = plural(shown.length, "mistake", "mistakes");
  body.replaceChildren(make("div", { class: "cards" }, ...shown.map(card)));
}
draw();
