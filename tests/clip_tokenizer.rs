//! The tokenizer against OpenAI's own, with OpenAI's vocabulary.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test fails by panicking")]

use std::sync::LazyLock;

use hailo_clip::clip::{Tokenizer, TokenizerError};
use proptest::prelude::*;
use serde::Deserialize;

static OPENAI: LazyLock<Tokenizer> = LazyLock::new(|| {
    Tokenizer::from_json(include_bytes!("fixtures/clip-tokenizer/tokenizer.json"), 77).unwrap()
});

#[derive(Deserialize)]
struct Row {
    text: String,
    ids: Vec<u32>,
}

fn ids(text: &str) -> Vec<u32> {
    OPENAI.encode(text).unwrap().ids().to_vec()
}

#[test]
fn agrees_with_openai_id_for_id() {
    let rows: Vec<Row> = serde_json::from_str(include_str!("fixtures/clip-tokenizer/expected.json")).unwrap();
    assert_eq!(rows.len(), 63);
    for row in rows {
        assert_eq!(ids(&row.text), row.ids, "{:?}", row.text);
    }
}

#[test]
fn special_tokens_in_a_text_are_plain_text() {
    let typed = ids("cat<|endoftext|>dog<|startoftext|>");
    assert_eq!(typed.iter().filter(|id| **id >= 49406).count(), 2, "{typed:?}");
}

#[test]
fn cuts_off_after_the_context_with_end_of_text_last() {
    for text in ["word ".repeat(1000), "wörd".repeat(1000), "!?".repeat(3000), "猫".repeat(3000)] {
        let ids = ids(&text);
        assert_eq!((ids.len(), ids[0], ids[76]), (77, 49406, 49407), "{:.20}", text);
    }
    let short = Tokenizer::from_json(include_bytes!("fixtures/clip-tokenizer/tokenizer.json"), 5).unwrap();
    assert_eq!(short.encode("a photo of a cat").unwrap().ids(), [49406, 320, 1125, 539, 49407]);
}

#[test]
fn refuses_texts_that_are_no_prompts() {
    assert!(OPENAI.encode(&"a".repeat(Tokenizer::MAX_TEXT_BYTES)).is_ok());
    let length = Tokenizer::MAX_TEXT_BYTES + 1;
    assert_eq!(OPENAI.encode(&"a".repeat(length)), Err(TokenizerError::TextTooLong { length }));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_has_enclosed_tokens(text in any::<String>()) {
        let ids = ids(&text);
        prop_assert!((2..=77).contains(&ids.len()));
        prop_assert_eq!(ids[0], 49406);
        prop_assert_eq!(ids.iter().position(|id| *id == 49407), Some(ids.len() - 1));
    }
}
