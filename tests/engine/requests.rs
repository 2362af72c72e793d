//! Requests, on one processor that takes one batch after the other.

use std::{io::Cursor, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use hailo_clip::{
    clip::{Embedding, PromptTemplate},
    engine::{ClassifyOptions, ClassifyRequest, EngineError},
};

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
async fn no_picture_is_decoded_long_before_its_turn() {
    let (engine, control, _) = ready(|settings| settings.clip.batch_size = 2).await;
    let mut requests = vec![embed(&engine, [1, 2, 3])];
    let (control, first) = blocking(control, Control::next).await;
    assert_eq!(first, Batch::Images(1));
    requests.extend((0..20).map(|shade| embed(&engine, [shade, 2, 3])));
    // The batch that runs and the next one, of two each, are four; one of them runs.
    waiting(&engine, 3).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(engine.jobs_waiting(), 3);
    // One that leaves before it is decoded takes nobody's room.
    requests.pop().unwrap().abort();
    in_flight(&engine, 20).await;
    let answered = tokio::spawn(async move {
        for request in requests {
            request.await.unwrap().unwrap();
        }
    });
    let (_control, ()) = blocking(control, move |control| {
        control.say(Verdict::Encode);
        let mut pictures = 1;
        while pictures < 20 {
            let Batch::Images(count) = control.next() else { panic!("there are pictures alone") };
            pictures += count;
            control.say(Verdict::Encode);
        }
    })
    .await;
    answered.await.unwrap();
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
