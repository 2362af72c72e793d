//! An NPU that takes several batches, is lost, and comes back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hailo_clip::{
    backend::{Backend, BackendError, BackendKind, Concurrency, Description, Health, Npu, Pipeline},
    clip::{Embedding, Pixels, Tokens},
    config::BackendChoice,
    engine::{Engine, EngineError, Loader, State},
};

use crate::held::*;

/// One device with a batch in line behind the one that runs.
const TWO_DEEP: Concurrency = Concurrency {
    images: Pipeline { devices: 1, depth: 2 },
    texts: Pipeline { devices: 1, depth: 2 },
    shared: true,
};

async fn state(engine: &Engine, state: State) {
    engine.status().wait_for(|status| status.state == state).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_running_batch_only_a_full_one_is_put_in_line() {
    let hardware = with_npu(TWO_DEEP);
    let (engine, control) = ready_on(&hardware, |settings| settings.clip.batch_size = 3).await;
    let mut requests = vec![embed(&engine, [1, 1, 1])];
    let (control, first) = blocking(control, Control::next).await;
    assert_eq!(first, Batch::Images(1), "a lone request does not wait");
    for shade in 2..4 {
        requests.push(embed(&engine, [shade, 1, 1]));
    }
    waiting(&engine, 2).await;
    control.expect_nothing();
    requests.push(embed(&engine, [4, 1, 1]));
    let (control, second) = blocking(control, Control::next).await;
    assert_eq!(second, Batch::Images(3), "a full batch waits on the device");
    for shade in 5..9 {
        requests.push(embed(&engine, [shade, 1, 1]));
    }
    waiting(&engine, 4).await;
    control.expect_nothing();
    control.say(Verdict::Encode);
    let (control, third) = blocking(control, Control::next).await;
    assert_eq!(third, Batch::Images(3), "as soon as there is room");
    control.say(Verdict::Encode);
    control.say(Verdict::Encode);
    let (control, last) = blocking(control, Control::next).await;
    assert_eq!(last, Batch::Images(1));
    control.say(Verdict::Encode);
    for (shade, request) in (1_u8..).zip(requests) {
        let expected = [shade, 1, 1].map(|c| f32::from(c) + 1.0);
        let expected = hailo_clip::clip::Embedding::normalize(&expected).unwrap();
        assert_eq!(request.await.unwrap().unwrap().embedding, expected, "answers are not crossed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn encoders_on_two_processors_run_side_by_side() {
    let apart = Concurrency { images: Pipeline::SERIAL, texts: Pipeline::SERIAL, shared: false };
    let (engine, control) = ready_on(&with_npu(apart), |_| {}).await;
    let classified = spawn_classify(&engine, classify(&["red", "green"]));
    let (control, mut batches) = blocking(control, |control| [control.next(), control.next()]).await;
    batches.sort_by_key(|batch| matches!(batch, Batch::Texts(_)));
    assert_eq!(batches, [Batch::Images(1), Batch::Texts(2)], "neither waits for the other");
    control.say(Verdict::Encode);
    control.say(Verdict::Encode);
    classified.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_device_costs_no_request_where_the_cpu_takes_over() {
    let hardware = with_npu(TWO_DEEP);
    let (engine, control) = ready_on(&hardware, |settings| settings.clip.batch_size = 2).await;
    assert_eq!(engine.status().borrow().state, State::Ready);
    let first = embed(&engine, [9, 1, 1]);
    let (control, _) = blocking(control, Control::next).await;
    let others = [embed(&engine, [8, 1, 1]), embed(&engine, [7, 1, 1]), embed(&engine, [6, 1, 1])];
    let (control, _) = blocking(control, Control::next).await;
    hardware.npu.store(false, Ordering::SeqCst);
    control.say(Verdict::Lose);
    control.say(Verdict::Lose);
    let control = tokio::task::spawn_blocking(move || {
        let mut pictures = 0;
        while pictures < 4 {
            let Batch::Images(count) = control.next() else { panic!("no texts were asked for") };
            pictures += count;
            control.say(Verdict::Encode);
        }
        control
    })
    .await
    .unwrap();
    assert_eq!(first.await.unwrap().unwrap().backend, BackendKind::Cpu);
    for other in others {
        assert_eq!(other.await.unwrap().unwrap().backend, BackendKind::Cpu);
    }
    let status = engine.status().borrow().clone();
    assert_eq!(status.state, State::Degraded);
    assert_eq!(status.error.as_deref(), Some("no device; on the CPU"));

    hardware.npu.store(true, Ordering::SeqCst);
    state(&engine, State::Ready).await;
    assert_eq!(engine.status().borrow().error, None);
    control.say(Verdict::Encode);
    assert_eq!(engine.embed_image(picture([1, 1, 1]), None).await.unwrap().backend, BackendKind::Hailo);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_device_is_said_where_nothing_may_take_over() {
    let hardware = with_npu(Concurrency::SERIAL);
    let (engine, control) =
        ready_on(&hardware, |settings| settings.clip.backend = BackendChoice::Hailo).await;
    let request = embed(&engine, [9, 1, 1]);
    let (control, _) = blocking(control, Control::next).await;
    hardware.npu.store(false, Ordering::SeqCst);
    control.say(Verdict::Lose);
    let refusal = EngineError::NotReady { state: State::Failed, message: "no device".into() };
    assert_eq!(request.await.unwrap().unwrap_err(), refusal);
    assert_eq!(engine.embed_image(picture([1, 1, 1]), None).await.unwrap_err(), refusal);

    hardware.npu.store(true, Ordering::SeqCst);
    state(&engine, State::Ready).await;
    control.say(Verdict::Encode);
    engine.embed_image(picture([1, 1, 1]), None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_stumbles_is_opened_again_at_once() {
    let hardware = with_npu(Concurrency::SERIAL);
    let (engine, control) =
        ready_on(&hardware, |settings| settings.clip.backend = BackendChoice::Hailo).await;
    let request = embed(&engine, [9, 1, 1]);
    let (control, _) = blocking(control, Control::next).await;
    control.say(Verdict::Lose);
    control.say(Verdict::Encode);
    request.await.unwrap().unwrap();
    assert_eq!(engine.status().borrow().state, State::Ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_missing_at_the_start_is_taken_when_it_comes() {
    for (choice, before) in [(BackendChoice::Auto, State::Degraded), (BackendChoice::Hailo, State::Failed)] {
        let hardware = with_npu(Concurrency::SERIAL);
        hardware.npu.store(false, Ordering::SeqCst);
        let (loader, _control) = loader_on(hardware.clone());
        let engine = Engine::start(settings(|settings| settings.clip.backend = choice), loader).unwrap();
        assert_eq!(engine.load().await.is_ok(), choice == BackendChoice::Auto);
        assert_eq!(engine.status().borrow().state, before);
        hardware.npu.store(true, Ordering::SeqCst);
        state(&engine, State::Ready).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_hangs_is_given_up_and_its_neighbour_is_not() {
    let hardware = with_npu(TWO_DEEP);
    let (engine, control) = ready_on(&hardware, |settings| settings.clip.batch_size = 1).await;
    let hung = embed(&engine, [1, 1, 1]);
    let (control, _) = blocking(control, Control::next).await;
    let neighbour = embed(&engine, [2, 1, 1]);
    let (control, _) = blocking(control, Control::next).await;
    // Which of the two hears which verdict is open; one is given up and one runs again.
    control.say(Verdict::TimeOut);
    control.say(Verdict::Interrupt);
    control.say(Verdict::Encode);
    let mut outcomes = [hung.await.unwrap().map(drop), neighbour.await.unwrap().map(drop)];
    outcomes.sort_by_key(Result::is_ok);
    assert_eq!(outcomes, [Err(EngineError::Timeout(Duration::from_millis(7))), Ok(())]);
    while engine.longest_batch().is_some() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_loads_releases_and_warms_up() {
    let hardware = with_npu(Concurrency::SERIAL);
    let (engine, control) = ready_on(&hardware, |_| {}).await;
    let absent = engine.load_model("absent").await.unwrap_err();
    assert_eq!(absent, EngineError::NoSuchModel("model absent is not installed".into()));
    engine.load_model("broken").await.unwrap_err();
    assert_eq!(engine.status().borrow().model, "demo");
    engine.load_model("other").await.unwrap();
    assert_eq!(engine.status().borrow().model, "other");
    assert_eq!(engine.settings().clip.model, "other");

    engine.unload_model().await.unwrap();
    assert!(!engine.backend_is_held() && engine.status().borrow().idle);
    control.say(Verdict::Encode);
    engine.embed_image(picture([1, 1, 1]), None).await.unwrap();
    assert!(engine.backend_is_held() && !engine.status().borrow().idle);

    control.say(Verdict::Encode);
    control.say(Verdict::Encode);
    engine.warm_up().await.unwrap();
    control.say(Verdict::Fail);
    control.say(Verdict::Encode);
    engine.warm_up().await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_another_program_took_while_idle_is_replaced_by_the_cpu() {
    let hardware = with_npu(Concurrency::SERIAL);
    let (engine, control) = ready_on(&hardware, |_| {}).await;
    engine.unload_model().await.unwrap();
    hardware.npu.store(false, Ordering::SeqCst);
    control.say(Verdict::Encode);
    assert_eq!(engine.embed_image(picture([1, 1, 1]), None).await.unwrap().backend, BackendKind::Cpu);
    assert_eq!(engine.status().borrow().state, State::Degraded);
}

/// An encoder on an NPU whose sensors say nothing when they are first asked.
struct Shy {
    encoder: Box<dyn Backend>,
    description: Description,
    asked: AtomicUsize,
}

impl Backend for Shy {
    fn description(&self) -> &Description {
        &self.description
    }

    fn concurrency(&self) -> Concurrency {
        self.encoder.concurrency()
    }

    fn embed_images(&self, batch: &[&Pixels]) -> Result<Vec<Embedding>, BackendError> {
        self.encoder.embed_images(batch)
    }

    fn embed_texts(&self, batch: &[&Tokens]) -> Result<Vec<Embedding>, BackendError> {
        self.encoder.embed_texts(batch)
    }

    fn health(&self) -> Option<Health> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        (asked > 0).then_some(Health { temperature: Some(41.0), throttled: None })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sensors_that_say_nothing_at_first_are_asked_again() {
    let (load, _control) = loader_on(with_npu(TWO_DEEP));
    let npu = Npu {
        architecture: "Hailo-8".into(),
        firmware: "4.23.0".into(),
        library: "4.23.0".into(),
        driver: None,
    };
    let loader: Loader = Arc::new(move |settings| {
        let mut loaded = load(settings)?;
        let description = Description { npu: Some(npu.clone()), ..loaded.backend.description().clone() };
        loaded.backend = Box::new(Shy { encoder: loaded.backend, description, asked: AtomicUsize::new(0) });
        Ok(loaded)
    });
    let engine = Engine::start(settings(|_| {}), loader).unwrap();
    engine.load().await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(20), async {
        while engine.health().is_none() {
            tokio::task::yield_now().await;
        }
    });
    told.await.expect("the sensors are asked again");
    assert_eq!(engine.health().unwrap().temperature, Some(41.0));
}
