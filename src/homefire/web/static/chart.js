// The loss curve of a run: what was measured so far, then each new step as it comes.
"use strict";

addEventListener("DOMContentLoaded", async () => {
  const place = document.getElementById("loss");
  const summary = document.getElementById("loss-summary");
  const steps = [];
  const losses = [];
  const ink = getComputedStyle(document.body).color;
  const axis = { stroke: ink, grid: { stroke: "#8884", width: 1 }, ticks: { stroke: "#8884" } };
  const options = {
    width: place.clientWidth || 720,
    height: 240,
    scales: { x: { time: false } },
    axes: [{ ...axis, label: "step", incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] }, { ...axis, label: "loss", size: 64 }],
    series: [{ label: "step" }, { label: "loss", stroke: getComputedStyle(document.querySelector("a.brand")).getPropertyValue("--accent") || "#d9480f", width: 2 }],
    legend: { show: true },
  };
  const chart = new uPlot(options, [steps, losses], place);
  addEventListener("resize", () => chart.setSize({ width: place.clientWidth, height: 240 }));

  function add(points) {
    for (const [step, loss] of points) {
      if (steps.length && step <= steps[steps.length - 1]) continue;
      steps.push(step);
      losses.push(loss);
    }
    chart.setData([steps, losses]);
    if (steps.length) {
      summary.textContent = `The loss on each step, lower is better: ${losses[0].toFixed(3)} at step ${steps[0]}, ` +
        `${losses[losses.length - 1].toFixed(3)} at step ${steps[steps.length - 1]}.`;
    }
  }

  const answer = await fetch(`/web/runs/${place.dataset.run}/losses`);
  if (answer.ok) add(await answer.json());
  document.body.addEventListener("losses", (event) => add(event.detail.value));
  const source = new EventSource(`/web/runs/${place.dataset.run}/progress`);
  source.addEventListener("losses", (event) => add(JSON.parse(event.data)));
  source.addEventListener("closed", () => source.close());
});
