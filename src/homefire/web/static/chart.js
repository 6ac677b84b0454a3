// The loss curve of a run: what was measured so far, then each new step from the page's one event stream.
"use strict";

addEventListener("DOMContentLoaded", () => {
  const place = document.getElementById("loss");
  const summary = document.getElementById("loss-summary");
  const steps = [];
  const losses = [];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let chart;

  function draw() {
    const style = getComputedStyle(document.documentElement);
    const line = { stroke: style.getPropertyValue("--line"), width: 1 };
    const axis = { stroke: style.getPropertyValue("--quiet"), grid: line, ticks: line };
    chart?.destroy();
    chart = new uPlot({
      width: place.clientWidth,
      height: 240,
      scales: { x: { time: false } },
      axes: [{ ...axis, label: "step", incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] }, { ...axis, label: "loss", size: 56 }],
      series: [{ label: "step" }, { label: "loss", stroke: style.getPropertyValue("--accent"), width: 2, points: { show: false } }],
      legend: { show: false },
    }, [steps, losses], place);
  }

  function add(points) {
    for (const [step, loss] of points) {
      if (steps.length && step <= steps[steps.length - 1]) continue;
      steps.push(step);
      losses.push(loss);
    }
    place.hidden = !steps.length;
    if (!steps.length) {
      summary.textContent = "No step was trained yet.";
      return;
    }
    if (chart) chart.setData([steps, losses]);
    else draw();
    summary.textContent = `The loss of each step; lower is better: ${losses[0].toFixed(3)} at step ${steps[0]}, ` +
      `${losses[losses.length - 1].toFixed(3)} at step ${steps[steps.length - 1]}.`;
  }

  add(JSON.parse(place.dataset.losses));
  addEventListener("resize", () => chart?.setSize({ width: place.clientWidth, height: 240 }));
  dark.addEventListener("change", () => chart && draw());
  document.body.addEventListener("htmx:sseBeforeMessage", (event) => {
    if (!event.target.matches("[data-losses-stream]")) return;
    event.preventDefault();
    add(JSON.parse(event.detail.data));
  });
});
