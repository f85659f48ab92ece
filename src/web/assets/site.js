// The site's own script. Every page works without it; with it there are copy buttons, numbers that refresh
// themselves, and a menu that closes. It makes no markup from text, and asks this gateway only (through htmx).
(() => {
  "use strict";

  const REFRESH_MS = 5000;
  // A page that nobody looks at must not keep a session alive.
  const AWAY_MS = 10 * 60 * 1000;

  const said = document.getElementById("said");
  const say = (words) => {
    if (said) said.textContent = words;
  };

  // ---- copy buttons: there only where a clipboard is
  const setUpCopy = (button) => {
    const label = button.textContent;
    button.hidden = false;
    button.addEventListener("click", async () => {
      const source = document.getElementById(button.dataset.copy);
      if (!source) return;
      try {
        await navigator.clipboard.writeText(source.textContent);
        button.textContent = "Copied";
        say("Copied to the clipboard");
      } catch {
        getSelection().selectAllChildren(source);
        button.textContent = "Selected";
        say("Could not copy; the text is selected");
      }
      setTimeout(() => {
        button.textContent = label;
      }, 2000);
    });
  };
  if (navigator.clipboard) document.querySelectorAll("button[data-copy]").forEach(setUpCopy);

  // ---- the visitor's menu closes as menus do
  const menu = document.querySelector("details.who");
  if (menu) {
    document.addEventListener("click", (event) => {
      if (!menu.contains(event.target)) menu.open = false;
    });
    menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !menu.open) return;
      menu.open = false;
      menu.querySelector("summary").focus();
    });
  }

  // ---- live numbers
  const form = document.querySelector("form[data-live]");
  const pause = document.getElementById("pause");
  const count = document.getElementById("count");
  if (!form || !pause || !window.htmx) return;

  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  let paused = still;
  let lastTouch = Date.now();

  const show = (why) => {
    pause.textContent = paused ? "Resume" : "Pause";
    pause.dataset.state = paused ? "paused" : "live";
    const state = document.getElementById("live-state");
    if (state) state.textContent = paused ? why || "Paused" : "Live, every 5 s";
  };
  const stop = (why) => {
    if (paused) return;
    paused = true;
    show(why);
    say(why);
  };
  const reading = () => {
    const selection = getSelection();
    const tree = document.getElementById("tree");
    return Boolean(tree && selection && !selection.isCollapsed && tree.contains(selection.anchorNode));
  };

  for (const kind of ["pointermove", "keydown", "scroll", "touchstart"]) {
    addEventListener(kind, () => (lastTouch = Date.now()), { passive: true });
  }
  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    show();
    say(paused ? "Refreshing is paused" : "Refreshing every 5 seconds");
    if (!paused) htmx.trigger(form, "refresh");
  });
  setInterval(() => {
    if (paused || document.hidden || reading()) return;
    if (Date.now() - lastTouch > AWAY_MS) return stop("Paused while you were away");
    htmx.trigger(form, "refresh");
  }, REFRESH_MS);
  // An empty filter is none, in the address too.
  form.addEventListener("htmx:configRequest", (event) => {
    const { parameters } = event.detail;
    if (!parameters.filter) delete parameters.filter;
  });
  form.addEventListener("htmx:responseError", () => stop("Paused: could not refresh; load the page again"));
  form.addEventListener("htmx:sendError", () => stop("Paused: could not refresh; load the page again"));
  // The number of rows is told again only when it is another one.
  document.addEventListener("htmx:afterSettle", () => {
    const words = document.getElementById("tree")?.dataset.count;
    if (count && words !== undefined && count.textContent !== words) count.textContent = words;
  });
  show(still ? "Paused, as reduced motion is asked for" : undefined);
})();
