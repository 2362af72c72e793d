//! What people are told about a configuration file with mistakes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::Write as _;

use hailo_clip::config;

/// The errors of a file, one a line.
#[track_caller]
fn errors(text: &str) -> String {
    config::parse(text.as_bytes(), "f.yaml").expect_err("this file has a mistake").to_string()
}

#[test]
fn a_misspelt_key_is_answered_with_the_nearest() {
    for (text, expected) in [
        ("clip:\n  modell: demo\n", "f.yaml:2:3: unknown key clip.modell; did you mean clip.model?"),
        ("clip: {batch-size: 4}", "f.yaml:1:8: unknown key clip.batch-size; did you mean clip.batch_size?"),
        ("clip: {Backend: cpu}", "f.yaml:1:8: unknown key clip.Backend; did you mean clip.backend?"),
        ("clip: {port: 80}", "f.yaml:1:8: unknown key clip.port; did you mean server.port?"),
        ("sever: {}", "f.yaml:1:1: unknown section sever; did you mean server?"),
        ("port: 80", "f.yaml:1:1: unknown section port; did you mean server.port?"),
        ("logging: {colour: red}", "f.yaml:1:11: unknown key logging.colour; logging has level, format"),
        (
            "workers: 3",
            "f.yaml:1:1: unknown section workers; there are server, clip, text_embedding, performance, \
             resource_limits, logging",
        ),
        (
            "5000: x",
            "f.yaml:1:1: unknown section 5000; there are server, clip, text_embedding, performance, \
             resource_limits, logging",
        ),
    ] {
        assert_eq!(errors(text), expected);
    }
}

#[test]
fn a_wrong_value_is_answered_with_the_right_ones() {
    for (text, expected) in [
        ("server: {port: 70000}", "server.port is 70000; it must be 0 to 65535"),
        ("server: {port: -1}", "server.port is -1; it must be 0 to 65535"),
        (
            "server: {port: -99999999999999999999}",
            "server.port must be a whole number, 0 to 65535, not the number -1e20",
        ),
        (
            "server: {port: 99999999999999999999999999999999999999999}",
            "server.port must be a whole number, 0 to 65535, not the number 1e41",
        ),
        ("server: {port: http}", "server.port must be a whole number, 0 to 65535, not the text \"http\""),
        ("server: {port: 80.0}", "server.port must be a whole number, 0 to 65535, not the number 80.0"),
        ("server: {port: [80]}", "server.port must be a whole number, 0 to 65535, not a list"),
        ("server: {port: yes}", "server.port must be a whole number, 0 to 65535, not the truth value true"),
        ("server: {host: 5}", "server.host must be text (put it in quotes), not the number 5"),
        ("server: {host: {a: b}}", "server.host must be text, not a section of keys"),
        (
            "server: {api_keys_file: keys}",
            "server.api_keys_file is \"keys\"; it must be a whole path, such as /etc/hailo/hailo-clip.keys",
        ),
        (
            "server: {allowed_hosts: ['a b']}",
            "server.allowed_hosts has \"a b\"; it takes host names and IP addresses, without port",
        ),
        (
            "server: {allowed_hosts: [a.example, A.example]}",
            "server.allowed_hosts has the same entry twice; remove one",
        ),
        ("clip: {backend: gpu}", "clip.backend must be one of auto, hailo, cpu, not the text \"gpu\""),
        (
            "clip: {model: ../x}",
            "clip.model is \"../x\"; a model's name has lower-case letters, digits, '.', '_' and '-'",
        ),
        ("clip: {device: 99}", "clip.device is 99; it must be 0 to 31"),
        ("clip: {apply_softmax: 1}", "clip.apply_softmax must be true or false, not the number 1"),
        ("clip: {logit_scale: .nan}", "clip.logit_scale is NaN; it must be 0.01 to 1000"),
        ("clip: {logit_scale: .inf}", "clip.logit_scale is inf; it must be 0.01 to 1000"),
        (
            "clip: {logit_scale: high}",
            "clip.logit_scale must be a number, 0.01 to 1000, not the text \"high\"",
        ),
        (
            "text_embedding: {mode: eager}",
            "text_embedding.mode must be one of ondemand, precomputed, not the text \"eager\"",
        ),
        ("performance: {request_timeout: 0}", "performance.request_timeout is 0; it must be 0.1 to 3600"),
        (
            "performance: {request_timeout: 1e400}",
            "performance.request_timeout is inf; it must be 0.1 to 3600",
        ),
        (
            "resource_limits: {cpu_quota: 80}",
            "resource_limits.cpu_quota must be auto, or a whole percentage of one core, 5% to 10000%, such as 80% or 400%, not the number 80",
        ),
        ("server: 5", "server must be a section of keys, not the number 5"),
        ("- server", "expected sections of keys such as 'server:', found a list"),
        ("hello", "expected sections of keys such as 'server:', found the text \"hello\""),
    ] {
        let errors = errors(text);
        let (_, message) = errors.split_once(": ").unwrap();
        assert_eq!(message, expected, "{text}");
    }
}

