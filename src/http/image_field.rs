//! The picture in a JSON body: base64, plain or as a data URI.

use base64::{
    DecodeError, Engine,
    alphabet::{self, Alphabet},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;

use super::error::ApiError;

/// As lenient as Python's `b64decode`, on which clients have come to rely: white space counts for
/// nothing, and what the last character holds beyond the last byte is ignored. Beyond that, padding is
/// optional and the URL-safe alphabet is understood.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

const fn lenient(alphabet: &Alphabet) -> GeneralPurpose {
    GeneralPurpose::new(alphabet, LENIENT)
}

static STANDARD: GeneralPurpose = lenient(&alphabet::STANDARD);
static URL_SAFE: GeneralPurpose = lenient(&alphabet::URL_SAFE);

/// The picture file's bytes.
///
/// # Errors
/// Not base64.
pub(super) fn decode(field: &str) -> Result<Bytes, ApiError> {
    let encoded = match field.strip_prefix("data:") {
        Some(uri) => uri.split_once(',').ok_or_else(ApiError::invalid_image)?.1,
        None => field,
    };
    let image = STANDARD.decode(encoded).or_else(|_| decode_unusual(encoded));
    image.map(Bytes::from).map_err(|_| ApiError::invalid_image())
}

/// What few clients send: white space, or the URL-safe alphabet.
fn decode_unusual(encoded: &str) -> Result<Vec<u8>, DecodeError> {
    let encoded: String = encoded.split_ascii_whitespace().collect();
    let alphabet = if encoded.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    alphabet.decode(encoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_the_same_bytes_is_understood() {
        let image: &[u8] = &[0xfb, 0xef, 0xff, 0x00];
        for field in [
            "++//AA==",
            "++//AA",
            "--__AA==",
            "--__AA",
            "data:image/jpeg;base64,++//AA==",
            "data:;base64,--__AA",
            "++//\r\nAA==\r\n",
            " ++ // AA == ",
            // The last character's spare bits are set.
            "++//AB==",
        ] {
            assert_eq!(decode(field).unwrap(), image, "{field:?}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for field in ["invalid!!!", "A", "++__", "data:image/jpeg;base64", "A===", "=", "AA=A", "Ä"] {
            assert_eq!(decode(field), Err(ApiError::invalid_image()), "{field:?}");
        }
    }
}
