// What all pages need beside htmx: readable errors, announcements, the focus, copying code.
"use strict";

const notices = document.getElementById("notices");
const announcer = document.getElementById("announcer");

// Text only: whatever a server or a proxy answers with, it never becomes part of the page.
function notify(message, hint, link) {
  if (notices.dataset.shown === message) return;
  const lines = [message, hint].filter(Boolean).map((text) => {
    const line = document.createElement("p");
    line.textContent = text;
    return line;
  });
  if (link) {
    const anchor = document.createElement("a");
    [anchor.textContent, anchor.href] = link;
    lines[lines.length - 1].append(" ", anchor);
  }
  notices.replaceChildren(...lines);
  notices.dataset.shown = message;
}

function dismiss() {
  notices.replaceChildren();
  delete notices.dataset.shown;
}

function announce(text) {
  if (announcer.textContent !== text) announcer.textContent = text;
}

// An error of the server as [what happened, what to do].
function explain(request) {
  let said = {};
  try {
    said = JSON.parse(request.responseText).error ?? {};
  } catch {
    // A proxy's page, or nothing: the status has to do.
  }
  if (typeof said === "string") said = { message: said };
  return [
    said.message || `The server answered with an error (${request.status}).`,
    said.hint || (request.status >= 500 ? "Try again. If it keeps happening, the server's log says more." : ""),
  ];
}

document.body.addEventListener("htmx:responseError", (event) => {
  const request = event.detail.xhr;
  if (request.status === 401) {
    const next = encodeURIComponent(location.pathname + location.search);
    notify("You are signed out.", "What you wrote is still here.", ["Sign in", `/login?next=${next}`]);
  } else {
    notify(...explain(request));
  }
});

document.body.addEventListener("htmx:sendError", () => {
  notify("The server does not answer.", "Is it still running? What you wrote is still here.");
});

// An answer means that the last problem is over.
document.body.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.xhr?.status < 400 && notices.dataset.shown) dismiss();
});

document.body.addEventListener("htmx:afterSwap", (event) => {
  const place = event.detail.target ?? event.target;
  place.querySelector("[autofocus]")?.focus();
  const news = place.querySelector("[data-announce]");
  if (news) announce(news.dataset.announce);
});

document.addEventListener("click", async (event) => {
  if (event.target.closest("[data-dismiss]")) dismiss();
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const isCopied = await copy(button.closest(".code").querySelector("code"));
  button.textContent = isCopied ? "Copied" : "Press Ctrl + C";
  announce(button.textContent);
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
});

// Without HTTPS (another machine in the house) browsers have no clipboard for scripts: then the text is selected.
async function copy(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(code);
    return document.execCommand("copy");
  }
}