/// Both values end up in unit files, where a line break would be another setting.
#[test]
fn nothing_but_a_limit_is_taken_for_a_limit() {
    for value in [
        "1M",
        "-3G",
        "+3G",
        "3 G",
        "3GB",
        "0",
        "101%",
        "3G\\nExecStart=/bin/sh",
        "",
        "G",
        "99999999999999999999G",
    ] {
        let text = format!("resource_limits: {{memory_max: \"{value}\"}}");
        assert!(errors(&text).contains("resource_limits.memory_max must be a size"), "{value}");
    }
    for value in ["%", "80", "-5%", "+80%", "4%", "10001%", "80%%", "80.5%", "80%\\nUser=root", "80 %"] {
        let text = format!("resource_limits: {{cpu_quota: \"{value}\"}}");
        assert!(errors(&text).contains("resource_limits.cpu_quota must be"), "{value}");
    }
    for value in ["128M", "3g", "50%", "infinity", "4294967296"] {
        config::parse(format!("resource_limits: {{memory_max: {value}}}").as_bytes(), "f.yaml").unwrap();
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_the_files_order() {
    let text = "\
logging:
  level: loud
server:
  port: -1
  prot: 1
clip:
  batch_size: 65
  batch_size: 8
server:
  host: localhost
";
    assert_eq!(
        errors(text),
        "f.yaml:2:10: logging.level must be one of error, warning, info, debug, trace, warn, critical, not the \
         text \"loud\"\n\
         f.yaml:4:9: server.port is -1; it must be 0 to 65535\n\
         f.yaml:5:3: unknown key server.prot; did you mean server.port?\n\
         f.yaml:7:15: clip.batch_size is 65; it must be 1 to 64\n\
         f.yaml:8:3: key clip.batch_size was given on line 7 already; keep one of the two\n\
         f.yaml:9:1: section server was given on line 3 already; keep one of the two"
    );
}

#[test]
fn what_is_no_yaml_is_told_with_its_line() {
    for (text, place) in [
        ("server:\n\tport: 80\n", "f.yaml:2:2: this line is indented with a tab; use spaces"),
        ("server:\n  port: [80\nclip: {}\n", "f.yaml:"),
        ("server:\n  host: \"open\n", "f.yaml:2:"),
        ("server: *nothing\n", "f.yaml:1:"),
        ("server:\n  host: *\n", "f.yaml:2:"),
        ("server:\n  host: 'a\nclip:\n  model: b\n", "f.yaml:"),
        ("server:\n  port: 80\n host: x\n", "f.yaml:3:"),
        ("server:\nport 80\n", "f.yaml:2:"),
        ("resource_limits:\n  cpu_quota: %80\n", "f.yaml:2:"),
        ("resource_limits:\n  cpu_quota: @80\n", "f.yaml:2:"),
        ("server: !!int x\n", "f.yaml:1:"),
        ("server: {}\n---\nclip: {}\n", "f.yaml:3:"),
        ("a: b: c\n", "f.yaml:1:"),
        ("? [server]\n: {}\n", "f.yaml:1:"),
        ("~: {}\n", "f.yaml:1:"),
    ] {
        let errors = errors(text);
        assert!(errors.starts_with(place), "{text:?}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
}

#[test]
fn bytes_that_are_no_text_are_told_with_their_line() {
    let error = config::parse(b"server:\n  host: \xff\xfe\n", "f.yaml").unwrap_err().to_string();
    assert_eq!(error, "f.yaml:2:1: this line is not UTF-8 text; save the file as UTF-8");
}

#[test]
fn anchors_and_aliases_may_be_used() {
    let text =
        "server:\n  allowed_hosts: &hosts [a, b, c, d, e, f, g, h, i, j]\nclip: &clip\n  model: *hosts\n";
    assert_eq!(errors(text), "f.yaml:4:10: clip.model must be text, not a list");
}

/// Each of these is refused with one line. That it is refused by a limit and not after a long time shows in
/// the message.
#[test]
fn hostile_files_are_refused() {
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(laughs, "a{level}: &a{level} [{items}]").unwrap();
    }
    let block: String = (0..300).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    for (text, reason) in [
        (laughs, "more entries, nesting or aliases"),
        ("[".repeat(20_000), ""),
        ("{a: ".repeat(5_000), ""),
        (block, "more entries, nesting or aliases"),
        ("- ".repeat(50_000), ""),
        ("a: &a [*a]\n".to_owned(), ""),
        ("x\n".repeat(5 << 20), "larger than 256 KiB"),
        ("a,".repeat(100_000), ""),
        (format!("[{}]", "a,".repeat(100_000)), "more entries, nesting or aliases"),
        ("server: \0\n".to_owned(), ""),
        ("\0".repeat(1000), ""),
        (format!("{}: x\n", "k".repeat(100_000)), ""),
    ] {
        let start = &text[..text.len().min(20)];
        let errors = errors(&text);
        assert!(errors.contains(reason), "{start:?}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert!(errors.len() < 400, "{errors}");
        assert!(!errors.contains(char::is_control), "{errors:?}");
    }
}

#[test]
fn many_mistakes_do_not_make_an_endless_answer() {
    let text: String = (0..1000).map(|n| format!("key{n}: 1\n")).collect();
    let errors = errors(&text);
    assert_eq!(errors.lines().count(), 21);
    assert!(errors.ends_with("and 980 more"), "{errors}");
}
