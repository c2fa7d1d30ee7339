// Keeps a page up to date: when the server says that something changed, the page fetches its own
// URL, and the elements marked data-live are changed to what was fetched. Without this script a
// page is as it was when it was loaded, and everything on it works.
(() => {
  "use strict";

  const from = document.body.dataset.liveFrom;
  const status = document.querySelector("[data-live-status]");
  let source = null, tag = null, fetching = false, again = false, lastHeard = Date.now();

  function say(name) {
    if (!status) return;
    const text = status.dataset[name + "Text"] || "";
    if (status.textContent !== text) status.textContent = text;
    status.dataset.state = name;
  }

  // Whoever selects, types or ticks in what would change, reads that.
  function still() {
    const selection = document.getSelection();
    const inside = (node) => node instanceof Node &&
      (node.nodeType === 1 ? node : node.parentElement)?.closest("[data-live]");
    if (selection && !selection.isCollapsed && inside(selection.anchorNode)) return true;
    const active = document.activeElement;
    if (active && /^(INPUT|TEXTAREA|SELECT)$/.test(active.tagName) && inside(active)) return true;
    return !!document.querySelector("dialog[open], [data-live] input:checked:not([data-kept])");
  }

  async function refresh() {
    if (fetching) { again = true; return; }
    if (still()) { again = true; say("still"); return; }
    fetching = true;
    again = false;
    try {
      const headers = { "X-Kefu-Live": "1" };
      if (tag) headers["If-None-Match"] = tag;
      const answer = await fetch(location.href, { headers, cache: "no-store" });
      if (answer.redirected || answer.status === 401) { location.reload(); return; }
      if (answer.status === 200 && !still()) {
        tag = answer.headers.get("ETag");
        change(new DOMParser().parseFromString(await answer.text(), "text/html"));
      } else if (answer.status >= 500) {
        say("lost");
        return;
      }
      say("live");
    } catch {
      say("lost");
    } finally {
      fetching = false;
    }
    if (again) setTimeout(refresh, 500);
  }

  function change(fresh) {
    document.title = fresh.title;
    for (const now of document.querySelectorAll("[data-live][id]")) {
      const then = fresh.getElementById(now.id);
      if (!then) continue;
      // What is chosen in it stays: focus, what is open, how far it is scrolled.
      Idiomorph.morph(now, then, {
        morphStyle: "outerHTML", ignoreActiveValue: true, restoreFocus: true,
        callbacks: {
          beforeAttributeUpdated: (name, node) => !(name === "open" && node.tagName === "DETAILS"),
        },
      });
    }
    document.dispatchEvent(new CustomEvent("kefu:changed"));
  }

  function listen() {
    if (source || document.hidden) return;
    source = new EventSource(from);
    source.addEventListener("open", () => { lastHeard = Date.now(); say("live"); refresh(); });
    source.addEventListener("change", () => { lastHeard = Date.now(); refresh(); });
    source.addEventListener("sign", () => { lastHeard = Date.now(); if (again) refresh(); });
    source.addEventListener("error", () => {
      say("lost");
      if (source && source.readyState === EventSource.CLOSED) { rest(); setTimeout(listen, 5000); }
    });
  }

  function rest() {
    if (source) source.close();
    source = null;
  }

  if (from && window.EventSource && window.Idiomorph) {
    document.addEventListener("visibilitychange", () => document.hidden ? rest() : listen());
    for (const event of ["selectionchange", "focusout"]) {
      document.addEventListener(event, () => { if (again && !still()) setTimeout(refresh, 200); });
    }
    setInterval(() => { if (source && Date.now() - lastHeard > 25000) say("lost"); }, 5000);
    window.addEventListener("pagehide", rest);
    listen();
  }

  // Copies; navigator.clipboard is missing over plain HTTP.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const text = button.dataset.copy;
    if (navigator.clipboard && window.isSecureContext) {
      await navigator.clipboard.writeText(text);
    } else {
      const area = document.createElement("textarea");
      area.value = text;
      button.after(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    const before = button.textContent;
    button.textContent = button.dataset.copied;
    setTimeout(() => { button.textContent = before; }, 1200);
  });

  // Keys: "/" searches, "?" explains, "g" and a letter goes to a page.
  let going = false;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) || event.target.isContentEditable) return;
    const sheet = document.getElementById("keys");
    if (going) {
      going = false;
      const link = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); location.href = link.href; }
    } else if (event.key === "g") {
      going = true;
      setTimeout(() => { going = false; }, 1500);
    } else if (event.key === "/") {
      const box = document.querySelector("input[type=search]");
      if (box) { event.preventDefault(); box.focus(); }
    } else if (event.key === "?" && sheet) {
      event.preventDefault();
      if (sheet.open) sheet.close(); else sheet.showModal();
    }
  });
})();
