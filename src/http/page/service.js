// The service beside the picture: its state, its models, and the key that it asks for. Nothing is kept beyond
// the tab.

export const $ = (id) => document.getElementById(id);

const POLL_MS = 2000;
const POLL_FAILED_MS = 8000;
const POLL_LIMIT_MS = 5000;
const POINTS = 60;
const FEWEST_POINTS = 12;

export const service = {
  key: "",
  limits: { body: 16 << 20, pixels: 64e6 },
  waiting: false, // for a model that is being loaded
};

const times = [];
const tell = { model() {}, key() {} };
let pollTimer = 0;
let loadedModel = null;
let modelsAsked = false;
// The models that are listed, and the one in service.
let listed = "";

// Asks about the service from now on, and tells of another model in service and of another key.
export function follow(listener) {
  Object.assign(tell, listener);
  poll();
}

export function authorization() { return service.key ? { Authorization: `Bearer ${service.key}` } : {}; }

export function sentence(text) { return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : "."); }

async function poll() {
  let next = POLL_MS;
  const begun = performance.now();
  try {
    const response = await fetch("/health", { headers: authorization(), signal: AbortSignal.timeout(POLL_LIMIT_MS), cache: "no-store" });
    const health = await response.json();
    if (!document.hidden) showHealth(health, performance.now() - begun);
  } catch {
    next = POLL_FAILED_MS;
    showState("unreachable", "not reachable");
    $("service-note").textContent = "The service does not answer. This page goes on trying.";
  }
  if (!document.hidden) pollTimer = setTimeout(poll, next);
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(pollTimer);
  if (!document.hidden) poll();
});

function showState(state, text) {
  if ($("state-text").textContent === text && $("state").dataset.state === state) return;
  $("state").dataset.state = state;
  $("state-text").textContent = text;
}

function showHealth(health, milliseconds) {
  const degraded = health.status === "healthy" && health.runtime_mode === "degraded";
  const state = degraded ? "degraded" : health.status;
  if (state === "starting") service.waiting = true;
  showState(state, { healthy: "ready", starting: "loading", unhealthy: "failed" }[state] ?? state);
  $("model").textContent = health.model_loaded ? `${health.model}, ${health.precision}` : `${health.model} (not loaded)`;
  $("device").textContent = health.device_name ?? "–";
  const temperature = health.device?.temperature_c;
  $("temperature").textContent = temperature == null ? "no sensor" : `${temperature.toFixed(0)} °C${health.device.throttled ? ", throttled" : ""}`;
  $("queue").textContent = `${health.queue_depth} of ${health.max_queue_size}`;
  $("queue-bar").style.width = `${Math.min(1, health.queue_depth / health.max_queue_size) * 100}%`;
  $("service-note").textContent = health.error ? sentence(health.error) : "";
  service.limits = { body: health.max_body_bytes, pixels: health.max_image_pixels };
  times.push(milliseconds);
  if (times.length > POINTS) times.shift();
  $("latency").textContent = `${milliseconds < 10 ? milliseconds.toFixed(1) : milliseconds.toFixed(0)} ms`;
  drawSparkline();
  if (health.model_loaded && (service.waiting || health.model !== loadedModel)) {
    const news = service.waiting || loadedModel !== null;
    loadedModel = health.model;
    service.waiting = false;
    if (news) tell.model();
    askForModels();
  } else if (!modelsAsked) askForModels();
}

function drawSparkline() {
  const most = Math.max(...times, 5) * 1.15;
  // A few points are drawn wide, many as close as they must be.
  const room = Math.max(times.length, FEWEST_POINTS);
  const step = 120 / (room - 1);
  const start = room - times.length;
  const points = times.map((time, index) => `${((start + index) * step).toFixed(1)},${(31 - (time / most) * 29).toFixed(1)}`);
  if (points.length < 2) return;
  $("spark-line").setAttribute("d", `M${points.join("L")}`);
  $("spark-area").setAttribute("d", `M${(start * step).toFixed(1)},32L${points.join("L")}L120,32Z`);
}

export function askForKey(focus = true) {
  const first = $("key-form").hidden;
  $("key-form").hidden = false;
  if (first && focus) $("key").focus();
}

$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  service.key = $("key").value.trim();
  askForModels();
  tell.key();
});

// The list of models, where the service has one.
async function askForModels() {
  modelsAsked = true;
  const response = await fetch("/v1/models", { headers: authorization() }).catch(() => null);
  if (response?.status === 401) return askForKey(false);
  const list = response?.ok ? await response.json().catch(() => null) : null;
  const names = (list?.data ?? []).map((model) => model.id).filter((name) => typeof name === "string");
  $("switch").hidden = names.length < 2;
  // A list that says nothing new leaves the choice that somebody is making alone.
  const news = JSON.stringify([names, loadedModel]);
  if (news === listed) return;
  listed = news;
  $("models").replaceChildren(...names.map((name) => new Option(name, name, false, name === loadedModel)));
}

$("switch").addEventListener("submit", async (event) => {
  event.preventDefault();
  const model = $("models").value;
  $("switch-note").textContent = `Loading ${model}; the old model answers until it is there.`;
  const response = await fetch("/v1/models/use", {
    method: "POST", headers: { ...authorization(), "Content-Type": "application/json" }, body: JSON.stringify({ model }),
  }).catch(() => null);
  const answer = await response?.json().catch(() => ({}));
  if (response?.ok) {
    $("switch-note").textContent = `${model} is in service.`;
    clearTimeout(pollTimer);
    poll();
  } else {
    if ([401, 403].includes(response?.status)) askForKey();
    $("switch-note").textContent = answer?.error ? sentence(answer.error) : "The service cannot be reached.";
  }
});
