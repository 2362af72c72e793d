//! The interface `org.hailo.Clip1.Manager`, and who may do what: the D-Bus facade beside a polkit that
//! answers as told.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
mod dbus_service;
mod polkit;

use std::{collections::HashMap, fs, time::Duration};

use common::{Bus, PATIENCE};
use dbus_service::{Client, Options, RED, Service, picture, refusal, soon};
use hailo_clip::{
    config::Settings,
    dbus::{Limits, ReloadError},
    engine::{EngineError, State},
};
use polkit::{CLASSIFY, MANAGE, Polkit, Question, Says};
use zbus::{Variant, proxy::MethodFlags};

const INTERACTIVE: MethodFlags = MethodFlags::ALLOW_INTERACTIVE_AUTH;

/// For a polkit that does not answer.
fn impatient() -> Limits {
    Limits {
        authorization_timeout: Duration::from_millis(50),
        interactive_authorization_timeout: Duration::from_millis(100),
        ..Limits::default()
    }
}

/// A loaded service beside a polkit that says yes.
async fn service_and_polkit(change: impl FnOnce(&mut Settings), limits: Limits) -> (Service, Polkit) {
    let bus = Bus::start();
    let polkit = Polkit::start(&bus.address).await;
    let service = Service::unloaded(bus, change, limits).await;
    service.engine.load().await.unwrap();
    (service, polkit)
}

async fn start() -> (Service, Polkit) {
    service_and_polkit(|_| {}, Limits::default()).await
}

async fn load(client: &Client, model: &str) -> zbus::Result<()> {
    client.manage("LoadModel", &(model,), None).await
}

/// Calls each method that needs the right to manage; what it was told.
async fn refusals(client: &Client, flags: MethodFlags) -> Vec<(String, String)> {
    let mut told = vec![refusal(client.manage("LoadModel", &("missing",), flags).await)];
    for method in ["Warmup", "Reload", "UnloadModel"] {
        told.push(refusal(client.manage(method, &(), flags).await));
    }
    told
}

