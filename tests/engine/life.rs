//! The model's life: loading, reloading, draining, idleness.

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use futures_util::FutureExt;
use hailo_clip::{
    backend::{Concurrency, Pipeline},
    engine::{Engine, EngineError, State},
};
use tokio::sync::oneshot;

use crate::held::*;

#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_for_the_first_model() {
    let (loader, control, _) = loader();
    let engine = Engine::start(settings(|_| {}), loader).unwrap();
    assert_eq!(engine.status().borrow().state, State::Starting);
    let early = embed(&engine, [1, 1, 1]);
    in_flight(&engine, 1).await;
    control.say(Verdict::Encode);
    engine.load().await.unwrap();
    assert_eq!(engine.status().borrow().state, State::Ready);
    early.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_cannot_be_loaded_is_named() {
    let (loader, _control, _) = loader();
    let engine = Engine::start(settings(|settings| settings.clip.model = "broken".into()), loader).unwrap();
    let early = embed(&engine, [1, 1, 1]);
    in_flight(&engine, 1).await;
    engine.load().await.unwrap_err();
    let refusal = EngineError::NotReady { state: State::Failed, message: "model broken is damaged".into() };
    assert_eq!(early.await.unwrap().unwrap_err(), refusal);
    assert_eq!(engine.embed_image(picture([1, 1, 1]), None).await.unwrap_err(), refusal);
    let status = engine.status().borrow().clone();
    assert_eq!(status.error.as_deref(), Some("model broken is damaged"));
    assert_eq!((status.model.as_str(), status.loaded), ("broken", None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_keeps_the_old_model_unless_the_new_one_loads() {
    let (engine, control, hardware) = ready(|_| {}).await;
    engine.reload(|| settings(|settings| settings.clip.model = "broken".into())).await.unwrap_err();
    assert_eq!(engine.status().borrow().state, State::Ready);
    assert_eq!(engine.settings().clip.model, "demo");

    let held = embed(&engine, [1, 1, 1]);
    let (control, _) = blocking(control, Control::next).await;
    // Prepared for the old model, this one is prepared again for the new one, unseen by its caller.
    let under_way = embed(&engine, [2, 2, 2]);
    waiting(&engine, 1).await;
    let reload = {
        let engine = engine.clone();
        tokio::spawn(async move {
            engine.reload(|| settings(|settings| settings.clip.model = "other".into())).await
        })
    };
    while hardware.loads.load(Ordering::SeqCst) < 3 {
        tokio::task::yield_now().await;
    }
    let (control, ()) = blocking(control, |control| {
        control.say(Verdict::Encode);
        control.say(Verdict::Encode);
    })
    .await;
    assert_eq!(held.await.unwrap().unwrap().model.as_ref(), "demo");
    reload.await.unwrap().unwrap();
    under_way.await.unwrap().unwrap();
    assert_eq!(engine.status().borrow().model, "other");

    engine
        .reload(|| {
            settings(|s| {
                s.clip.model = "other".into();
                s.performance.max_queue_size = 7;
            })
        })
        .await
        .unwrap();
    assert_eq!(engine.max_queue_size(), 7);
    assert_eq!(hardware.loads.load(Ordering::SeqCst), 3, "the model stays if nothing of it changed");
    drop(control);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_goes_by_the_choice_that_was_made_meanwhile() {
    let (engine, _control, _) = ready(|_| {}).await;
    let recorded = Arc::new(Mutex::new("demo".to_owned()));
    let (recording, begun) = oneshot::channel();
    let (go_on, released) = oneshot::channel();
    let choice = tokio::spawn({
        let (engine, recorded) = (engine.clone(), Arc::clone(&recorded));
        async move {
            let record = move |name: &str| {
                recording.send(()).unwrap();
                released.blocking_recv().unwrap();
                name.clone_into(&mut recorded.lock().unwrap());
                Ok(())
            };
            engine.choose_model("other".to_owned(), record).await
        }
    });
    begun.await.unwrap();

    let mut reload = Box::pin(engine.reload(|| {
        let model = recorded.lock().unwrap().clone();
        settings(|settings| settings.clip.model = model)
    }));
    assert!(reload.as_mut().now_or_never().is_none(), "it waits for the choice");
    go_on.send(()).unwrap();
    reload.await.unwrap();
    choice.await.unwrap().unwrap();
    assert_eq!(engine.status().borrow().model, "other");
    assert_eq!(engine.settings().clip.model, "other");
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_answers_what_was_accepted() {
    let (engine, control, _) = ready(|_| {}).await;
    let accepted = embed(&engine, [1, 1, 1]);
    let (control, _) = blocking(control, Control::next).await;
    assert!(!engine.drain(Duration::from_millis(10)).await, "a bounded wait");
    let refused = engine.embed_image(picture([2, 2, 2]), None).await.unwrap_err();
    assert!(matches!(refused, EngineError::NotReady { state: State::Draining, .. }));
    control.say(Verdict::Encode);
    assert!(engine.drain(Duration::from_secs(20)).await);
    accepted.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_backend_is_released_and_opened_on_demand() {
    let (engine, control, hardware) =
        ready(|settings| settings.performance.idle_unload = Some(Duration::from_millis(1))).await;
    assert_eq!(hardware.loads.load(Ordering::SeqCst), 1);
    while engine.backend_is_held() {
        tokio::task::yield_now().await;
    }
    control.say(Verdict::Encode);
    engine.embed_image(picture([1, 1, 1]), None).await.unwrap();
    assert_eq!(hardware.loads.load(Ordering::SeqCst), 2);
}

/// The moment of the release is met again and again, by requests that come in twos.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_between_idleness_and_arrival() {
    const ROUNDS: usize = 60;
    let two = Pipeline { devices: 1, depth: 2 };
    let hardware = with_npu(Concurrency { images: two, texts: two, shared: false });
    let (engine, control) = ready_on(&hardware, |settings| {
        settings.clip.model = "small".into();
        settings.performance.idle_unload = Some(Duration::from_micros(20));
        settings.text_cache.enabled = false;
    })
    .await;
    for _ in 0..2 * ROUNDS {
        control.say(Verdict::Encode);
    }
    for round in 0..ROUNDS {
        let (text, picture) = (embed_text(&engine, "red"), embed(&engine, [1, 1, 1]));
        text.await.unwrap().unwrap();
        picture.await.unwrap().unwrap();
        for _ in 0..round % 16 {
            tokio::task::yield_now().await;
        }
    }
    let loads = hardware.loads.load(Ordering::SeqCst);
    assert!(loads > 5, "it was released now and then: {loads} loads");
    assert_eq!(hardware.most_open.load(Ordering::SeqCst), 1, "never two at a time");
    assert_eq!(engine.status().borrow().state, State::Ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn warming_up_comes_before_ready() {
    let (loader, control, _) = loader();
    let engine = Engine::start(settings(|s| s.performance.warmup_iterations = 2), loader).unwrap();
    for _ in 0..4 {
        control.say(Verdict::Encode);
    }
    engine.load().await.unwrap();
    let seen = control.seen();
    assert_eq!(seen, [Batch::Images(1), Batch::Texts(1), Batch::Images(1), Batch::Texts(1)]);
}
