//! Any bytes are a picture within the limits, which then fits any encoder, whole or reduced, or an error.
#![no_main]

use hailo_clip::clip::{Draft, Fit, ImageLimits, ImageSpec, Picture};
use libfuzzer_sys::fuzz_target;

const LIMITS: ImageLimits = ImageLimits { max_pixels: 1 << 20 };

fuzz_target!(|file: &[u8]| {
    if let Ok(picture) = Picture::decode(file, &LIMITS) {
        assert!(u64::from(picture.width()) * u64::from(picture.height()) <= LIMITS.max_pixels);
        for fit in [Fit::Stretch, Fit::Crop, Fit::Pad] {
            let spec = ImageSpec { size: 32, fit };
            picture.fit(&spec).expect("a decoded picture fits");
            let draft = Draft::decode(file, &LIMITS, &spec).expect("what is decoded whole is decoded smaller");
            assert_eq!((draft.width(), draft.height()), (picture.width(), picture.height()));
            draft.fit().expect("a draft fits");
        }
    }
});