/// Repeats a call until its outcome is the expected one: signals of others overtake it.
async fn eventually<T>(call: impl AsyncFn() -> zbus::Result<T>, expected: impl Fn(&zbus::Result<T>) -> bool) {
    soon(async {
        while !expected(&call().await) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_polkit_everybody_classifies_and_nobody_manages() {
    let service = Service::start().await;
    let client = service.client().await;
    client.classify(&picture(RED), &["red"], Options::new()).await.unwrap();
    client.embed_image(&picture(RED)).await.unwrap();
    for flags in [MethodFlags::empty(), INTERACTIVE] {
        for (error, text) in refusals(&client, flags).await {
            assert_eq!(error, "NotAuthorized", "{text}");
            assert_eq!(text, "polkit is not there to allow org.hailo.clip1.manage");
        }
    }
    assert_eq!(service.encoders(), 1, "the model is where it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_polkit_that_does_not_start_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    fs::write(
        folder.path().join("org.freedesktop.PolicyKit1.service"),
        "[D-BUS Service]\nName=org.freedesktop.PolicyKit1\nExec=/bin/false\n",
    )
    .unwrap();
    let config = folder.path().join("bus.conf");
    fs::write(
        &config,
        format!(
            "<busconfig><type>session</type><listen>unix:dir={path}</listen><auth>EXTERNAL</auth>\
             <servicedir>{path}</servicedir><policy context='default'><allow send_destination='*'/>\
             <allow receive_sender='*'/><allow own='*'/></policy></busconfig>"
        ),
    )
    .unwrap();
    let service = Service::on(Bus::with_config(&config)).await;
    let client = service.client().await;
    client.embed_image(&picture(RED)).await.unwrap();
    let (error, text) = refusal(load(&client, "other").await);
    assert_eq!((error.as_str(), text.contains("is not there")), ("NotAuthorized", true), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn polkit_is_asked_about_the_sender_of_the_message() {
    let (service, polkit) = start().await;
    let client = service.client().await;
    let question = |action: &str, flags| Question {
        kind: "system-bus-name".to_owned(),
        subject: client.0.unique_name().unwrap().to_string(),
        action: action.to_owned(),
        // Only an owner of the action may add any.
        details: HashMap::new(),
        flags,
        cancellation_id: String::new(),
    };
    client.embed_image(&picture(RED)).await.unwrap();
    assert_eq!(polkit.questions(), [question(CLASSIFY, 0)]);

    for flags in [MethodFlags::empty(), INTERACTIVE] {
        let allowed = u32::from(flags == INTERACTIVE);
        client.manage("LoadModel", &("other",), flags).await.unwrap();
        client.manage("UnloadModel", &(), flags).await.unwrap();
        client.manage("Warmup", &(), flags).await.unwrap();
        let mut asked = polkit.questions();
        for asked in &mut asked {
            let id = std::mem::take(&mut asked.cancellation_id);
            assert_eq!(id.is_empty(), allowed == 0, "only what may take long can be withdrawn");
        }
        assert_eq!(asked, vec![question(MANAGE, allowed); 3], "every time anew");
    }
    assert!(!polkit.was_withdrawn(), "all were answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn anything_but_yes_is_no_and_tells_nothing() {
    let (mut service, polkit) = service_and_polkit(|_| {}, impatient()).await;
    let client = service.client().await;
    client.embed_image(&picture(RED)).await.unwrap();
    for says in [Says::No, Says::Challenge, Says::Dismissed, Says::Error, Says::Nothing] {
        polkit.says(MANAGE, says);
        for flags in [MethodFlags::empty(), INTERACTIVE] {
            for (error, text) in refusals(&client, flags).await {
                assert_eq!(error, "NotAuthorized", "{says:?}: {text}");
                for leak in ["missing", "demo", "installed", "registered", "secret", "/", "ms"] {
                    assert!(!text.contains(leak), "{says:?}: {text}");
                }
            }
        }
        assert!(service.reloads.try_recv().is_err(), "{says:?}");
        assert_eq!((service.encoders(), service.pictures(), service.texts()), (1, 1, 0), "{says:?}");
    }
    client.embed_image(&picture(RED)).await.expect("to classify is another matter");
    polkit.says(MANAGE, Says::Yes);
    client.manage("Warmup", &(), None).await.expect("and polkit is asked every time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_polkit_that_ends_while_it_is_asked_allows_nothing() {
    for action in [CLASSIFY, MANAGE] {
        let (service, polkit) = start().await;
        let client = service.client().await;
        polkit.says(action, Says::Goodbye);
        let answer = match action {
            CLASSIFY => client.embed_image(&picture(RED)).await.map(drop),
            _ => client.manage("Warmup", &(), None).await,
        };
        let (error, text) = refusal(answer);
        assert_eq!(error, "NotAuthorized", "{action}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_has_time_to_answer() {
    let limits = Limits { interactive_authorization_timeout: 10 * PATIENCE, ..impatient() };
    let (service, polkit) = service_and_polkit(|_| {}, limits).await;
    let client = service.client().await;
    polkit.says(MANAGE, Says::Nothing);
    let warm_up = tokio::spawn({
        let client = client.clone();
        async move { client.manage("Warmup", &(), INTERACTIVE).await }
    });
    soon(polkit.next_question()).await;
    // Whoever does not wait for a person has long given up by then.
    refusal(client.manage("Warmup", &(), None).await);
    polkit.says(MANAGE, Says::Yes);
    warm_up.await.unwrap().unwrap();
    assert!(!polkit.was_withdrawn());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_nobody_waits_for_is_withdrawn() {
    let (service, polkit) = service_and_polkit(|_| {}, impatient()).await;
    polkit.says(MANAGE, Says::Nothing);
    refusal(service.client().await.manage("Warmup", &(), INTERACTIVE).await);
    let late = soon(polkit.next_question()).await.cancellation_id;
    assert_eq!(soon(polkit.next_withdrawal()).await, late, "out of time");

    let limits = Limits { interactive_authorization_timeout: 10 * PATIENCE, ..impatient() };
    let (service, polkit) = service_and_polkit(|_| {}, limits).await;
    polkit.says(MANAGE, Says::Nothing);
    let leaves = service.client().await;
    let call = tokio::spawn({
        let client = leaves.clone();
        async move { client.manage("Warmup", &(), INTERACTIVE).await }
    });
    let abandoned = soon(polkit.next_question()).await.cancellation_id;
    leaves.0.close().await.unwrap();
    assert_eq!(soon(polkit.next_withdrawal()).await, abandoned, "the caller has gone");
    call.await.unwrap().expect_err("the connection is closed");
    assert_ne!(late, "");
    assert_ne!(abandoned, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn to_classify_polkit_is_asked_once_for_each_caller() {
    let (service, polkit) = start().await;
    let (one, other) = (service.client().await, service.client().await);
    for _ in 0..5 {
        one.embed_image(&picture(RED)).await.unwrap();
        one.classify(&picture(RED), &["red"], Options::new()).await.unwrap();
    }
    assert_eq!(polkit.questions().len(), 1);
    polkit.says(CLASSIFY, Says::No);
    let (error, text) = refusal(other.embed_image(&picture(RED)).await);
    assert_eq!(
        (error.as_str(), text.as_str()),
        ("NotAuthorized", "polkit does not allow org.hailo.clip1.classify")
    );
    one.embed_image(&picture(RED)).await.expect("as polkit said");
    polkit.says(CLASSIFY, Says::Yes);
    other.embed_image(&picture(RED)).await.expect("a no is not kept");
    assert_eq!(polkit.questions().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_of_the_first_interface_needs_the_right_to_classify() {
    let (service, polkit) = start().await;
    let client = service.client().await;
    polkit.says(CLASSIFY, Says::No);
    let file = dbus_service::memfd(&picture(RED));
    let fd = || zbus::Fd::from(&file);
    let prompts = ["red"].as_slice();
    let told = [
        refusal(client.classify(&picture(RED), prompts, Options::new()).await),
        refusal(
            client.call::<dbus_service::Classified>("ClassifyFd", &(fd(), prompts, Options::new())).await,
        ),
        refusal(client.embed_image(&picture(RED)).await),
        refusal(client.call::<Vec<f64>>("EmbedImageFd", &(fd(),)).await),
        refusal(client.call::<Vec<Vec<f64>>>("EmbedTexts", &(prompts,)).await),
    ];
    for (error, text) in told {
        assert_eq!(error, "NotAuthorized", "{text}");
    }
    assert_eq!((service.pictures(), service.texts()), (0, 0));
    assert_eq!(*client.property("State").await.unwrap(), Variant::from("ready"), "states are no secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_void_when_polkit_says_that_rules_changed() {
    let (service, polkit) = start().await;
    let client = service.client().await;
    let embed = async || client.embed_image(&picture(RED)).await;
    embed().await.unwrap();
    polkit.says(CLASSIFY, Says::No);
    embed().await.unwrap();
    polkit.changed().await;
    eventually(embed, Result::is_err).await;
    polkit.says(CLASSIFY, Says::Yes);
    embed().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_a_change_overtook_counts_once() {
    let (service, polkit) = start().await;
    let client = service.client().await;
    polkit.says(CLASSIFY, Says::Nothing);
    let call = client.start_embed_image(&picture(RED));
    soon(polkit.next_question()).await;
    polkit.changed().await;
    polkit.says(CLASSIFY, Says::Yes);
    call.await.unwrap().unwrap();
    polkit.says(CLASSIFY, Says::No);
    eventually(async || client.embed_image(&picture(RED)).await, Result::is_err).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_polkit_that_comes_is_heeded() {
    let service = Service::start().await;
    let client = service.client().await;
    let embed = async || client.embed_image(&picture(RED)).await;
    embed().await.unwrap();
    let polkit = Polkit::start(&service.bus.address).await;
    polkit.says(CLASSIFY, Says::No);
    eventually(embed, Result::is_err).await;
    assert_eq!(refusal(embed().await).0, "NotAuthorized");
    load(&client, "other").await.unwrap();
    polkit.stop().await;
    eventually(embed, Result::is_ok).await;
    assert_eq!(refusal(load(&client, "demo").await).0, "NotAuthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_wants_no_answer_manages_nothing() {
    let (service, polkit) = start().await;
    let client = service.client().await;
    let message = zbus::Message::method_call(hailo_clip::dbus::PATH, "LoadModel")
        .destination(hailo_clip::dbus::NAME)
        .interface("org.hailo.Clip1.Manager")
        .with_flags(zbus::message::Flags::NO_REPLY_EXPECTED)
        .build(&("other",))
        .unwrap();
    for _ in 0..20 {
        client.0.send(&message).await.unwrap();
    }
    load(&client, "third").await.unwrap();
    assert_eq!((polkit.questions().len(), service.loads()), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_replaced_while_others_classify() {
    let (service, _polkit) = start().await;
    let stop = tokio_util::sync::CancellationToken::new();
    let classifying: Vec<_> = (0..4)
        .map(|_| {
            let (stop, address) = (stop.clone(), service.bus.address.clone());
            tokio::spawn(async move {
                let client = Client(hailo_clip::dbus::connect(&address.parse().unwrap()).await.unwrap());
                let mut models = Vec::new();
                while !stop.is_cancelled() {
                    let (ranked, details) =
                        client.classify(&picture(RED), &["green", "red"], Options::new()).await.unwrap();
                    assert_eq!(ranked[0].0, "red");
                    models.push(String::try_from(details["model"].clone()).unwrap());
                }
                models
            })
        })
        .collect();
    let client = service.client().await;
    for model in ["other", "demo", "other", "third"] {
        service.encoding_at_least(service.pictures() + 4).await;
        load(&client, model).await.unwrap();
        assert_eq!(*client.property("Model").await.unwrap(), Variant::from(model));
    }
    let answered = service.pictures();
    service.encoding_at_least(answered + 8).await;
    stop.cancel();
    for task in classifying {
        let mut models = task.await.expect("no request failed");
        assert_eq!(models.last().unwrap(), "third");
        models.dedup();
        let expected = ["demo", "other", "demo", "other", "third"];
        let mut left = expected.iter();
        assert!(models.iter().all(|model| left.any(|next| next == model)), "in this order: {models:?}");
    }
    assert_eq!(service.encoders(), 1, "the old ones are released");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_cannot_be_loaded_changes_nothing() {
    let (service, _polkit) = start().await;
    let client = service.client().await;
    for (model, expected, why) in [
        ("missing", "NoSuchModel", "missing is not installed"),
        ("../demo", "NoSuchModel", "\"../demo\" is not a model name"),
        ("/etc", "NoSuchModel", "is not a model name"),
        (&"x".repeat(100_000), "NoSuchModel", "is not a model name"),
        ("broken", "BackendFailed", "model broken is damaged"),
    ] {
        let (error, text) = refusal(load(&client, model).await);
        assert_eq!(error, expected, "{text}");
        assert!(text.contains(why) && text.len() < 200, "{text}");
        let status = service.engine.status().borrow().clone();
        assert_eq!((status.state, status.model.as_str(), status.error), (State::Ready, "demo", None));
        client.embed_image(&picture(RED)).await.expect("the old model goes on");
    }
    load(&client, "").await.unwrap();
    assert_eq!(*client.property("Model").await.unwrap(), Variant::from("demo"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_was_begun_is_not_given_up_with_its_caller() {
    let (service, _polkit) = start().await;
    let leaves = service.client().await;
    service.close_gate();
    let call = tokio::spawn({
        let client = leaves.clone();
        async move { load(&client, "slow").await }
    });
    service.loading(2).await;
    leaves.0.close().await.unwrap();
    call.await.unwrap().expect_err("the connection is closed");
    service.open_gate();
    let mut status = service.engine.status();
    soon(status.wait_for(|status| status.model == "slow")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unloaded_model_comes_back_with_the_next_request_or_by_hand() {
    let (service, _polkit) = start().await;
    let client = service.client().await;
    for again in 0..3 {
        client.manage("UnloadModel", &(), None).await.unwrap();
        assert_eq!(service.encoders(), 0, "its memory and device are free");
        client.manage("UnloadModel", &(), None).await.expect("nothing to do is no error");
        assert_eq!(*client.property("State").await.unwrap(), Variant::from("ready"));
        match again {
            0 => drop(client.classify(&picture(RED), &["red", "green"], Options::new()).await.unwrap()),
            1 => load(&client, "").await.unwrap(),
            _ => load(&client, "other").await.unwrap(),
        }
        assert_eq!(service.encoders(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_up_runs_both_encoders_as_often_as_configured_and_once_at_least() {
    for (configured, runs) in [(0, 1), (1, 1), (4, 4)] {
        let (service, _polkit) = service_and_polkit(
            |settings| settings.performance.warmup_iterations = configured,
            Limits::default(),
        )
        .await;
        let (pictures, texts) = (service.pictures(), service.texts());
        for times in 1..=2 {
            service.client().await.manage("Warmup", &(), None).await.unwrap();
            assert_eq!(service.pictures() - pictures, times * runs);
            assert_eq!(service.texts() - texts, times * runs, "not from the cache");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_warm_up_is_told() {
    let (service, _polkit) = start().await;
    service.gate.send_replace(dbus_service::Gate::Broken);
    let (error, text) = refusal(service.client().await.manage("Warmup", &(), None).await);
    assert_eq!(error, "BackendFailed");
    assert!(text.contains("out of order"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_is_passed_on_and_its_outcome_is_told() {
    let (mut service, _polkit) = start().await;
    let client = service.client().await;
    let failed = |message: &str| EngineError::NotReady { state: State::Failed, message: message.into() };
    let outcomes = [
        (Ok(()), None),
        (
            Err(ReloadError::Configuration("hailo-clip.yaml:2:3: no".into())),
            Some(("InvalidConfiguration", "hailo-clip.yaml:2:3: no")),
        ),
        (
            Err(ReloadError::Model(EngineError::NoSuchModel("not installed".into()))),
            Some(("NoSuchModel", "not installed")),
        ),
        (Err(ReloadError::Model(failed("it is damaged"))), Some(("BackendFailed", "it is damaged"))),
    ];
    for (outcome, expected) in outcomes {
        let call = tokio::spawn({
            let client = client.clone();
            async move { client.manage("Reload", &(), None).await }
        });
        let request = soon(service.reloads.recv()).await.unwrap();
        assert!(!call.is_finished());
        request.send(outcome).unwrap();
        let answer = call.await.unwrap();
        match expected {
            None => answer.unwrap(),
            Some((error, text)) => assert_eq!(refusal(answer), (error.to_owned(), text.to_owned())),
        }
    }
    service.reloads.close();
    assert_eq!(refusal(client.manage("Reload", &(), None).await).0, "NotReady");
}
