//! Requests and the model's life, on one processor that takes one batch after the other.

use std::{
    io::Cursor,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use hailo_clip::{
    backend::{Concurrency, Pipeline},
    clip::{Embedding, PromptTemplate},
    engine::{ClassifyOptions, ClassifyRequest, Engine, EngineError, State},
};
use tokio::sync::oneshot;

use crate::held::*;

#[tokio::test(flavor = "multi_thread")]
async fn classifies_and_caches_texts() {
    let (engine, control, _) = ready(|_| {}).await;
    let first = spawn_classify(&engine, classify(&["red", "green", "blue"]));
    let (control, mut batches) = blocking(control, |control| {
        let mut batches = vec![control.next()];
        control.say(Verdict::Encode);
        batches.push(control.next());
        control.say(Verdict::Encode);
        batches
    })
    .await;
    batches.sort_by_key(|batch| matches!(batch, Batch::Texts(_)));
    assert_eq!(batches, [Batch::Images(1), Batch::Texts(3)], "all prompts of a request share a batch");
    let answer = first.await.unwrap().unwrap();
    assert_eq!(answer.classifications[0].text, "red");
    assert!(answer.classifications[0].score > 0.99);
    assert_eq!(answer.model.as_ref(), "demo");
    assert!(answer.timings.total >= answer.timings.image);

    let second = spawn_classify(&engine, classify(&["red", "green", "blue"]));
    let (control, ()) = blocking(control, |control| control.expect(Batch::Images(1))).await;
    let second = second.await.unwrap().unwrap();
    assert_eq!(second.classifications, answer.classifications);
    assert_eq!(second.timings.text, Duration::ZERO, "every text was cached");
    control.expect_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_runs_holds_up_neither_decoding_nor_cached_texts() {
    let (engine, control, _) = ready(|_| {}).await;
    control.say(Verdict::Encode);
    embed_text(&engine, "red").await.unwrap().unwrap();
    assert_eq!(control.next(), Batch::Texts(1));

    let held = embed(&engine, [1, 1, 1]);
    let (control, _) = blocking(control, Control::next).await;
    embed_text(&engine, "red").await.unwrap().unwrap();
    // Ten prompts, as most requests have, are more than a batch of pictures.
    let prompts: Vec<String> = (0..10).map(|n| format!("prompt {n}")).collect();
    let prompts: Vec<&str> = prompts.iter().map(String::as_str).collect();
    let next = spawn_classify(&engine, classify(&prompts));
    // Decoded, tokenized and in the queue, all while the encoder is busy.
    waiting(&engine, 11).await;
    assert!(engine.longest_batch().is_some() && engine.backend_is_held() && engine.health().is_none());
    let (control, mut batches) = blocking(control, |control| {
        control.say(Verdict::Encode);
        let batches = vec![control.next(), {
            control.say(Verdict::Encode);
            control.next()
        }];
        control.say(Verdict::Encode);
        batches
    })
    .await;
    batches.sort_by_key(|batch| matches!(batch, Batch::Texts(_)));
    assert_eq!(batches, [Batch::Images(1), Batch::Texts(10)]);
    held.await.unwrap().unwrap();
    next.await.unwrap().unwrap();
    control.expect_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_runs_as_one_batch() {
    let (engine, control, _) = ready(|settings| settings.clip.batch_size = 4).await;
    let mut requests = vec![embed(&engine, [1, 2, 3])];
    let (control, first) = blocking(control, Control::next).await;
    assert_eq!(first, Batch::Images(1), "a lone request does not wait for company");
    for shade in 0..6 {
        requests.push(embed(&engine, [shade * 40, 10, 255 - shade * 40]));
    }
    waiting(&engine, 6).await;
    let (_control, ()) = blocking(control, |control| {
        control.say(Verdict::Encode);
        control.expect(Batch::Images(4));
        control.expect(Batch::Images(2));
    })
    .await;
    let mut answers = Vec::new();
    for request in requests {
        answers.push(request.await.unwrap().unwrap().embedding);
    }
    for (shade, answer) in (0..6_u8).zip(&answers[1..]) {
        let expected = [shade * 40, 10, 255 - shade * 40].map(|c| f32::from(c) + 1.0);
        assert_eq!(*answer, Embedding::normalize(&expected).unwrap(), "answers are not crossed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_at_once() {
    let (engine, control, _) = ready(|settings| settings.performance.max_queue_size = 2).await;
    let held = [embed(&engine, [1, 1, 1]), embed(&engine, [2, 2, 2])];
    in_flight(&engine, 2).await;
    let refused = engine.embed_image(picture([3, 3, 3]), None).await.unwrap_err();
    assert_eq!(refused, EngineError::QueueFull { max_queue_size: 2 });
    control.say(Verdict::Encode);
    control.say(Verdict::Encode);
    for request in held {
        request.await.unwrap().unwrap();
    }
    control.say(Verdict::Encode);
    engine.embed_image(picture([3, 3, 3]), None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passed_deadline_leaves_no_work_behind() {
    let (engine, control, _) = ready(|_| {}).await;
    let held = embed(&engine, [1, 1, 1]);
    let (control, _) = blocking(control, Control::next).await;
    let short = Duration::from_millis(30);
    let late = engine.embed_image(picture([2, 2, 2]), Some(short)).await.unwrap_err();
    assert_eq!(late, EngineError::Timeout(short));
    let options = ClassifyOptions { timeout: Some(short), ..ClassifyOptions::default() };
    let late = engine.classify(ClassifyRequest { options, ..classify(&["red", "blue"]) }).await.unwrap_err();
    assert_eq!(late, EngineError::Timeout(short));
    assert_eq!(engine.queue_depth(), 1);
    control.say(Verdict::Encode);
    held.await.unwrap().unwrap();

    let next = embed_text(&engine, "red");
    let (control, ()) = blocking(control, |control| control.expect(Batch::Texts(1))).await;
    next.await.unwrap().unwrap();
    control.expect_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_departed_caller_is_skipped() {
    let (engine, control, _) = ready(|_| {}).await;
    let held = embed(&engine, [1, 1, 1]);
    let (control, _) = blocking(control, Control::next).await;
    let departed = embed(&engine, [2, 2, 2]);
    let stays = embed(&engine, [3, 3, 3]);
    waiting(&engine, 2).await;
    departed.abort();
    assert!(departed.await.unwrap_err().is_cancelled());
    in_flight(&engine, 2).await;
    let (control, ()) = blocking(control, |control| {
        control.say(Verdict::Encode);
        control.expect(Batch::Images(1));
    })
    .await;
    held.await.unwrap().unwrap();
    assert_eq!(stays.await.unwrap().unwrap().embedding, Embedding::normalize(&[4.0; 3]).unwrap());
    control.expect_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_several_ask_for_is_encoded_once() {
    let (engine, control, _) = ready(|_| {}).await;
    let held = embed(&engine, [1, 1, 1]);
    let (control, _) = blocking(control, Control::next).await;
    let first = embed_text(&engine, "red");
    waiting(&engine, 1).await;
    let others = [embed_text(&engine, "red"), embed_text(&engine, "red")];
    in_flight(&engine, 4).await;
    // Whoever asked first may leave: the others still get their answer.
    first.abort();
    in_flight(&engine, 3).await;
    let (control, ()) = blocking(control, |control| {
        control.say(Verdict::Encode);
        control.expect(Batch::Texts(1));
    })
    .await;
    held.await.unwrap().unwrap();
    for other in others {
        assert_eq!(other.await.unwrap().unwrap().embeddings[0].as_slice(), [1.0, 0.0, 0.0]);
    }
    control.expect_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cache_texts_are_encoded_again() {
    let (engine, control, _) = ready(|settings| settings.text_cache.enabled = false).await;
    for _ in 0..2 {
        control.say(Verdict::Encode);
        embed_text(&engine, "red").await.unwrap().unwrap();
        assert_eq!(control.next(), Batch::Texts(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_and_texts_take_turns() {
    let (engine, control, _) = ready(|settings| settings.clip.batch_size = 1).await;
    let held = embed(&engine, [1, 1, 1]);
    let (control, _) = blocking(control, Control::next).await;
    let many = {
        let engine = engine.clone();
        tokio::spawn(async move { engine.embed_texts((0..12).map(|n| n.to_string()).collect(), None).await })
    };
    waiting(&engine, 12).await;
    let picture = embed(&engine, [2, 2, 2]);
    waiting(&engine, 13).await;
    let (_control, order) = blocking(control, |control| {
        control.say(Verdict::Encode);
        (0..4)
            .map(|_| {
                let batch = control.next();
                control.say(Verdict::Encode);
                batch
            })
            .collect::<Vec<_>>()
    })
    .await;
    assert_eq!(order, [Batch::Texts(4), Batch::Images(1), Batch::Texts(4), Batch::Texts(4)]);
    held.await.unwrap().unwrap();
    picture.await.unwrap().unwrap();
    assert_eq!(many.await.unwrap().unwrap().embeddings.len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_become_an_ensemble() {
    let (engine, control, _) = ready(|_| {}).await;
    let mut request = classify(&["red", "blue"]);
    request.options.templates =
        ["{}", "a photo of {}"].iter().map(|template| PromptTemplate::parse(template).unwrap()).collect();
    let answer = spawn_classify(&engine, request);
    let (_control, mut batches) = blocking(control, |control| {
        [(); 2].map(|()| {
            let batch = control.next();
            control.say(Verdict::Encode);
            batch
        })
    })
    .await;
    batches.sort_by_key(|batch| matches!(batch, Batch::Texts(_)));
    assert_eq!(batches, [Batch::Images(1), Batch::Texts(4)]);
    let answer = answer.await.unwrap().unwrap();
    assert_eq!(answer.classifications.len(), 2);
    let texts: Vec<_> = answer.classifications.iter().map(|c| c.text.as_str()).collect();
    assert_eq!(texts, ["red", "blue"], "prompts come back as they were written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_batch_is_tried_one_by_one() {
    let (engine, control, _) = ready(|_| {}).await;
    let held = embed(&engine, [1, 1, 1]);
    let (control, _) = blocking(control, Control::next).await;
    let neighbours = [embed(&engine, [2, 2, 2]), embed(&engine, [3, 3, 3])];
    waiting(&engine, 2).await;
    let (_control, batches) = blocking(control, |control| {
        control.say(Verdict::Encode);
        [Verdict::Fail, Verdict::Fail, Verdict::Encode].map(|verdict| {
            let batch = control.next();
            control.say(verdict);
            batch
        })
    })
    .await;
    assert_eq!(batches, [Batch::Images(2), Batch::Images(1), Batch::Images(1)]);
    held.await.unwrap().unwrap();
    let mut outcomes = Vec::new();
    for neighbour in neighbours {
        outcomes.push(neighbour.await.unwrap().map(|_| ()));
    }
    outcomes.sort_by_key(Result::is_ok);
    assert_eq!(outcomes, [Err(EngineError::BackendFailed("inference failed: out of order".into())), Ok(())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panicking_encoder_is_opened_afresh() {
    let (engine, control, hardware) = ready(|_| {}).await;
    control.say(Verdict::Panic);
    let failed = engine.embed_image(picture([1, 1, 1]), None).await.unwrap_err();
    assert!(matches!(failed, EngineError::BackendFailed(_)));
    control.say(Verdict::Encode);
    engine.embed_image(picture([1, 1, 1]), None).await.unwrap();
    assert_eq!(hardware.loads.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_arguments_and_pictures_are_refused() {
    let (engine, control, _) = ready(|settings| settings.server.max_image_pixels = 1000).await;
    let refuse = async |change: fn(&mut ClassifyRequest), part: &str| {
        let mut request = classify(&["red", "blue"]);
        change(&mut request);
        let message = engine.classify(request).await.unwrap_err().to_string();
        assert!(message.contains(part), "{message:?} should contain {part:?}");
    };
    refuse(|r| r.prompts.clear(), "prompts").await;
    refuse(|r| r.prompts = vec!["x".into(); 1001], "1000").await;
    refuse(|r| r.prompts[1] = "x".repeat(10_001), "number 2").await;
    refuse(|r| r.options.templates = vec![PromptTemplate::parse("{}").unwrap(); 2501], "5000").await;
    refuse(|r| r.options.top_k = Some(0), "top_k").await;
    refuse(|r| r.options.threshold = Some(f32::NAN), "threshold").await;
    refuse(|r| r.options.logit_scale = Some(-1.0), "logit_scale").await;
    refuse(|r| r.options.logit_scale = Some(f32::INFINITY), "logit_scale").await;
    refuse(|r| r.options.timeout = Some(Duration::ZERO), "timeout").await;

    let bad = engine.embed_image(Bytes::from_static(b"no picture"), None).await.unwrap_err();
    assert_eq!(bad, EngineError::InvalidImage);
    let mut big = Cursor::new(Vec::new());
    image::RgbImage::new(100, 100).write_to(&mut big, image::ImageFormat::Png).unwrap();
    let big = engine.embed_image(big.into_inner().into(), None).await.unwrap_err();
    assert!(matches!(big, EngineError::TooLarge(_)), "{big:?}");
    assert_eq!(engine.queue_depth(), 0);
    control.say(Verdict::Encode);
    engine.embed_image(picture([1, 1, 1]), None).await.unwrap();
}

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
