//! The `a{sv}` options of a classification.

use std::{collections::HashMap, fmt, time::Duration};

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};
use zbus::{Signature, Type};

use super::Error;
use crate::{
    clip::PromptTemplate,
    engine::{ClassifyOptions, Explain},
};

const TOP_K: &str = "top_k";
const THRESHOLD: &str = "threshold";
const TEMPLATES: &str = "templates";
const APPLY_SOFTMAX: &str = "apply_softmax";
const LOGIT_SCALE: &str = "logit_scale";
const TIMEOUT_MS: &str = "timeout_ms";
const WARNINGS: &str = "warnings";
const EXPLAIN: &str = "explain";
const KNOWN: [&str; 8] =
    [TOP_K, THRESHOLD, TEMPLATES, APPLY_SOFTMAX, LOGIT_SCALE, TIMEOUT_MS, WARNINGS, EXPLAIN];

/// Options by name, as they came.
pub(super) type Options<'a> = HashMap<&'a str, OptionValue<'a>>;

/// Reads the options; what is left out has the engine's default.
///
/// # Errors
/// An unknown option, or a value of the wrong type, each named.
pub(super) fn parse(options: &Options<'_>) -> Result<ClassifyOptions, Error> {
    let mut parsed = ClassifyOptions::default();
    let (mut warnings, mut explain) = (false, false);
    for (&name, value) in options {
        match name {
            TOP_K => parsed.top_k = Some(value.unsigned(name)?),
            THRESHOLD => parsed.threshold = Some(value.float(name)?),
            TEMPLATES => parsed.templates = value.templates(name)?,
            APPLY_SOFTMAX => parsed.apply_softmax = Some(value.boolean(name)?),
            LOGIT_SCALE => parsed.logit_scale = Some(value.float(name)?),
            TIMEOUT_MS => parsed.timeout = Some(Duration::from_millis(value.unsigned(name)?)),
            WARNINGS => warnings = value.boolean(name)?,
            EXPLAIN => explain = value.boolean(name)?,
            unknown => return Err(unknown_option(unknown)),
        }
    }
    parsed.explain = match (explain, warnings) {
        (true, _) => Explain::Everything,
        (false, true) => Explain::Warnings,
        (false, false) => Explain::Nothing,
    };
    Ok(parsed)
}

fn unknown_option(name: &str) -> Error {
    let nearest = KNOWN
        .into_iter()
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(similarity, _)| *similarity > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    let shown: String = name.chars().take(40).collect();
    Error::InvalidArgument(match nearest {
        Some((_, known)) => format!("unknown option {shown:?}; did you mean {known:?}?"),
        None => format!("unknown option {shown:?}; the options are {}", KNOWN.join(", ")),
    })
}

/// A variant, as far as any option can make use of it.
///
/// zbus's own `Variant` spends dozens of bytes on each element of an array, so that one message
/// with a large byte array for an option would take gigabytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum OptionValue<'a> {
    Boolean(bool),
    Integer(i128),
    Double(f64),
    Strings(Vec<&'a str>),
    /// A type that no option has, by its signature.
    Other(String),
}

impl OptionValue<'_> {
    fn boolean(&self, name: &str) -> Result<bool, Error> {
        match self {
            Self::Boolean(value) => Ok(*value),
            _ => Err(self.mismatch(name, "a boolean")),
        }
    }

    /// Any integer type will do: command line tools write a plain number as `i`.
    fn unsigned<T: TryFrom<i128>>(&self, name: &str) -> Result<T, Error> {
        let expected = "an integer of 0 or more";
        match self {
            Self::Integer(value) => T::try_from(*value).map_err(|_| {
                Error::InvalidArgument(format!("option {name:?} must be {expected}, not {value}"))
            }),
            _ => Err(self.mismatch(name, expected)),
        }
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "scores and scales are single precision, and the engine refuses what is not finite"
    )]
    fn float(&self, name: &str) -> Result<f32, Error> {
        match self {
            Self::Double(value) => Ok(*value as f32),
            Self::Integer(value) => Ok(*value as f32),
            _ => Err(self.mismatch(name, "a number")),
        }
    }

    fn templates(&self, name: &str) -> Result<Vec<PromptTemplate>, Error> {
        let Self::Strings(templates) = self else { return Err(self.mismatch(name, "an array of strings")) };
        templates
            .iter()
            .map(|template| {
                PromptTemplate::parse(template)
                    .map_err(|error| Error::InvalidArgument(format!("option {name:?}: {error}")))
            })
            .collect()
    }

    fn mismatch(&self, name: &str, expected: &str) -> Error {
        let found = match self {
            Self::Boolean(_) => "a boolean",
            Self::Integer(_) => "an integer",
            Self::Double(_) => "a double",
            Self::Strings(_) => "an array of strings",
            Self::Other(signature) => &format!("a value of type '{signature}'"),
        };
        Error::InvalidArgument(format!("option {name:?} must be {expected}, not {found}"))
    }
}

impl Type for OptionValue<'_> {
    const SIGNATURE: &'static Signature = &Signature::Variant;
}

impl<'de: 'a, 'a> Deserialize<'de> for OptionValue<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(VariantVisitor)
    }
}

/// A variant reads as a sequence of its signature and its value.
struct VariantVisitor;

impl<'de> Visitor<'de> for VariantVisitor {
    type Value = OptionValue<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a variant")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut variant: A) -> Result<Self::Value, A::Error> {
        let signature: Signature =
            variant.next_element()?.ok_or_else(|| A::Error::custom("a variant without a signature"))?;
        variant
            .next_element_seed(ValueSeed { signature })?
            .ok_or_else(|| A::Error::custom("a variant without a value"))
    }
}

