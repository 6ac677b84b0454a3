// What htmx does not do by itself: keys, the composer, scrolling, and errors. Works without a mouse.
"use strict";

const log = document.getElementById("log");
const message = document.getElementById("message");

function scrollToEnd() {
  if (log) log.scrollTop = log.scrollHeight;
}

function isNearEnd() {
  return log && log.scrollHeight - log.scrollTop - log.clientHeight < 120;
}

if (message) {
  message.focus();
  message.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      if (message.value.trim() && !log.querySelector(".streaming")) message.form.requestSubmit();
    }
  });
  document.addEventListener("click", (event) => {
    const idea = event.target.closest("[data-fill]");
    if (!idea) return;
    message.value = idea.dataset.fill;
    message.focus();
  });
}

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const stop = document.querySelector(".streaming .stop");
  if (stop) stop.click();
});

// The question is cleared only when the server took it.
document.body.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.elt.id !== "composer" || !event.detail.successful) return;
  document.querySelector(".welcome")?.remove();
  document.querySelectorAll("[hx-post$='/regenerate']").forEach((button) => button.remove());
  message.value = "";
  message.focus();
  scrollToEnd();
});

document.body.addEventListener("htmx:afterSwap", (event) => {
  event.target.querySelector?.("[autofocus]")?.focus();
});

document.body.addEventListener("htmx:sseMessage", (event) => {
  if (isNearEnd()) scrollToEnd();
  if (event.detail.type === "ended") document.getElementById("notices").textContent = "";
});

// A conversation that a first question opened gets its address, so that reloading finds it again.
document.body.addEventListener("htmx:oobAfterSwap", () => {
  const session = document.getElementById("session-id")?.value;
  if (session && message && location.pathname === "/") history.replaceState(null, "", "/chat/" + session);
});

document.body.addEventListener("htmx:responseError", (event) => {
  document.getElementById("notices").innerHTML = event.detail.xhr.responseText;
});

document.body.addEventListener("htmx:sendError", () => {
  document.getElementById("notices").textContent = "The server does not answer. Is it still running?";
});

scrollToEnd();
