//! Any text has tokens between start-of-text and end-of-text.
#![no_main]

use std::sync::LazyLock;

use hailo_clip::clip::Tokenizer;
use libfuzzer_sys::fuzz_target;

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    let json = include_bytes!("../../tests/fixtures/clip-tokenizer/tokenizer.json");
    Tokenizer::from_json(json, 77).expect("the fixture is a tokenizer")
});

fuzz_target!(|text: &str| {
    if let Ok(tokens) = TOKENIZER.encode(text) {
        let ids = tokens.ids();
        assert!((2..=77).contains(&ids.len()));
        assert_eq!(ids.iter().position(|id| *id == 49407), Some(ids.len() - 1));
    } else {
        assert!(text.len() > Tokenizer::MAX_TEXT_BYTES);
    }
});
