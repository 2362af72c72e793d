//! The web page in headless Chromium: real clicks and keys, real files, errors, and how it looks. Screenshots are
//! written to `target/web`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod browser;
#[path = "../common/mod.rs"]
mod common;
#[path = "../http_support/mod.rs"]
mod http_support;

use std::{path::PathBuf, sync::Arc};

use fantoccini::key::Key;
use hailo_clip::http::ApiKey;
use serde_json::json;

use self::{
    browser::{Browser, DESKTOP, Look},
    common::{Daemon, models, skip::skipped},
    http_support::{Service, classify_body, patiently},
};

/// One browser at a time: they are heavy.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const PHONE: Look = Look { width: 360, height: 780, dark: false };

fn sample(name: &str) -> PathBuf {
    models().join("demo/samples").join(name)
}

/// What keeps people from using the page, as axe-core sees it, where `make` has fetched that; and what can be
/// told without it.
async fn is_accessible(browser: &Browser) {
    let nameless = browser
        .run(
            "return [...document.querySelectorAll('input, textarea, select, button, summary, [role=region]')]
                .filter((e) => e.checkVisibility() && !(e.labels?.length || e.getAttribute('aria-label')
                    || e.getAttribute('aria-labelledby') || e.textContent.trim()))
                .map((e) => e.outerHTML)",
        )
        .await;
    assert_eq!(nameless, json!([]), "have no name");
    let wide = browser.run("return document.documentElement.scrollWidth - innerWidth").await;
    assert!(wide.as_i64().unwrap() <= 0, "the page is {wide} pixels wider than the screen");
    let Some(axe) = std::env::var_os("HAILO_CLIP_AXE") else {
        return skipped("axe-core's look at the page", "test-web");
    };
    let axe = std::fs::read_to_string(axe).expect("`make test-web` fetches axe-core");
    browser.client.execute(&axe, Vec::new()).await.unwrap();
    let violations = browser
        .run(
            "const { violations } = await axe.run();
             return violations.map((v) => [v.id, v.help, ...v.nodes.map((n) => n.html + ' ' + n.failureSummary)]);",
        )
        .await;
    assert_eq!(violations, json!([]), "axe-core finds faults");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_classifies_a_picture_and_edits_prompts() {
    let _turn = TURN.lock().await;
    let daemon = Daemon::start();
    let browser = Browser::open(DESKTOP, &daemon.http).await;
    browser.shows("#state-text", "ready").await;
    browser.shows("#model", "demo").await;
    browser.shows("#device", "CPU").await;
    browser.shows("#queue", "0 of 64").await;
    browser.screenshot("empty-light").await;
    let shift = "new PerformanceObserver((l) => { for (const e of l.getEntries()) globalThis.shift = \
                 (globalThis.shift ?? 0) + (e.hadRecentInput ? 0 : e.value); }).observe({ type: 'layout-shift', buffered: true })";
    browser.run(shift).await;

    browser.choose(&sample("red-circle.png")).await;
    browser.shows("#verdict", "a red circle").await;
    browser.shows(".row.best .cosine", "cosine 0.").await;
    browser.shows("#picture-note", "red-circle.png").await;
    let shift = browser.run("return globalThis.shift ?? 0").await;
    assert!(shift.as_f64().unwrap() < 0.1, "the layout shifts by {shift}");
    assert_eq!(browser.text(".row.best .score").await, browser.text("#rows .row:first-child .score").await);
    browser.screenshot("result-light").await;
    is_accessible(&browser).await;

    // Another prompt, which says the same.
    browser.click("#add").await;
    browser.find("#rows .row:last-child input").await.send_keys("a red disc").await.unwrap();
    browser.shows("#warnings", "Near-duplicates").await;
    browser.shows("#warnings", "mean almost the same").await;
    browser.screenshot("warning-light").await;
    is_accessible(&browser).await;
    browser.click("#rows .row:last-child .remove").await;
    browser.shows("#verdict", "a red circle").await;
    browser
        .run("while (document.querySelector('#warnings li')) await new Promise(requestAnimationFrame)")
        .await;

    // Templates, and a threshold that hides everything.
    browser.click("#options summary").await;
    browser.find("#templates").await.send_keys("a photo of {}").await.unwrap();
    browser.shows("#effects", "a photo of {}").await;
    browser.shows("#effects", "none").await;
    browser.screenshot("templates-light").await;
    browser.run("document.querySelectorAll('.row .remove')[2].click(); document.querySelectorAll('.row .remove')[0].click()").await;
    let threshold = browser.find("#threshold").await;
    threshold.clear().await.unwrap();
    threshold.send_keys("90").await.unwrap();
    browser.shows("#warnings", "Everything is hidden").await;
    browser.shows("#verdict", "No prompt scores above").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_to_copy_work() {
    let _turn = TURN.lock().await;
    let daemon = Daemon::start();
    let browser = Browser::open(DESKTOP, &daemon.http).await;
    // A name and a prompt with everything that a shell could stumble over.
    let picture = std::fs::read(sample("red-circle.png")).unwrap();
    let file = browser.file("it's $HOME; \"red\", #1.png", &picture);
    browser.choose(&file).await;
    browser.click("#add").await;
    browser.find("#rows .row:last-child input").await.send_keys("@it's \\ \"$(id)\" [1]").await.unwrap();
    browser.shows("#curl", "[1]").await;
    browser.shows("#verdict", "a red circle").await;
    for command in ["curl", "gdbus"] {
        let text = browser.run(&format!("return document.getElementById('{command}').textContent")).await;
        let text = text
            .as_str()
            .unwrap()
            .replace("call --system", &format!("call --address {}", daemon.bus.address));
        let output = std::process::Command::new("sh")
            .args(["-c", &text])
            .current_dir(file.parent().unwrap())
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}\n{output:?}");
        assert!(
            out.contains("a red circle") && out.contains("$(id)") && out.contains("near_duplicates"),
            "{text}\n{out}"
        );
    }
    browser.click(".copy[data-copy=curl]").await;
    browser.shows("#copied", "opied").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_told_in_a_sentence() {
    let _turn = TURN.lock().await;
    let daemon = Daemon::with_config("");
    let browser = Browser::open(DESKTOP, &daemon.http).await;
    browser.shows("#state-text", "ready").await;
    browser.choose(&browser.file("letter.png", b"this is no picture")).await;
    browser.shows("#error-text", "not a picture that can be read").await;
    browser.screenshot("error-light").await;
    is_accessible(&browser).await;
    // And the next one is none the worse.
    browser.click("#drawing").await;
    browser.shows("#verdict", "a red circle").await;
    assert!(!browser.find("#error").await.is_displayed().await.unwrap());
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_picture_is_scaled_down_and_a_small_one_left_alone() {
    let _turn = TURN.lock().await;
    let daemon =
        Daemon::with_config("server: {host: 127.0.0.1, port: 0, max_body_mb: 1, max_image_megapixels: 1}\n");
    let browser = Browser::open(DESKTOP, &daemon.http).await;
    browser.shows("#state-text", "ready").await;
    let mut png = std::io::Cursor::new(Vec::new());
    let picture = image::RgbImage::from_fn(1600, 1200, |x, y| {
        let inside = x.abs_diff(800).pow(2) + y.abs_diff(600).pow(2) < 160_000;
        image::Rgb(if inside { [216, 30, 30] } else { [255, 255, 255] })
    });
    picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
    browser.choose(&browser.file("large.png", png.get_ref())).await;
    browser.shows("#verdict", "a red circle").await;
    browser.shows("#picture-note", "sent as 1154 × 866").await;
    browser.choose(&sample("red-circle.png")).await;
    browser.shows("#picture-note", "red-circle.png").await;
    assert!(!browser.text("#picture-note").await.contains("sent as"));
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_told_and_the_picture_asked_about_again() {
    let _turn = TURN.lock().await;
    let service = Arc::new(Service::ready_with(|settings, _| settings.performance.max_queue_size = 1).await);
    let browser = Browser::open(DESKTOP, service.address).await;
    browser.shows("#queue", "0 of 1").await;
    service.encoder.hold();
    let slow = tokio::spawn({
        let service = Arc::clone(&service);
        async move { service.post_json("/v1/classify", classify_body(&["red", "blue"])).await.status }
    });
    service.encoder.images_reach(1).await;
    browser.click("#drawing").await;
    browser.shows("#error-text", "its queue is full").await;
    browser.shows("#error-text", "Trying again in 1 s").await;
    browser.shows("#queue", "1 of 1").await;
    browser.screenshot("queue-full-light").await;
    is_accessible(&browser).await;
    service.encoder.release();
    assert_eq!(patiently(slow).await.unwrap(), 200);
    browser.shows("#verdict", "%").await;
    assert!(!browser.find("#error").await.is_displayed().await.unwrap());
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_model_loads_the_picture_waits_for_it() {
    let _turn = TURN.lock().await;
    let service = Service::not_loaded(|_, _| {}).await;
    let browser = Browser::open(DESKTOP, service.address).await;
    browser.shows("#state-text", "loading").await;
    browser.shows("#model", "not loaded").await;
    browser.click("#drawing").await;
    browser.shows("#error-text", "The model is being loaded").await;
    browser.screenshot("loading-light").await;
    service.engine.load().await.unwrap();
    browser.shows("#verdict", "%").await;
    browser.shows("#state-text", "ready").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_asked_for_and_not_kept() {
    let _turn = TURN.lock().await;
    let service = Service::ready_with(|_, options| options.api_keys = vec![ApiKey::new("open sesame")]).await;
    let browser = Browser::open(DESKTOP, service.address).await;
    browser.click("#drawing").await;
    browser.shows("#error-text", "asks for an API key").await;
    is_accessible(&browser).await;
    let key = browser.find("#key").await;
    key.send_keys("wrong").await.unwrap();
    browser.click("#key-form button").await;
    browser.shows("#error-text", "does not know this API key").await;
    key.clear().await.unwrap();
    key.send_keys("open sesame").await.unwrap();
    browser.click("#key-form button").await;
    browser.shows("#verdict", "%").await;
    browser.shows("#curl", "Bearer $KEY").await;
    assert!(!browser.client.source().await.unwrap().contains("sesame"));
    let stored = browser.run("return [localStorage.length, sessionStorage.length, document.cookie]").await;
    assert_eq!(stored, json!([0, 0, ""]));
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_model_is_taken_with_a_key_that_manages() {
    let _turn = TURN.lock().await;
    let keys = ApiKey::parse_file("plain\nmanage admin\n");
    let service = Service::ready_with(|_, options| options.api_keys = keys).await;
    let browser = Browser::open(DESKTOP, service.address).await;
    browser.shows("#model", "demo").await;
    // The list of installed models, whatever this service has.
    browser
        .run(
            "const real = fetch; globalThis.fetch = (path, options) => path === '/v1/models'
                ? Promise.resolve(Response.json({ data: [{ id: 'demo' }, { id: 'other' }] })) : real(path, options);",
        )
        .await;
    browser.click("#drawing").await;
    browser.shows("#error-text", "asks for an API key").await;
    let key = browser.find("#key").await;
    key.send_keys("plain").await.unwrap();
    browser.click("#key-form button").await;
    browser.click("#models option[value=other]").await;
    browser.click("#switch button").await;
    browser.shows("#switch-note", "Only an API key that manages").await;
    is_accessible(&browser).await;
    browser.screenshot("models-light").await;
    assert_eq!(service.engine.status().borrow().model, "demo");
    key.clear().await.unwrap();
    key.send_keys("admin").await.unwrap();
    browser.click("#key-form button").await;
    // What was chosen before stays chosen.
    browser.click("#switch button").await;
    browser.shows("#switch-note", "other is in service").await;
    browser.shows("#model", "other").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_camera_takes_a_picture() {
    let _turn = TURN.lock().await;
    let daemon = Daemon::start();
    let browser = Browser::open(DESKTOP, &daemon.http).await;
    browser.click("#camera").await;
    browser
        .run("while (!document.querySelector('#video').videoWidth) await new Promise(requestAnimationFrame)")
        .await;
    browser.click("#shoot").await;
    browser.shows("#picture-note", "camera.jpg").await;
    browser.shows("#verdict", "%").await;
    assert!(!browser.find("#video").await.is_displayed().await.unwrap());
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_dropped_or_pasted() {
    let _turn = TURN.lock().await;
    let daemon = Daemon::start();
    let browser = Browser::open(DESKTOP, &daemon.http).await;
    for (event, property) in [("DragEvent", "dataTransfer"), ("ClipboardEvent", "clipboardData")] {
        let kind = if event == "DragEvent" { "drop" } else { "paste" };
        browser
            .run(&format!(
                "const canvas = Object.assign(document.createElement('canvas'), {{ width: 64, height: 64 }});
                 canvas.getContext('2d').fillRect(0, 0, 64, 64);
                 const blob = await new Promise((done) => canvas.toBlob(done));
                 const data = new DataTransfer();
                 data.items.add(new File([blob], '{kind}.png', {{ type: 'image/png' }}));
                 document.body.dispatchEvent(new {event}('{kind}', {{ {property}: data, bubbles: true, cancelable: true }}));"
            ))
            .await;
        browser.shows("#picture-note", &format!("{kind}.png")).await;
        browser.shows("#verdict", "%").await;
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_with_the_keyboard_alone() {
    let _turn = TURN.lock().await;
    let daemon = Daemon::start();
    let browser = Browser::open(DESKTOP, &daemon.http).await;
    browser.shows("#state-text", "ready").await;
    let press = async |keys: &str| browser.press(keys).await;
    let tab: String = char::from(Key::Tab).into();
    let enter: String = char::from(Key::Enter).into();
    let focused = async || {
        browser.run("const e = document.activeElement; return e.id || e.getAttribute('aria-label') || e.textContent").await
    };
    let mut order = Vec::new();
    press(&tab).await;
    loop {
        let at = focused().await.as_str().unwrap().to_owned();
        let outline = browser.run("const e = document.activeElement; return getComputedStyle(e.id === 'file' ? document.getElementById('drop') : e).outlineStyle").await;
        assert_eq!(outline, "solid", "{at} does not show that it has the focus");
        order.push(at.clone());
        if at == "drawing" {
            break;
        }
        press(&tab).await;
    }
    assert_eq!(order, ["file", "choose", "camera", "drawing"]);
    press(&enter).await;
    browser.shows("#verdict", "a red circle").await;
    press(&tab).await;
    assert_eq!(focused().await, "Prompt 1");
    press(&enter).await;
    assert_eq!(focused().await, "Prompt 2");
    press("a yellow star").await;
    browser.shows("#rows .row:nth-child(2) .cosine", "cosine").await;
    press(&tab).await;
    assert_eq!(focused().await, "Remove prompt 2: a yellow star");
    press(&enter).await;
    assert_eq!(focused().await, "Prompt 2", "the focus is not lost with the row");
    assert_eq!(browser.run("return document.querySelectorAll('.row').length").await, 3);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_looks_right_from_phone_to_desktop_by_day_and_night() {
    let _turn = TURN.lock().await;
    let daemon = Daemon::start();
    for (name, look) in [
        ("phone-light", PHONE),
        ("phone-dark", Look { dark: true, ..PHONE }),
        ("tablet-light", Look { width: 768, ..DESKTOP }),
        ("desktop-dark", Look { dark: true, ..DESKTOP }),
        ("wide-light", Look { width: 1600, ..DESKTOP }),
    ] {
        let browser = Browser::open(look, &daemon.http).await;
        let dark = browser.run("return matchMedia('(prefers-color-scheme: dark)').matches").await;
        assert_eq!(dark, look.dark, "{name}");
        assert_eq!(browser.run("return innerWidth").await, look.width, "{name}");
        browser.shows("#state-text", "ready").await;
        browser.choose(&sample("house-red-roof.jpg")).await;
        browser.run("const set = (i, t) => { const e = document.querySelectorAll('.row input')[i]; e.value = t; e.dispatchEvent(new Event('input')); };
            set(0, 'a house with a red roof'); set(1, 'a house with a blue roof'); set(2, 'a snowy mountain');").await;
        browser.shows("#verdict", "a house").await;
        browser.shows(".row.best .score", "%").await;
        browser.run("while (!document.querySelector('#spark-line').getAttribute('d')) await new Promise(requestAnimationFrame)").await;
        browser.screenshot(name).await;
        is_accessible(&browser).await;
        browser.close().await;
    }
}

/// Over the network without TLS, a page may not use the camera; a phone's own camera program takes the picture.
#[tokio::test(flavor = "multi_thread")]
async fn a_phone_takes_a_picture_and_a_finger_hits_everything() {
    let _turn = TURN.lock().await;
    let daemon = Daemon::start();
    let port = daemon.http.rsplit_once(':').unwrap().1;
    let browser = Browser::open(PHONE, format!("pi.local:{port}")).await;
    browser.shows("#state-text", "ready").await;
    let kind = browser.run("return [isSecureContext, matchMedia('(pointer: coarse)').matches]").await;
    assert_eq!(kind, json!([false, true]), "a phone's browser, and a page from elsewhere");
    let shown = browser
        .run("return ['camera', 'capture'].map((id) => document.getElementById(id).checkVisibility())")
        .await;
    assert_eq!(shown, json!([false, true]));
    let input = browser
        .run("const { type, accept, multiple } = document.getElementById('capture-file');
              return [type, accept, multiple, document.getElementById('capture-file').getAttribute('capture')]")
        .await;
    assert_eq!(input, json!(["file", "image/*", false, "environment"]));

    // As the camera's program hands it over.
    let picture = sample("red-circle.png");
    browser.find("#capture-file").await.send_keys(picture.to_str().unwrap()).await.unwrap();
    browser.shows("#verdict", "a red circle").await;
    let small = browser
        .run(
            "for (const id of ['switch', 'key-form', 'error']) document.getElementById(id).hidden = false;
             document.getElementById('options').open = true;
             const targets = 'a, button, select, textarea, summary, .button, input:not(.unseen)';
             return [...document.querySelectorAll(targets)].filter((e) => e.checkVisibility()).flatMap((e) => {
                 const { width, height } = e.getBoundingClientRect();
                 return Math.min(width, height) < 44 ? [[e.id || e.className || e.tagName, width, height]] : [];
             })",
        )
        .await;
    assert_eq!(small, json!([]), "are smaller than a finger");
    browser.screenshot("phone-fingers").await;
    is_accessible(&browser).await;
    browser.close().await;
}
