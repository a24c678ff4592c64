// Keeps the page up to date.  The server makes all HTML: this script fetches the same
// pages again and swaps the parts that changed, so without it every link and form works.
"use strict";

(() => {
  const PERIOD_MS = 5000;
  const TIMEOUT_MS = 15000;
  const WINDOW_SECONDS = 900;

  const announcement = document.getElementById("announcement");
  const linkState = document.getElementById("link-state");
  const liveFrom = document.body.dataset.liveFrom;
  const due = new Map();
  let isAnswering = true;
  let knownState = "";
  let isBusy = false;

  // A live region is read aloud when it changes, so it changes only if the text does.
  function announce(text) {
    if (announcement.textContent !== text) announcement.textContent = text;
  }

  async function load(address, options = {}) {
    const response = await fetch(address, {
      credentials: "same-origin",
      headers: { Accept: "text/html" },
      signal: AbortSignal.timeout(TIMEOUT_MS),
      ...options,
    });
    const type = response.headers.get("Content-Type") || "";
    const text = await response.text();
    if (!type.startsWith("text/html")) {
      const error = new Error(`${response.status} ${text.slice(0, 200).trim()}`);
      error.status = response.status;
      throw error;
    }
    const page = new DOMParser().parseFromString(text, "text/html");
    // Addresses are relative to the page that they come from.
    for (const name of ["href", "action"]) {
      for (const each of page.querySelectorAll(`main [${name}]`)) {
        const address = each.getAttribute(name);
        if (address.startsWith("#")) continue;
        each.setAttribute(name, new URL(address, response.url).href);
      }
    }
    for (const each of page.querySelectorAll("[data-from]")) {
      each.dataset.from = new URL(each.dataset.from, response.url).href;
    }
    return page;
  }

  // What someone reads or uses stays: selected text, an open detail.
  function isInUse(element) {
    const selection = getSelection();
    const isSelected =
      !selection.isCollapsed && selection.containsNode(element, true);
    return isSelected || element.querySelector("details[open]") !== null;
  }

  function swapLive(page) {
    for (const fresh of page.querySelectorAll("[data-live]")) {
      const old = document.querySelector(`[data-live="${fresh.dataset.live}"]`);
      if (!old || isInUse(old) || old.isEqualNode(fresh)) continue;
      const focused = old.contains(document.activeElement)
        ? document.activeElement.getAttribute("href")
        : null;
      old.replaceWith(fresh);
      if (focused === null) continue;
      const again = [...fresh.querySelectorAll("[href]")].find(
        (each) => each.getAttribute("href") === focused,
      );
      if (again) again.focus({ preventScroll: true });
    }
    readOut();
  }

  function showState() {
    const state = document.querySelector("[data-state]");
    if (!state || state.dataset.state === knownState) return;
    knownState = state.dataset.state;
    announce(knownState);
  }

  function answered() {
    if (!isAnswering) knownState = "";
    isAnswering = true;
    document.body.classList.remove("lost");
    linkState.textContent = `live, ${new Date().toLocaleTimeString()}`;
    showState();
  }

  function failed(error) {
    document.body.classList.add("lost");
    if (isAnswering) {
      const since = new Date().toLocaleTimeString();
      const fault = error.status
        ? `The bridge refuses to answer (status ${error.status})`
        : "The bridge does not answer";
      linkState.textContent = `${fault} since ${since}.`;
      announce(linkState.textContent);
    }
    isAnswering = false;
  }

  function isVisible(element) {
    const box = element.getBoundingClientRect();
    return box.bottom > 0 && box.top < innerHeight;
  }

  async function poll() {
    const isLive = liveFrom || document.querySelector("[data-every]");
    if (document.hidden || isBusy || !isLive) return;
    isBusy = true;
    try {
      if (liveFrom) {
        swapLive(await load(liveFrom));
        answered();
      }
      const now = Date.now();
      for (const part of document.querySelectorAll("[data-every]")) {
        const seconds = Number(part.dataset.every);
        const isDue = (due.get(part.id) || 0) <= now + PERIOD_MS / 2;
        if (!seconds || !isDue || !isVisible(part)) continue;
        due.set(part.id, now + seconds * 1000);
        const from = part.dataset.from;
        const page = await load(from);
        // Another page of it may have been asked for meanwhile.
        if (part.dataset.from === from && part.isConnected) swapLive(page);
      }
      if (!liveFrom) answered();
    } catch (error) {
      failed(error);
    }
    isBusy = false;
  }

  // A link or form of a part: its answer takes the place of the part.
  async function swapPart(name, address, options) {
    const part = document.querySelector(`[data-part="${name}"]`);
    if (!part) return false;
    part.setAttribute("aria-busy", "true");
    try {
      const page = await load(address, options);
      const fresh = page.querySelector(`[data-part="${name}"]`);
      if (!fresh) throw new Error(page.body.textContent.trim());
      const field = document.activeElement && document.activeElement.name;
      part.replaceWith(fresh);
      due.set(fresh.id, Date.now() + Number(fresh.dataset.every || 0) * 1000);
      focusOn(fresh, field);
      announce(`${fresh.querySelector("h2").textContent}: updated.`);
    } catch (error) {
      part.removeAttribute("aria-busy");
      showError(part, error);
    }
    return true;
  }

  function focusOn(part, field) {
    const target = field && part.querySelector(`[name="${CSS.escape(field)}"]`);
    const heading = part.querySelector("h2");
    heading.tabIndex = -1;
    (target || heading).focus({ preventScroll: true });
    const top = part.getBoundingClientRect().top;
    if (top < 0 || top > innerHeight / 2) part.scrollIntoView();
  }

  function showError(part, error) {
    let note = part.querySelector(":scope > .failure");
    if (!note) {
      note = document.createElement("p");
      note.className = "failure bad";
      note.setAttribute("role", "alert");
      part.querySelector("h2").after(note);
    }
    note.textContent = `That did not work: ${error.message || error}`;
  }

  document.addEventListener("submit", (event) => {
    const form = event.target;
    const name = form.dataset.swap;
    if (!name || !document.querySelector(`[data-part="${name}"]`)) return;
    event.preventDefault();
    const fields = new FormData(form);
    if (form.method === "post") {
      const [[field, text]] = fields.entries();
      const headers = { Accept: "text/html", "Content-Type": "text/plain" };
      swapPart(name, form.action, {
        method: "POST",
        headers,
        body: `${field}=${text}\r\n`,
      });
      return;
    }
    const address = new URL(form.action);
    for (const [field, value] of fields) {
      if (value) address.searchParams.set(field, value);
    }
    swapPart(name, address.href);
  });

  document.addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest("a[data-swap]");
    const isPlain =
      !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
    if (!link || !isPlain || event.button !== 0) return;
    if (!document.querySelector(`[data-part="${link.dataset.swap}"]`)) return;
    event.preventDefault();
    swapPart(link.dataset.swap, link.href);
  });

  // The values below the pointer, read from the drawing.
  let pointer = null;

  function units(value, format) {
    if (format === "size") {
      const names = ["B", "KiB", "MiB", "GiB", "TiB"];
      let index = 0;
      while (value >= 1024 && index < names.length - 1) {
        value /= 1024;
        index += 1;
      }
      return `${value.toFixed(index ? 1 : 0)} ${names[index]}`;
    }
    return Number(value.toPrecision(3)).toLocaleString("en");
  }

  function valueAt(line, x, top) {
    let nearest = null;
    for (const { x: at, y } of line.points) {
      if (!nearest || Math.abs(at - x) < Math.abs(nearest.x - x)) {
        nearest = { x: at, y };
      }
    }
    if (!nearest || Math.abs(nearest.x - x) > 10) return null;
    return (1 - nearest.y / 1000) * top;
  }

  function readOut() {
    for (const each of document.querySelectorAll(".readout")) each.textContent = "";
    for (const each of document.querySelectorAll(".cursor")) each.remove();
    if (pointer === null) return;
    for (const chart of document.querySelectorAll(".chart")) {
      const svg = chart.querySelector("svg");
      const cursor = document.createElementNS(svg.namespaceURI, "path");
      cursor.setAttribute("class", "cursor");
      cursor.setAttribute("d", `M${pointer} 0V1000`);
      svg.append(cursor);
      const top = Number(chart.dataset.top);
      const names = [...chart.querySelectorAll(".legend code")];
      const values = new Map();
      for (const line of svg.querySelectorAll(".line")) {
        const index = Number(line.dataset.line);
        const value = valueAt(line, pointer, top);
        if (value !== null) values.set(names[index].textContent, value);
      }
      const shown = [...values].map(
        ([name, value]) => `${name} ${units(value, chart.dataset.format)}`,
      );
      const ago = Math.round((WINDOW_SECONDS - pointer) / 5) * 5;
      const when = ago < 60 ? `${ago} s ago` : `${Math.round(ago / 60)} min ago`;
      chart.querySelector(".readout").textContent = [when, ...shown].join(" · ");
    }
  }

  document.addEventListener("pointermove", (event) => {
    const plot = event.target.closest && event.target.closest(".plot");
    if (!plot && pointer === null) return;
    pointer = null;
    if (plot) {
      const box = plot.getBoundingClientRect();
      pointer = ((event.clientX - box.left) / box.width) * WINDOW_SECONDS;
    }
    readOut();
  });

  document.addEventListener("visibilitychange", poll);
  setInterval(poll, PERIOD_MS);
  poll();
})();