/// The value of a variant, known by its signature.
struct ValueSeed {
    signature: Signature,
}

impl<'de> DeserializeSeed<'de> for ValueSeed {
    type Value = OptionValue<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        Ok(match &self.signature {
            Signature::Bool => OptionValue::Boolean(bool::deserialize(deserializer)?),
            Signature::U8 => OptionValue::Integer(u8::deserialize(deserializer)?.into()),
            Signature::I16 => OptionValue::Integer(i16::deserialize(deserializer)?.into()),
            Signature::U16 => OptionValue::Integer(u16::deserialize(deserializer)?.into()),
            Signature::I32 => OptionValue::Integer(i32::deserialize(deserializer)?.into()),
            Signature::U32 => OptionValue::Integer(u32::deserialize(deserializer)?.into()),
            Signature::I64 => OptionValue::Integer(i64::deserialize(deserializer)?.into()),
            Signature::U64 => OptionValue::Integer(u64::deserialize(deserializer)?.into()),
            Signature::F64 => OptionValue::Double(f64::deserialize(deserializer)?),
            Signature::Array(element) if *element.signature() == Signature::Str => {
                OptionValue::Strings(Vec::deserialize(deserializer)?)
            }
            other => {
                IgnoredAny::deserialize(deserializer)?;
                OptionValue::Other(other.to_string())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use zbus::{
        Variant,
        wire::{LE, serialized::Context, to_bytes},
    };

    use super::*;

    /// Sends the options through the wire format.
    fn parse_sent(options: &[(&str, Variant<'_>)]) -> Result<ClassifyOptions, Error> {
        let options: HashMap<&str, &Variant<'_>> = options.iter().map(|(name, v)| (*name, v)).collect();
        let sent = to_bytes(Context::new(LE, 0), &options).unwrap();
        let (received, _) = sent.deserialize::<Options<'_>>().unwrap();
        parse(&received)
    }

    fn refusal(name: &str, value: Variant<'_>) -> String {
        match parse_sent(&[(name, value)]).unwrap_err() {
            Error::InvalidArgument(text) => text,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn every_option_arrives() {
        let parsed = parse_sent(&[
            ("top_k", 3u32.into()),
            ("threshold", 0.25f64.into()),
            ("templates", Variant::new(vec!["a photo of a {}", "a {}"])),
            ("apply_softmax", false.into()),
            ("logit_scale", 50.0f64.into()),
            ("timeout_ms", 1500u32.into()),
            ("explain", true.into()),
        ])
        .unwrap();
        assert_eq!(parsed.top_k, Some(3));
        assert_eq!(parsed.threshold, Some(0.25));
        assert_eq!(parsed.templates[1].fill("cat"), "a cat");
        assert_eq!(parsed.apply_softmax, Some(false));
        assert_eq!(parsed.logit_scale, Some(50.0));
        assert_eq!(parsed.timeout, Some(Duration::from_millis(1500)));
        assert_eq!(parsed.explain, Explain::Everything);
        assert_eq!(parse_sent(&[("warnings", true.into())]).unwrap().explain, Explain::Warnings);
    }

    #[test]
    fn nothing_given_is_nothing_chosen() {
        let parsed = parse_sent(&[]).unwrap();
        assert!(parsed.top_k.is_none() && parsed.threshold.is_none() && parsed.templates.is_empty());
        assert!(parsed.apply_softmax.is_none() && parsed.logit_scale.is_none() && parsed.timeout.is_none());
        assert_eq!(parsed.explain, Explain::Nothing);
    }

    #[test]
    fn any_integer_type_is_an_integer() {
        let fives: [Variant<'_>; 7] =
            [5u8.into(), 5i16.into(), 5u16.into(), 5i32.into(), 5u32.into(), 5i64.into(), 5u64.into()];
        for five in fives {
            assert_eq!(parse_sent(&[("top_k", five.clone())]).unwrap().top_k, Some(5), "{five:?}");
            assert_eq!(parse_sent(&[("logit_scale", five)]).unwrap().logit_scale, Some(5.0));
        }
    }

    #[test]
    fn a_wrong_type_is_answered_with_the_option_and_both_types() {
        let wrong: [(&str, Variant<'_>, &str); 7] = [
            ("top_k", "three".into(), "'s'"),
            ("top_k", 3.0.into(), "a double"),
            ("threshold", true.into(), "a boolean"),
            ("templates", "a photo of a {}".into(), "'s'"),
            ("templates", Variant::new(vec![1u8, 2]), "'ay'"),
            ("apply_softmax", 1.into(), "an integer"),
            ("timeout_ms", Variant::new(HashMap::from([("ms", 1u32)])), "'a{su}'"),
        ];
        for (name, value, found) in wrong {
            let text = refusal(name, value);
            assert!(text.contains(name) && text.contains("must be") && text.contains(found), "{text}");
        }
    }

    #[test]
    fn numbers_out_of_range_and_bad_templates_name_the_option() {
        assert!(refusal("top_k", (-1).into()).contains("\"top_k\" must be an integer of 0 or more, not -1"));
        assert!(refusal("timeout_ms", i64::MIN.into()).contains("timeout_ms"));
        assert!(
            refusal("templates", Variant::new(vec!["a photo"])).contains("\"templates\": a prompt template")
        );
    }

    #[test]
    fn an_unknown_option_is_answered_with_the_nearest() {
        assert!(refusal("topk", 5.into()).contains("did you mean \"top_k\"?"));
        assert!(refusal("softmax", true.into()).contains("apply_softmax"));
        assert!(refusal("colour", "red".into()).contains("the options are top_k, "));
        assert!(refusal(&"x".repeat(1000), 1.into()).len() < 200);
    }
}
