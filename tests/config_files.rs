//! The configuration files that people have: ours, the replaced service's, none, and unreadable ones.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use hailo_clip::config::{self, BackendChoice, KEYS, LogFormat, LogLevel, Settings};

const PACKAGED: &str = include_str!("../config/hailo-clip.yaml");

#[test]
fn the_packaged_file_is_the_defaults() {
    let loaded = config::parse(PACKAGED.as_bytes(), "hailo-clip.yaml").unwrap();
    assert_eq!(loaded.notices, []);
    assert_eq!(loaded.settings, Settings::default());
}

#[test]
fn an_empty_file_is_the_defaults() {
    for text in [
        "",
        "\n",
        "# nothing\n",
        "---\n",
        "---\n...\n",
        "{}",
        "server:\nclip: ~\nlogging: null\n",
        "null",
        "\u{feff}server:\r\n  port: 5000\r\n",
    ] {
        let loaded = config::parse(text.as_bytes(), "test.yaml").unwrap_or_else(|e| panic!("{text:?}: {e}"));
        assert_eq!(loaded.settings, Settings::default(), "{text:?}");
        assert_eq!(loaded.notices, [], "{text:?}");
    }
}

/// Keys that a file has, behind a `# ` or not.
fn mentioned_keys(text: &str) -> BTreeSet<String> {
    let mut section = "";
    let mut keys = BTreeSet::new();
    for line in text.lines() {
        let word =
            |line: &str| line.split_once(':').is_some_and(|(key, _)| !key.is_empty() && !key.contains(' '));
        if !line.starts_with([' ', '#']) && word(line) {
            section = line.split(':').next().unwrap();
        } else if let Some(entry) = line.strip_prefix("  ") {
            let entry = entry.strip_prefix("# ").unwrap_or(entry);
            if word(entry) {
                keys.insert(format!("{section}.{}", entry.split(':').next().unwrap()));
            }
        }
    }
    keys
}

#[test]
fn the_packaged_file_mentions_every_key() {
    let known = KEYS.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let missing: Vec<_> = known.difference(&mentioned_keys(PACKAGED)).cloned().collect();
    assert_eq!(missing, [""; 0]);
}

/// The ranges in the file's comments are those that are enforced.
#[test]
fn the_packaged_file_tells_the_enforced_ranges() {
    let comments =
        PACKAGED.lines().map(|line| line.trim().trim_start_matches('#').trim()).collect::<Vec<_>>().join(" ");
    let mut ranges = 0;
    for key in KEYS {
        let (section, name) = key.split_once('.').unwrap();
        let text = format!("{section}: {{{name}: -1}}");
        let Err(errors) = config::parse(text.as_bytes(), "test.yaml") else {
            panic!("{key} takes -1");
        };
        let message = &errors.0[0].message;
        if let Some((_, range)) =
            message.split_once("it must be ").filter(|(_, range)| range.contains(" to "))
        {
            assert!(comments.contains(range), "{key}: {range} is not in the file");
            ranges += 1;
        }
    }
    assert!(ranges >= 15, "only {ranges} ranges");
}

#[test]
fn the_replaced_services_file_works_unchanged() {
    let loaded = config::load(Path::new("tests/fixtures/replaced-service.yaml")).unwrap();
    assert_eq!(loaded.notices, []);

    let mut expected = Settings::default();
    expected.clip.model = "clip-vit-b-32".to_owned();
    expected.clip.expected_embedding_dimension = Some(512);
    expected.clip.expected_image_size = Some(224);
    expected.clip.batch_size = 1;
    expected.clip.logit_scale = Some(100.0);
    expected.performance.worker_threads = Some(2);
    expected.performance.max_queue_size = 10;
    expected.resource_limits.cpu_quota = Some("80%".to_owned());
    expected.logging.format = LogFormat::Json;
    assert_eq!(loaded.settings, expected);
}

