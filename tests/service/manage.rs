//! The service in the hands of an administrator: the command `hailo-clip` and the daemon, with a polkit
//! that says yes or no.

use std::{
    collections::HashMap,
    fs,
    io::Write,
    process::{Command, Output},
};

use serde_json::json;

use crate::{
    common::{Daemon, PATIENCE, models},
    http::{base64, connect, get, post, read_answer, sample},
    polkit::{MANAGE, Polkit, Says},
};

fn hailo_clip(daemon: &Daemon, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hailo-clip"))
        .args(arguments)
        .env("HAILO_CLIP_BUS", &daemon.bus.address)
        .output()
        .unwrap()
}

/// What the command said as it failed, with this exit code.
#[track_caller]
fn failure(output: Output, code: i32) -> String {
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

#[track_caller]
fn success(output: &Output) -> String {
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The sum of the scores for one picture: 1 if they are probabilities.
fn sum_of_scores(daemon: &Daemon) -> f64 {
    let body =
        json!({"image": base64(&sample("red-circle.png")), "prompts": ["a red circle", "a blue star"]});
    let answer = post(daemon, "/v1/classify", &body).json();
    answer["classifications"].as_array().unwrap().iter().map(|c| c["score"].as_f64().unwrap()).sum()
}

/// A folder with the bundled model under several names.
fn several_models(names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        let bundle = folder.path().join(name);
        fs::create_dir(&bundle).unwrap();
        for file in ["image.onnx", "text.onnx", "tokenizer.json"] {
            fs::copy(models().join("demo").join(file), bundle.join(file)).unwrap();
        }
        let manifest = fs::read_to_string(models().join("demo/model.yaml")).unwrap();
        fs::write(bundle.join("model.yaml"), manifest.replace("name: demo", &format!("name: {name}")))
            .unwrap();
    }
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_over_d_bus_is_a_reload() {
    let daemon = Daemon::start();
    let _polkit = Polkit::start(&daemon.bus.address).await;
    assert!((sum_of_scores(&daemon) - 1.0).abs() < 1e-5);
    daemon.configure("clip: {backend: cpu, apply_softmax: false}\n");
    assert_eq!(success(&hailo_clip(&daemon, &["reload"])), "the configuration is in force\n");
    daemon.wait_for("RELOADING=1");
    assert!(daemon.wait_for("READY=1").starts_with("ready: demo"));
    assert!((sum_of_scores(&daemon) - 1.0).abs() > 1e-5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_of_a_bad_file_names_the_line_and_keeps_the_old_configuration() {
    let daemon = Daemon::with_config("clip: {backend: cpu, apply_softmax: false}\n");
    let _polkit = Polkit::start(&daemon.bus.address).await;
    let folder = daemon.directory.path().to_str().unwrap();
    let reload = |more: &str, code| {
        daemon.configure(more);
        let said = failure(hailo_clip(&daemon, &["reload"]), code);
        assert!(!said.contains(folder), "no folders: {said}");
        assert!(daemon.wait_for("READY=1").starts_with("ready: demo"), "the service goes on");
        assert!((sum_of_scores(&daemon) - 1.0).abs() > 1e-5, "as it was");
        said
    };

    let said =
        reload("clip: {backend: cpu}\nlogging:\n  levle: debug\nperformance: {worker_threads: none}\n", 4);
    let expected = "hailo-clip: the old configuration stays in force: hailo-clip.yaml:4:3: ";
    assert!(said.starts_with(expected) && said.contains("logging.level"), "{said}");
    assert!(said.lines().nth(1).unwrap().starts_with("hailo-clip.yaml:5:"), "all that is wrong: {said}");
    assert!(daemon.log().contains(&format!("{folder}/hailo-clip.yaml:4:3: ")), "{}", daemon.log());

    let secret = daemon.directory.path().join("keys");
    let server = format!("server: {{host: 127.0.0.1, port: 0, api_keys_file: {}}}\n", secret.display());
    let said = reload(&server, 4);
    assert!(said.contains("server.api_keys_file cannot be read (entity not found)"), "{said}");
    fs::write(&secret, "").unwrap();
    assert!(reload(&server, 4).contains("server.api_keys_file has no key"));

    let said = reload("clip: {backend: cpu, model: nothing}\n", 4);
    assert!(said.contains("model nothing is not installed; installed: demo"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_taken_into_service_and_released_by_hand() {
    let folder = several_models(&["demo", "second"]);
    let daemon = Daemon::with_models("", folder.path());
    let _polkit = Polkit::start(&daemon.bus.address).await;
    let model = || get(&daemon, "/health").json()["model"].clone();
    let text = || post(&daemon, "/v1/embed/text", &json!({"text": "a red circle"})).json();
    let embedding = text()["embedding"].clone();

    assert_eq!(success(&hailo_clip(&daemon, &["model", "load", "second"])), "second is in service\n");
    assert_eq!((model(), text()["model"].clone()), (json!("second"), json!("second")));
    let said = failure(hailo_clip(&daemon, &["model", "load", "third"]), 4);
    assert_eq!(said, "hailo-clip: model third is not installed; installed: demo, second\n");
    assert_eq!(text()["model"], "second");

    fs::write(folder.path().join("demo/tokenizer.json"), "{}").unwrap();
    let said = failure(hailo_clip(&daemon, &["model", "load", "demo"]), 4);
    assert!(said.starts_with("hailo-clip: the service failed: model demo: tokenizer.json"), "{said}");
    assert!(!said.contains('/'), "no paths: {said}");
    assert_eq!(text()["model"], "second");

    success(&hailo_clip(&daemon, &["model", "unload"]));
    assert_eq!(get(&daemon, "/health/ready").status, 200);
    assert_eq!(text()["embedding"], embedding, "taken again, and from no cache of another model");
    success(&hailo_clip(&daemon, &["warmup"]));
    assert_eq!(model(), "second");
}

/// Over HTTP as over the bus: the change is signalled there, and outlives a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_chosen_over_http_is_told_on_the_bus_and_recorded() {
    let folder = several_models(&["demo", "second"]);
    let keys = folder.path().join("keys");
    fs::write(&keys, "manage admin\n").unwrap();
    let server = format!("server: {{host: 127.0.0.1, port: 0, api_keys_file: {}}}\n", keys.display());
    let daemon = Daemon::with_models(&server, folder.path());
    let connection = zbus::connection::Builder::address(daemon.bus.address.as_str()).build().await.unwrap();
    let rule = zbus::MatchRule::builder()
        .msg_type(zbus::message::Type::Signal)
        .member("PropertiesChanged")
        .arg(0, "org.hailo.Clip1.Manager")
        .build()
        .unwrap();
    let mut signals = zbus::MessageStream::for_match_rule(rule, &connection, None).await.unwrap();

    let body = r#"{"model":"second"}"#;
    let head = format!(
        "POST /v1/models/use HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer admin\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = connect(&daemon);
    stream.write_all((head + body).as_bytes()).unwrap();
    assert_eq!(read_answer(&mut stream).json(), json!({ "model": "second" }));
    let signal = tokio::time::timeout(PATIENCE, futures_util::StreamExt::next(&mut signals)).await.unwrap();
    type Changes = (String, HashMap<String, zbus::OwnedVariant>, Vec<String>);
    let (_, _, invalidated) = signal.unwrap().unwrap().body().deserialize::<Changes>().unwrap();
    assert_eq!(invalidated, ["Models"]);
    let list = success(&hailo_clip(&daemon, &["model", "list", "--json"]));
    let second = list.lines().find(|line| line.contains("second")).unwrap();
    assert!(second.contains("in service"), "{list}");
    let chosen = fs::read_to_string(daemon.directory.path().join("state/chosen-model.json")).unwrap();
    assert_eq!(chosen, r#"{"model":"second","configured":"demo"}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_manage_is_told_so() {
    let daemon = Daemon::start();
    let denied = |reason: &str| {
        format!(
            "hailo-clip: you may not manage the service ({reason}); root and members of the group hailo-clip may\n"
        )
    };
    let reload = || failure(hailo_clip(&daemon, &["reload"]), 3);
    assert_eq!(reload(), denied("polkit is not there to allow org.hailo.clip1.manage"));
    let polkit = Polkit::start(&daemon.bus.address).await;
    polkit.says(MANAGE, Says::No);
    assert_eq!(reload(), denied("polkit does not allow org.hailo.clip1.manage"));
    polkit.says(MANAGE, Says::Dismissed);
    assert_eq!(reload(), denied("the authentication was dismissed"));
    let asked = polkit.questions();
    assert!(asked.len() == 2 && asked.iter().all(|question| question.flags == 1), "{asked:?}");
    assert!((sum_of_scores(&daemon) - 1.0).abs() < 1e-5, "the service goes on");
}
