//! What holds for any configuration file.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use hailo_clip::{
    clip::Fit,
    config::{self, BackendChoice, KEYS, LogFormat, LogLevel, Settings, effective_yaml},
};
use proptest::{option, prelude::*, sample::select};

prop_compose! {
    fn any_server(settings: Settings)(
        host in any::<std::net::IpAddr>(),
        port in 1u16..,
        body in 1usize..=256,
        megapixels in 1u64..=400,
        keys in option::of("/[ -~]{0,40}"),
        mut hosts in proptest::collection::vec("[a-z0-9._-]{1,20}", 0..5),
    ) -> Settings {
        hosts.sort();
        hosts.dedup();
        let mut settings = settings.clone();
        settings.server.host = host;
        settings.server.port = port;
        settings.server.max_body_bytes = body << 20;
        settings.server.max_image_pixels = megapixels * 1_000_000;
        settings.server.api_keys_file = keys.map(Into::into);
        settings.server.allowed_hosts = hosts;
        settings
    }
}

prop_compose! {
    fn any_clip(settings: Settings)(
        // Some names would be something else without quotes.
        model in "[a-z0-9][a-z0-9._-]{0,63}|null|true|y|off|auto|007|1e5|0x1f|1\\.5|12-31",
        backend in select(vec![BackendChoice::Auto, BackendChoice::Hailo, BackendChoice::Cpu]),
        devices in proptest::sample::subsequence((0u32..=31).collect::<Vec<_>>(), 1..=4),
        fit in option::of(select(vec![Fit::Stretch, Fit::Crop, Fit::Pad])),
        dimension in option::of(1usize..=8192),
        size in option::of(16u32..=1024),
        batch in 1usize..=64,
        timeout in 100u64..=600_000,
        softmax in any::<bool>(),
        scale in option::of(0.01f32..=1000.0),
        prepack in option::of(any::<bool>()),
    ) -> Settings {
        let mut settings = settings.clone();
        settings.clip = config::Clip {
            model,
            backend,
            devices,
            fit,
            expected_embedding_dimension: dimension,
            expected_image_size: size,
            batch_size: batch,
            device_timeout: Duration::from_millis(timeout),
            apply_softmax: softmax,
            logit_scale: scale,
            prepack_weights: prepack,
        };
        settings
    }
}

prop_compose! {
    fn any_rest(settings: Settings)(
        cache in (any::<bool>(), 1usize..=1_000_000),
        threads in (1usize..=64, option::of(1usize..=256)),
        queue in 1usize..=4096,
        timeout in 0.1f64..=3600.0,
        warmup in 0u32..=100,
        idle in option::of(1u64..=604_800),
        memory in select(vec!["3G", "50%", "infinity", "268435456", "512M"]),
        quota in option::of(5u32..=10_000),
        level in select(vec![LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace]),
        format in select(vec![LogFormat::Text, LogFormat::Json]),
    ) -> Settings {
        let mut settings = settings.clone();
        settings.text_cache = config::TextCache { enabled: cache.0, max_entries: cache.1, persist: !cache.0 };
        settings.performance = config::Performance {
            worker_threads: (threads.0 > 1).then_some(threads.0),
            inference_threads: threads.1,
            max_queue_size: queue,
            request_timeout: Duration::from_secs_f64(timeout),
            warmup_iterations: warmup,
            idle_unload: idle.map(Duration::from_secs),
        };
        settings.resource_limits = config::ResourceLimits {
            memory_max: memory.to_owned(),
            cpu_quota: quota.map(|quota| format!("{quota}%")),
        };
        settings.logging = config::Logging { level, format };
        settings
    }
}

fn any_settings() -> impl Strategy<Value = Settings> {
    any_server(Settings::default()).prop_flat_map(any_clip).prop_flat_map(any_rest)
}

/// A value as people, and their cats, write it.
fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| number.to_string()),
        "[ -~]{0,20}",
        select(vec![
            "~", "yes", "[]", "{}", "[1, 2]", "{a: b}", "&a 1", "*a", "!!int x", "|\n    x", "auto", "<<"
        ])
        .prop_map(str::to_owned),
    ]
}

proptest! {
    #[test]
    fn effective_settings_give_the_same_settings(settings in any_settings()) {
        let yaml = effective_yaml(&settings);
        let loaded = config::parse(yaml.as_bytes(), "effective.yaml");
        let loaded = loaded.map_err(|errors| TestCaseError::fail(format!("{errors}\n{yaml}")))?;
        prop_assert_eq!(loaded.notices, vec![]);
        prop_assert_eq!(loaded.settings, settings, "{}", yaml);
    }

    #[test]
    fn any_bytes_are_settings_or_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Err(errors) = config::parse(&bytes, "f.yaml") {
            prop_assert!(!errors.0.is_empty());
        }
    }

    #[test]
    fn any_text_is_settings_or_an_answer(text in "\\PC{0,200}|[ \\-:{}\\[\\]&*!|>'\"#,?a-c\n\t~<]{0,200}") {
        if let Err(errors) = config::parse(text.as_bytes(), "f.yaml") {
            prop_assert!(errors.0.iter().all(|error| !error.message.contains(char::is_control)), "{errors:?}");
        }
    }

    /// Whatever is accepted can be printed and read again.
    #[test]
    fn any_values_are_settings_or_an_answer(
        entries in proptest::collection::vec((select(KEYS.to_vec()), any_value()), 0..6)
    ) {
        let mut text = String::new();
        for (key, value) in entries {
            let (section, name) = key.split_once('.').unwrap();
            text += &format!("{section}:\n  {name}: {value}\n");
        }
        match config::parse(text.as_bytes(), "f.yaml") {
            Ok(loaded) => {
                let yaml = effective_yaml(&loaded.settings);
                let again = config::parse(yaml.as_bytes(), "effective.yaml").unwrap();
                prop_assert_eq!(again.settings, loaded.settings);
            }
            Err(errors) => {
                let told = errors.to_string();
                prop_assert_eq!(told.lines().count(), errors.0.len(), "{}", told);
            }
        }
    }
}