#[test]
fn values_are_read_as_the_replaced_service_read_them() {
    let text = br#"
server: {debug: No, port: "5001"}
clip: {apply_softmax: off, device: [1, 0], backend: CPU, logit_scale: 50}
performance: {warmup_enabled: yes, request_timeout: 2.5, idle_unload_seconds: 600}
resource_limits: {memory_max: 3g, cpu_quota: 150%}
logging: {level: Warning}
"#;
    let loaded = config::parse(text, "test.yaml").unwrap();
    assert_eq!(loaded.notices, []);
    let settings = loaded.settings;
    assert_eq!(settings.server.port, 5001);
    assert!(!settings.clip.apply_softmax);
    assert_eq!(settings.clip.devices, [1, 0]);
    assert_eq!(settings.clip.backend, BackendChoice::Cpu);
    assert_eq!(settings.clip.logit_scale, Some(50.0));
    assert_eq!(settings.performance.warmup_iterations, 3);
    assert_eq!(settings.performance.request_timeout, Duration::from_millis(2500));
    assert_eq!(settings.performance.idle_unload, Some(Duration::from_secs(600)));
    assert_eq!(settings.resource_limits.memory_max, "3G");
    assert_eq!(settings.resource_limits.cpu_quota.as_deref(), Some("150%"));
    assert_eq!(settings.logging.level, LogLevel::Warn);
}

#[test]
fn hosts_become_addresses() {
    for (host, address) in [
        ("localhost", "127.0.0.1"),
        ("'*'", "0.0.0.0"),
        ("'::'", "::"),
        ("::1", "::1"),
        ("192.168.1.4", "192.168.1.4"),
    ] {
        let loaded = config::parse(format!("server: {{host: {host} }}").as_bytes(), "test.yaml").unwrap();
        assert_eq!(loaded.settings.server.host.to_string(), address);
    }
}

#[test]
fn a_key_without_its_old_effect_is_answered() {
    let text = b"server:\n  debug: true\ntext_embedding:\n  mode: precomputed\n";
    let loaded = config::parse(text, "old.yaml").unwrap();
    assert_eq!(loaded.settings.logging.level, LogLevel::Debug);
    let notices: Vec<String> = loaded.notices.iter().map(ToString::to_string).collect();
    assert_eq!(
        notices,
        [
            "old.yaml:2:10: server.debug only sets logging.level to debug; remove it and write 'level: debug' \
             below 'logging:'",
            "old.yaml:4:9: text_embedding.mode has no effect: texts are always embedded on demand and cached; \
             remove the key",
        ]
    );
}

#[test]
fn a_missing_file_is_the_defaults_and_a_notice() {
    let folder = tempfile::tempdir().unwrap();
    let loaded = config::load(&folder.path().join("none.yaml")).unwrap();
    assert_eq!(loaded.settings, Settings::default());
    assert_eq!(loaded.notices.len(), 1);
    assert!(loaded.notices[0].message.contains("no such file"));
}

#[test]
fn an_unreadable_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let error = config::load(folder.path()).unwrap_err();
    assert_eq!(error.0.len(), 1);
    assert!(error.to_string().contains("cannot be read (is a directory)"), "{error}");
}

#[test]
fn a_check_prints_settings_that_can_be_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hailo-clip.yaml");
    fs::write(&file, "server: {debug: yes, host: localhost}\n").unwrap();

    let checked = config::check(&file);
    assert!(checked.ok);
    assert!(
        checked.output.starts_with(&format!("# {}:1:17: server.debug", file.display())),
        "{}",
        checked.output
    );

    let again = config::parse(checked.output.as_bytes(), "again.yaml").unwrap();
    assert_eq!(again.notices, []);
    assert_eq!(again.settings, config::load(&file).unwrap().settings);
}

#[test]
fn a_check_prints_errors_with_their_lines() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hailo-clip.yaml");
    fs::write(&file, "server:\n  prot: 80\n  host: nowhere\n").unwrap();
    let checked = config::check(&file);
    assert!(!checked.ok);
    let path = file.display();
    assert_eq!(
        checked.output,
        format!(
            "{path}:2:3: unknown key server.prot; did you mean server.port?\n\
             {path}:3:9: server.host is \"nowhere\"; it must be an IP address of this machine, localhost, or \
             0.0.0.0 for all\n"
        )
    );
}
