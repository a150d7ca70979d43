"use strict";

const form = document.querySelector("form");
const box = document.getElementById("texto");
const list = document.getElementById("gremios");
const notice = document.getElementById("aviso");

function row(token, most) {
  const item = document.createElement("li");
  const name = document.createElement("span");
  name.textContent = token.token;
  const bar = document.createElement("meter");
  bar.max = most;
  bar.value = token.score;
  const score = document.createElement("span");
  score.textContent = token.score;
  item.append(name, bar, score);
  return item;
}

async function classify() {
  notice.textContent = "";
  list.replaceChildren();
  try {
    const answer = await fetch("/api/v2/modelo", {
      method: "POST",
      headers: { "Content-Type": "text/plain; charset=utf-8" },
      body: box.value,
    });
    const found = await answer.json();
    if (!answer.ok) {
      notice.textContent = found.detail;
      return;
    }
    const { info, tokens } = found.classification;
    list.append(...tokens.map((token) => row(token, info.max_score)));
  } catch {
    notice.textContent = "El servicio no contesta.";
  }
}

async function about() {
  const answer = await fetch("/api/v1/status?format=json");
  const { model } = await answer.json();
  const data = model.lineage.data?.sha256 ?? "desconocidos";
  document.getElementById("modelo").textContent = `Modelo ${model.version} (${model.digest}), datos ${data}`;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  classify();
});

// /?texto=… is an address that can be sent to somebody
const given = new URLSearchParams(location.search).get("texto");
if (given) {
  box.value = given;
  classify();
}
about();
