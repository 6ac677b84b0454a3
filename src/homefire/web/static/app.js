// The chat page: keys, the composer, scrolling. Works without a mouse.
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
  // On a phone the keyboard would cover the page before anything was read.
  if (matchMedia("(hover: hover)").matches) message.focus();
  message.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      if (message.value.trim()) message.form.requestSubmit();
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

// One question at a time: a second one would be answered without the first answer.
document.body.addEventListener("htmx:beforeRequest", (event) => {
  if (event.detail.elt.id !== "composer" || !log.querySelector(".streaming")) return;
  event.preventDefault();
  notify("The answer is still being written.", "Wait until it ends, or stop it. What you wrote is still here.");
});

document.body.addEventListener("htmx:sseClose", dismiss);

// The question is cleared only when the server took it.
document.body.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.elt.id !== "composer" || !event.detail.successful) return;
  document.querySelector(".welcome")?.remove();
  document.querySelectorAll("[hx-post$='/regenerate']").forEach((button) => button.remove());
  message.value = "";
  message.focus();
  scrollToEnd();
});

// Whoever closes a correction's form is where they opened it; whoever sent it is at what they said (autofocus).
let opener = "";
document.body.addEventListener("htmx:beforeRequest", (event) => {
  const { elt, target } = event.detail;
  if (elt.id && elt.tagName === "BUTTON" && target?.classList.contains("taught")) opener = elt.id;
});
document.body.addEventListener("htmx:afterSwap", (event) => {
  const place = event.detail.target ?? event.target;
  if (!place.classList.contains("taught") || place.querySelector("form, [autofocus]")) return;
  document.getElementById(opener)?.focus();
});

document.body.addEventListener("htmx:sseMessage", () => {
  if (isNearEnd()) scrollToEnd();
  keepFocus();
});

// A button in an answer goes with the answer that another one replaces: whoever pressed it is at the new one.
let wasInAnswer = false;
document.addEventListener("focusin", (event) => { wasInAnswer = Boolean(event.target.closest("article.assistant")); });
document.addEventListener("pointerdown", (event) => {
  if (!event.target.closest("article.assistant")) wasInAnswer = false;
});
function keepFocus() {
  if (!wasInAnswer || document.activeElement !== document.body) return;
  (log.querySelector(".streaming .stop") ?? [...log.querySelectorAll("[hx-post$='/regenerate']")].at(-1) ?? log).focus();
}
document.body.addEventListener("htmx:afterSettle", keepFocus);

// A conversation that a first question opened gets its address, so that reloading finds it again.
document.body.addEventListener("htmx:oobAfterSwap", () => {
  const session = document.getElementById("session-id")?.value;
  if (session && message && location.pathname === "/") history.replaceState(null, "", "/chat/" + session);
});

scrollToEnd();
