//! Headless Chromium, driven over WebDriver.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use fantoccini::{
    Client, ClientBuilder, Locator,
    actions::{InputSource, KeyAction, KeyActions},
    elements::Element,
    wd::{Capabilities, WebDriverCompatibleCommand},
};
use hyper::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::{ParseError, Url};

/// Longest wait for anything; only a failure ever takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser of its own, with a profile of its own. Both end with the value.
pub(crate) struct Browser {
    pub(crate) client: Client,
    driver: Child,
    profile: TempDir,
}

/// What the browser pretends to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) dark: bool,
}

pub(crate) const DESKTOP: Look = Look { width: 1280, height: 1000, dark: false };

impl Browser {
    pub(crate) async fn open(look: Look, address: impl std::fmt::Display) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is installed (package chromium-driver)");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines
            .by_ref()
            .map(|line| line.unwrap())
            .find_map(|line| {
                Some(line.split_once("successfully on port ")?.1.trim_end_matches('.').to_owned())
            })
            .expect("chromedriver names its port");
        // Whatever else it says is read, so that it never waits to be heard.
        std::thread::spawn(move || lines.for_each(drop));
        let mut arguments: Vec<String> = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
            "--lang=en",
            // A page that has come over the network, for which a browser allows less than for one of this machine.
            "--host-resolver-rules=MAP pi.local 127.0.0.1",
        ]
        .map(str::to_owned)
        .to_vec();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        arguments.push(format!("--window-size={},{}", look.width, look.height));
        let mut options = json!({ "args": arguments });
        // A window is never narrower than 500 pixels; a phone's screen is.
        options["mobileEmulation"] = if look.width < 500 {
            json!({ "deviceMetrics": { "width": look.width, "height": look.height, "pixelRatio": 2.0 } })
        } else {
            json!({ "deviceMetrics": { "width": look.width, "height": look.height, "pixelRatio": 1.0, "mobile": false, "touch": false } })
        };
        if look.dark {
            options["args"].as_array_mut().unwrap().push("--force-dark-mode".into());
        }
        let capabilities: Capabilities = serde_json::from_value(json!({
            "browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" },
        }))
        .unwrap();
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("chromium is installed (package chromium)");
        let browser = Self { client, driver, profile };
        browser.client.goto(&format!("http://{address}/")).await.unwrap();
        browser
    }

    pub(crate) async fn find(&self, css: &str) -> Element {
        self.client.wait().at_most(PATIENCE).for_element(Locator::Css(css)).await.unwrap()
    }

    pub(crate) async fn click(&self, css: &str) {
        self.find(css).await.click().await.unwrap();
    }

    pub(crate) async fn text(&self, css: &str) -> String {
        self.find(css).await.text().await.unwrap()
    }

    /// Runs JavaScript; promises are waited for.
    pub(crate) async fn run(&self, script: &str) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1]; (async () => {{ {script} }})().then(done, (e) => done('failed: ' + e));"
        );
        self.client.execute_async(&script, Vec::new()).await.unwrap()
    }

    /// Waits until an element's text has this in it.
    pub(crate) async fn shows(&self, css: &str, part: &str) {
        let script = format!(
            "const limit = Date.now() + {}; const it = () => document.querySelector({css:?})?.textContent ?? '';
             while (!it().includes({part:?}) && Date.now() < limit) await new Promise(requestAnimationFrame);
             return it();",
            20_000
        );
        let text = self.run(&script).await;
        assert!(text.as_str().unwrap().contains(part), "{css} shows {text}, not {part:?}");
    }

    /// Presses keys, wherever the focus is.
    pub(crate) async fn press(&self, keys: &str) {
        let actions = keys.chars().fold(KeyActions::new("keyboard".into()), |actions, value| {
            actions.then(KeyAction::Down { value }).then(KeyAction::Up { value })
        });
        self.client.perform_actions(actions).await.unwrap();
    }

    /// Chooses a file as a person does.
    pub(crate) async fn choose(&self, file: &Path) {
        self.find("#file").await.send_keys(file.to_str().unwrap()).await.unwrap();
    }

    /// A file for the person to choose.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.profile.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// The whole page as a picture, once nothing moves any more.
    pub(crate) async fn screenshot(&self, name: &str) {
        self.run("await Promise.all(document.getAnimations().map((a) => a.finished)); scrollTo(0, 0)").await;
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/web");
        std::fs::create_dir_all(&folder).unwrap();
        let command = Chromium {
            path: "goog/cdp/execute",
            body: Some(json!({
                "cmd": "Page.captureScreenshot", "params": { "format": "png", "captureBeyondViewport": true },
            })),
        };
        let answer = self.client.issue_cmd(command).await.unwrap();
        let png = base64::Engine::decode(
            &base64::engine::general_purpose::STANDARD,
            answer["data"].as_str().unwrap(),
        );
        std::fs::write(folder.join(format!("{name}.png")), png.unwrap()).unwrap();
    }

    /// Ends the visit, after a look at what the browser complained of. Answers that a test provoked with an
    /// error status are complaints, too, and expected.
    pub(crate) async fn close(self) {
        let log = Chromium { path: "se/log", body: Some(json!({ "type": "browser" })) };
        let log = self.client.issue_cmd(log).await.unwrap();
        let complaints: Vec<_> = log
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|entry| entry["message"].as_str())
            .filter(|message| !message.contains("Failed to load resource"))
            .collect();
        assert!(complaints.is_empty(), "{complaints:#?}");
        self.client.clone().close().await.unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked, it takes its browser along.
        let pid = self.driver.id().to_string();
        let _ = Command::new("kill").args(["-s", "TERM", &pid]).status();
        let _ = self.driver.wait();
    }
}

/// A command of chromedriver's own.
#[derive(Debug)]
struct Chromium {
    path: &'static str,
    body: Option<Value>,
}

impl WebDriverCompatibleCommand for Chromium {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, self.body.as_ref().map(Value::to_string))
    }
}
