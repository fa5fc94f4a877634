// What makes the pages handier. Everything can be read and done without it.
"use strict";

document.documentElement.classList.add("scripted");

const each = (selector, act) => document.querySelectorAll(selector).forEach(act);

// The answer that shows a key has an address of its own, so that a reload asks for the key's page and not for another key.
// A page that is left keeps no key behind for the way back.
each("[data-address]", (shown) => {
  history.replaceState(null, "", shown.dataset.address);
  addEventListener("pagehide", () => {
    shown.querySelectorAll("[data-plain]").forEach((plain) => plain.replaceChildren("It was shown once."));
  });
});
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

each("[data-copies]", (button) => {
  const said = document.getElementById(button.getAttribute("aria-describedby"));
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copies);
    try {
      await navigator.clipboard.writeText(source.textContent);
      said.textContent = "Copied.";
    } catch {
      getSelection().selectAllChildren(source);
      said.textContent = "The browser does not let a page copy. The key is selected: press Ctrl+C, or Cmd+C on a Mac.";
    }
  });
});

const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

function inWords(seconds) {
  const parts = [];
  for (const [name, length] of UNITS) {
    const count = Math.floor(seconds / length);
    seconds -= count * length;
    if (count) parts.push(`${count} ${name}${count === 1 ? "" : "s"}`);
  }
  return parts.slice(0, 2).join(" ") || "0 seconds";
}

// Not announced as it runs: a screen reader would never come to an end.
function count() {
  each("[data-countdown]", (shown) => {
    const left = Math.floor((Date.parse(shown.dateTime) - Date.now()) / 1000);
    shown.textContent = left > 0 ? `in ${inWords(left)}` : "now";
  });
}
if (document.querySelector("[data-countdown]")) {
  count();
  setInterval(count, 1000);
}

// Among the rows that are here at once; Enter asks the server, which looks through all of them.
each("[data-filters]", (field) => {
  const rows = [...document.getElementById(field.dataset.filters).querySelectorAll("tbody tr")];
  const said = document.getElementById("found");
  field.addEventListener("input", () => {
    const wanted = field.value.trim().toLocaleLowerCase();
    let found = 0;
    for (const row of rows) {
      row.hidden = !row.dataset.words.toLocaleLowerCase().includes(wanted);
      found += row.hidden ? 0 : 1;
    }
    said.textContent = `${found} of ${rows.length} shown`;
  });
});

// A date that was picked is meant.
each("[data-chooses]", (field) => {
  field.addEventListener("input", () => {
    document.getElementById(field.dataset.chooses).checked = true;
  });
});
