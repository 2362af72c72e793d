//! The D-Bus facade's manners: properties and their signals, the name, callers that come, stay too
//! long, and leave.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
mod dbus_service;

use std::{collections::HashMap, fs, process::Command};

use common::Bus;
use dbus_service::{Client, GREEN, Gate, RED, Service, connect, picture, refusal, serve, soon};
use futures_util::StreamExt;
use hailo_clip::dbus::{self, Limits, ServeError};
use zbus::{
    MatchRule, Message, MessageStream, OwnedVariant, Variant,
    message::{Flags, Type},
};

#[tokio::test(flavor = "multi_thread")]
async fn properties_say_what_is_served() {
    let service = Service::start().await;
    let client = service.client().await;
    let expected: [(&str, Variant<'_>); 13] = [
        ("Version", env!("CARGO_PKG_VERSION").into()),
        ("State", "ready".into()),
        ("Model", "demo".into()),
        ("ModelDigest", "digest of demo".into()),
        ("Precision", "fp32".into()),
        ("Backend", "cpu".into()),
        ("Device", "a colour encoder".into()),
        ("EmbeddingDimension", 3u32.into()),
        ("ImageSize", 16u32.into()),
        ("LogitScale", 100.0.into()),
        ("QueueDepth", 0u32.into()),
        ("MaxQueueSize", u32::try_from(service.engine.max_queue_size()).unwrap().into()),
        ("LastError", "".into()),
    ];
    for (name, value) in expected {
        assert_eq!(*client.property(name).await.unwrap(), value, "{name}");
    }
    let temperature = client.property("DeviceTemperature").await.unwrap();
    assert!(matches!(*temperature, Variant::F64(value) if value.is_nan()));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_property_can_be_set() {
    let service = Service::start().await;
    let client = service.client().await;
    let set = client.set_property("State", "failed".into()).await;
    assert!(refusal(set).0.starts_with("org.freedesktop.DBus.Error."));
    assert_eq!(*client.property("State").await.unwrap(), Variant::from("ready"));
}

type Changes = HashMap<String, OwnedVariant>;

/// The signals of changed properties of an interface.
async fn changes_of(client: &Client, interface: &'static str) -> MessageStream {
    let rule = MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(dbus::NAME)
        .path(dbus::PATH)
        .interface("org.freedesktop.DBus.Properties")
        .member("PropertiesChanged")
        .arg(0, interface)
        .build()
        .unwrap();
    MessageStream::for_match_rule(rule, &client.0, None).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_signalled_and_nothing_else() {
    let service = Service::without_model(|_| {}, Limits::default()).await;
    let client = service.client().await;
    let mut signals = changes_of(&client, dbus::NAME).await;
    let mut known: HashMap<&str, OwnedVariant> = HashMap::new();
    for name in [
        "State",
        "Model",
        "ModelDigest",
        "Precision",
        "Backend",
        "Device",
        "EmbeddingDimension",
        "ImageSize",
        "LogitScale",
        "LastError",
    ] {
        known.insert(name, client.property(name).await.unwrap());
    }
    assert_eq!(*known["State"], Variant::from("starting"));

    service.engine.load().await.unwrap();
    loop {
        let signal = soon(signals.next()).await.unwrap().unwrap();
        let (_, changes, invalidated) =
            signal.body().deserialize::<(String, Changes, Vec<String>)>().unwrap();
        assert!(invalidated.is_empty());
        assert!(!changes.is_empty());
        for (name, value) in changes {
            let before = known.get_mut(name.as_str()).expect("a property that signals its changes");
            assert_ne!(*before, value, "{name} did not change");
            *before = value;
        }
        if *known["State"] == Variant::from("ready") {
            break;
        }
    }
    for (name, value) in known {
        assert_eq!(client.property(name).await.unwrap(), value, "{name} was signalled");
    }
}

/// The engine is asked here as the HTTP facade and the recovery of a lost device ask it: not over the bus.
#[tokio::test(flavor = "multi_thread")]
async fn another_model_in_service_is_a_change_of_the_models_whoever_asked_for_it() {
    let service = Service::start().await;
    let client = service.client().await;
    let mut signals = changes_of(&client, "org.hailo.Clip1.Manager").await;
    service.engine.load_model("demo").await.unwrap();
    for model in ["other", "demo"] {
        service.engine.choose_model(model.to_owned(), |_| Ok(())).await.unwrap();
        let signal = soon(signals.next()).await.unwrap().unwrap();
        let (_, changes, invalidated) =
            signal.body().deserialize::<(String, Changes, Vec<String>)>().unwrap();
        assert!(changes.is_empty(), "{changes:?}");
        assert_eq!(invalidated, ["Models"]);
        assert_eq!(*client.property("Model").await.unwrap(), Variant::from(model), "one signal for each");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_call_holds_up_nobody() {
    let service = Service::start().await;
    let (one, other) = (service.client().await, service.client().await);
    service.close_gate();
    let slow = one.start_embed_image(&picture(RED));
    service.encoding(1).await;

    // The same caller, on the same interface.
    assert_eq!(*one.property("QueueDepth").await.unwrap(), Variant::from(1u32));
    let (error, _) = refusal(one.embed_image(b"not a picture").await);
    assert_eq!(error, "InvalidImage");
    let second = other.start_embed_image(&picture(GREEN));
    service.in_flight(2).await;

    service.open_gate();
    let (red, green) = (slow.await.unwrap().unwrap(), second.await.unwrap().unwrap());
    assert!(red[0] > 0.9 && green[1] > 0.9, "everybody gets the own answer: {red:?}, {green:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_caller_may_have_so_many_calls_in_flight() {
    let service = Service::with(|_| {}, Limits { max_calls_per_caller: 2, ..Limits::default() }).await;
    let (greedy, other) = (service.client().await, service.client().await);
    service.close_gate();
    let accepted = [greedy.start_embed_image(&picture(RED)), greedy.start_embed_image(&picture(RED))];
    service.in_flight(2).await;

    let (error, text) = refusal(greedy.embed_image(&picture(RED)).await);
    assert_eq!(error, "QueueFull");
    assert!(text.starts_with("2 of your calls"), "{text}");
    let others = other.start_embed_image(&picture(GREEN));
    service.in_flight(3).await;

    service.open_gate();
    for call in accepted.into_iter().chain([others]) {
        call.await.unwrap().unwrap();
    }
    greedy.embed_image(&picture(RED)).await.expect("answered calls no longer count");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_leaves_takes_its_calls_along() {
    let service = Service::start().await;
    let stays = service.client().await;
    let leaves = service.client().await;
    service.close_gate();
    let kept = stays.start_embed_image(&picture(GREEN));
    service.encoding(1).await;
    let abandoned = [leaves.start_embed_image(&picture(RED)), leaves.start_embed_image(&picture(RED))];
    service.in_flight(3).await;

    leaves.0.close().await.unwrap();
    service.in_flight(1).await;
    for call in abandoned {
        call.await.unwrap().expect_err("the connection is closed");
    }

    service.open_gate();
    kept.await.unwrap().unwrap();
    stays.embed_image(&picture(GREEN)).await.unwrap();
    assert_eq!(service.pictures(), 2, "abandoned pictures never reach the encoder");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_leaves_at_once_holds_no_place() {
    let service = Service::with(|settings| settings.performance.max_queue_size = 1, Limits::default()).await;
    service.close_gate();
    for _ in 0..50 {
        let hasty = service.client().await;
        let call = Message::method_call(dbus::PATH, "EmbedImage")
            .destination(dbus::NAME)
            .interface(dbus::NAME)
            .with_flags(Flags::empty())
            .build(&(picture(RED),))
            .unwrap();
        hasty.0.send(&call).await.unwrap();
        hasty.0.close().await.unwrap();
        service.in_flight(0).await;
    }
    service.open_gate();
    service.client().await.embed_image(&picture(RED)).await.expect("the only place in the queue is free");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_is_taken_once() {
    let service = Service::start().await;
    let refused = serve(&service.bus, &service.engine, Limits::default()).await;
    let error = refused.expect_err("the name is taken");
    assert!(matches!(error, ServeError::NameTaken), "{error}");
    assert!(error.to_string().contains("already taken"));
    service.client().await.embed_image(&picture(RED)).await.expect("the first service goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_bus_is_noticed() {
    let Service { facade, bus, .. } = Service::start().await;
    drop(bus);
    soon(facade.closed()).await;
    soon(facade.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_answers_what_is_in_flight_and_frees_the_name() {
    let service = Service::start().await;
    let client = service.client().await;
    service.close_gate();
    let call = client.start_embed_image(&picture(RED));
    service.encoding(1).await;

    let Service { facade, engine, gate, bus, .. } = service;
    let stopping = tokio::spawn(facade.stop());
    let successor = soon(async {
        loop {
            match serve(&bus, &engine, Limits::default()).await {
                Ok(facade) => break facade,
                Err(ServeError::NameTaken) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await;
    assert!(!stopping.is_finished(), "a call is in flight");
    gate.send_replace(Gate::Open);
    call.await.unwrap().expect("the call is answered");
    soon(stopping).await.unwrap();
    Client(connect(&bus).await).embed_image(&picture(RED)).await.expect("the successor serves");
    soon(successor.stop()).await;
}

/// A bus as closed as the system bus, with our policy for `user`.
fn system_like_bus(user: &str) -> (Bus, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let policy = include_str!("../dbus/org.hailo.Clip1.conf");
    assert!(policy.contains("user=\"hailo-clip\""));
    fs::write(
        folder.path().join("policy.conf"),
        policy.replace("user=\"hailo-clip\"", &format!("user=\"{user}\"")),
    )
    .unwrap();
    let config = folder.path().join("bus.conf");
    fs::write(
        &config,
        format!(
            r#"<busconfig>
                 <type>system</type>
                 <listen>unix:dir={}</listen>
                 <auth>EXTERNAL</auth>
                 <policy context="default">
                   <allow user="*"/>
                   <deny own="*"/>
                   <deny send_type="method_call"/>
                   <allow send_type="signal"/>
                   <allow send_requested_reply="true" send_type="method_return"/>
                   <allow send_requested_reply="true" send_type="error"/>
                   <allow receive_type="method_call"/>
                   <allow receive_type="method_return"/>
                   <allow receive_type="error"/>
                   <allow receive_type="signal"/>
                   <allow send_destination="org.freedesktop.DBus"/>
                 </policy>
                 <include>policy.conf</include>
               </busconfig>"#,
            folder.path().display()
        ),
    )
    .unwrap();
    (Bus::with_config(&config), folder)
}

fn user_name() -> String {
    String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bus_policy_lets_the_service_own_the_name_and_everybody_call() {
    let (bus, _folder) = system_like_bus(&user_name());
    let service = Service::on(bus).await;
    let client = service.client().await;
    client.embed_image(&picture(RED)).await.unwrap();
    assert_eq!(*client.property("State").await.unwrap(), Variant::from("ready"));
    let set = client.set_property("State", "failed".into()).await;
    assert_eq!(refusal(set).0, "org.freedesktop.DBus.Error.AccessDenied");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bus_policy_lets_nobody_else_own_the_name() {
    let (bus, _folder) = system_like_bus("nobody");
    let service = Service::start().await;
    let refused = serve(&bus, &service.engine, Limits::default()).await;
    let error = refused.expect_err("the policy forbids it");
    assert!(matches!(error, ServeError::NotAllowed), "{error}");
}
