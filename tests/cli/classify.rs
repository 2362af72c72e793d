//! `hailo-clip classify` into a pipe.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    process::Stdio,
    thread,
};

use nix::{sys::stat::Mode, unistd::mkfifo};

use crate::{bus::Finished, fake::Fake};

#[test]
fn prompts_are_ranked_for_a_picture() {
    let fake = Fake::start();
    fake.file("cat.jpg", "a picture");
    let out = fake.run(&["classify", "cat.jpg", "a cat", "a dog"]).success();
    assert_eq!(out, "cat.jpg\t0.500000\ta cat\ncat.jpg\t0.250000\ta dog\n");
    let call = fake.next_call();
    assert_eq!(call.image, b"a picture");
    assert_eq!(call.prompts, ["a cat", "a dog"]);
    assert!(!call.sealed, "a regular file needs no copy");
}

#[test]
fn options_reach_the_service() {
    let fake = Fake::start();
    fake.file("cat.jpg", "a picture");
    let arguments = "classify cat.jpg -k 2 --threshold -0.5 --template {} --template photo:{} --logit-scale 50 \
                     --no-softmax --timeout 20 -p cat dog bird";
    let out = fake.run(&arguments.split_whitespace().collect::<Vec<_>>()).success();
    assert_eq!(out, "cat.jpg\t0.250000\tcat\ncat.jpg\t0.125000\tdog\n");
    let options = fake.next_call().options;
    assert_eq!(options.top_k, Some(2));
    assert_eq!(options.threshold, Some(-0.5));
    assert_eq!(options.templates.unwrap(), ["{}", "photo:{}"]);
    assert_eq!(options.logit_scale, Some(50.0));
    assert_eq!(options.apply_softmax, Some(false));
    assert!((1..=20_000).contains(&options.timeout_ms.unwrap()));
}

#[test]
fn what_is_not_asked_for_is_left_to_the_service() {
    let fake = Fake::start();
    fake.file("cat.jpg", "a picture");
    fake.run(&["classify", "cat.jpg", "a cat", "a dog"]).success();
    let options = fake.next_call().options;
    assert_eq!((options.top_k, options.threshold, options.logit_scale), (None, None, None));
    assert_eq!(options.templates, None);
    assert_eq!(options.apply_softmax, Some(true));
}

#[test]
fn json_is_one_object_for_each_picture() {
    let fake = Fake::start();
    fake.file("a.jpg", "one");
    fake.file("b.jpg", "two");
    let out = fake.run(&["classify", "a.jpg", "b.jpg", "--json", "-p", "a cat", "a dog"]).success();
    let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = |path| {
        serde_json::json!({
            "path": path,
            "classifications": [
                {"text": "a cat", "score": 0.5, "rank": 1},
                {"text": "a dog", "score": 0.25, "rank": 2},
            ],
            "model": "fake",
            "backend": "cpu",
            "inference_time_ms": 12.5,
            "warnings": [],
        })
    };
    assert_eq!(lines, [expected("a.jpg"), expected("b.jpg")]);
}

#[test]
fn answers_come_in_the_order_of_the_pictures() {
    let fake = Fake::start();
    fake.file("1.jpg", "after quick");
    fake.file("2.jpg", "quick");
    let out = fake.run(&["classify", "1.jpg", "2.jpg", "a cat"]).success();
    assert_eq!(out, "1.jpg\t0.250000\ta cat\n2.jpg\t0.250000\ta cat\n");
}

#[test]
fn a_folder_stands_for_its_pictures() {
    let fake = Fake::start();
    for name in ["photos/b.png", "photos/a.jpg", "photos/notes.txt", "photos/2026/c.webp"] {
        fake.file(name, name);
    }
    let paths = |arguments: &[&str]| -> Vec<String> {
        let out = fake.run(&[&["classify", "photos", "a cat"], arguments].concat()).success();
        out.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
    };
    assert_eq!(paths(&[]), ["photos/a.jpg", "photos/b.png"]);
    assert_eq!(paths(&["-r"]), ["photos/2026/c.webp", "photos/a.jpg", "photos/b.png"]);
}

#[test]
fn a_folder_without_pictures_is_told() {
    let fake = Fake::start();
    fake.file("texts/notes.txt", "");
    let err = fake.run(&["classify", "texts", "a cat"]).failure(1);
    assert_eq!(err, "hailo-clip: texts: no pictures in this folder; --recursive looks into its subfolders\n");
}

#[test]
fn one_bad_picture_does_not_stop_the_others() {
    let fake = Fake::start();
    fake.file("a.jpg", "broken");
    fake.file("c.jpg", "fine");
    fake.file("d.jpg", "");
    let finished = fake.run(&["classify", "a.jpg", "missing.jpg", "c.jpg", "d.jpg", "-p", "a cat"]);
    assert_eq!(finished.out, "c.jpg\t0.250000\ta cat\n");
    assert_eq!(
        finished.failure(1),
        "hailo-clip: a.jpg: not a picture that the service can decode (JPEG, PNG, WebP, GIF, BMP, TIFF)\n\
         hailo-clip: missing.jpg: No such file or directory\n\
         hailo-clip: d.jpg: empty\n"
    );
}

#[test]
fn standard_input_may_be_a_pipe() {
    let fake = Fake::start();
    let mut child = fake
        .bus
        .command(&["classify", "-", "a cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"through a pipe").unwrap();
    let out = Finished::from(child.wait_with_output().unwrap()).success();
    assert_eq!(out, "-\t0.250000\ta cat\n");
    let call = fake.next_call();
    assert_eq!(call.image, b"through a pipe");
    assert!(call.sealed);
}

#[test]
fn standard_input_may_be_a_file() {
    let fake = Fake::start();
    let file = File::open(fake.file("cat.jpg", "a picture")).unwrap();
    let output = fake.bus.command(&["classify", "-", "a cat"]).stdin(file).output().unwrap();
    Finished::from(output).success();
    let call = fake.next_call();
    assert_eq!(call.image, b"a picture");
    assert!(!call.sealed);
}

#[test]
fn standard_input_may_be_read_in_part_already() {
    let fake = Fake::start();
    let mut file = File::open(fake.file("both", "headerpicture")).unwrap();
    file.read_exact(&mut [0; 6]).unwrap();
    let output = fake.bus.command(&["classify", "-", "a cat"]).stdin(file).output().unwrap();
    Finished::from(output).success();
    let call = fake.next_call();
    assert_eq!(call.image, b"picture");
    assert!(call.sealed);
}

#[test]
fn an_empty_standard_input() {
    let fake = Fake::start();
    let err = fake.run(&["classify", "-", "a cat"]).failure(1);
    assert_eq!(err, "hailo-clip: standard input: empty\n");
}

#[test]
fn a_named_pipe_is_read_to_its_end() {
    let fake = Fake::start();
    let path = fake.bus.folder.path().join("camera.jpg");
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    let writer = thread::spawn(move || fs::write(path, "from the camera").unwrap());
    fake.run(&["classify", "camera.jpg", "a cat"]).success();
    writer.join().unwrap();
    let call = fake.next_call();
    assert_eq!(call.image, b"from the camera");
    assert!(call.sealed);
}

#[test]
fn prompts_may_come_from_a_file() {
    let fake = Fake::start();
    fake.file("cat.jpg", "a picture");
    fake.file("prompts.txt", "a dog\n\n  a bird \r\n");
    fake.run(&["classify", "cat.jpg", "-p", "a cat", "--prompts-file", "prompts.txt"]).success();
    assert_eq!(fake.next_call().prompts, ["a cat", "a dog", "a bird"]);

    let output = fake
        .bus
        .command(&["classify", "cat.jpg", "--prompts-file", "-"])
        .stdin(File::open(fake.bus.folder.path().join("prompts.txt")).unwrap())
        .output()
        .unwrap();
    Finished::from(output).success();
    assert_eq!(fake.next_call().prompts, ["a dog", "a bird"]);

    let err = fake.run(&["classify", "cat.jpg", "--prompts-file", "none.txt"]).failure(1);
    assert_eq!(err, "hailo-clip: none.txt: No such file or directory\n");
}

#[test]
fn fields_cannot_be_broken_by_what_is_in_them() {
    let fake = Fake::start();
    fake.file("a\nb.jpg", "a picture");
    let out = fake.run(&["classify", "a\nb.jpg", "tab\there", "\x1b[2J"]).success();
    assert_eq!(out, "a\\nb.jpg\t0.500000\ttab\\there\na\\nb.jpg\t0.250000\t\\u{1b}[2J\n");
}

#[test]
fn a_wrong_command_line_is_told_before_anything_is_asked() {
    let fake = Fake::start();
    fake.file("cat.jpg", "a picture");
    for (arguments, message) in [
        (&["cat.jpg"][..], "no prompts"),
        (&["cat.jpg", "dgo.jpg", "a cat"], "\"dgo.jpg\" looks like a file, but there is none"),
        (&["-p", "a cat", "cat.jpg"], "\"cat.jpg\" is a picture; put pictures before -p"),
        (&["-p", "a cat"], "no pictures"),
        (&["-", "-", "a cat"], "standard input (-) can be read only once"),
        (&["-", "--prompts-file", "-"], "standard input (-) can be read only once"),
        (&["cat.jpg", "a cat", "--top-k", "0"], "--top-k"),
        (&["cat.jpg", "a cat", "--timeout", "0"], "--timeout"),
        (&["cat.jpg", "a cat", "--bus", "sytem"], "is no bus; give"),
    ] {
        let err = fake.run(&[&["classify"], arguments].concat()).failure(2);
        assert!(err.contains(message), "{arguments:?}: {err}");
    }
    assert!(fake.calls().is_empty());
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let fake = Fake::start();
    fake.file("cat.jpg", "a picture");
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let output = fake.bus.command(&["classify", "cat.jpg", "a cat"]).stdout(writer).output().unwrap();
    Finished::from(output).success();
}

#[test]
fn a_full_disk_is_a_failure() {
    let fake = Fake::start();
    fake.file("cat.jpg", "a picture");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = fake.bus.command(&["classify", "cat.jpg", "a cat"]).stdout(full).output().unwrap();
    let err = Finished::from(output).failure(1);
    assert_eq!(err, "hailo-clip: cannot write the output: No space left on device\n");
}

#[test]
fn warnings_go_to_standard_error_and_of_the_prompts_once() {
    let fake = Fake::start();
    fake.file("a.jpg", "unclear");
    fake.file("b.jpg", "unclear");
    let finished = fake.run(&["classify", "a.jpg", "b.jpg", "-p", "a cat", "a dog"]);
    assert_eq!(finished.code, Some(0));
    assert_eq!(finished.out.lines().count(), 4);
    assert_eq!(
        finished.err,
        "hailo-clip: a.jpg: warning: no_clear_winner: \\u{1b} so\n\
         hailo-clip: warning: near_duplicates: \\u{1b} so\n\
         hailo-clip: b.jpg: warning: no_clear_winner: \\u{1b} so\n"
    );
    assert_eq!(fake.next_call().options.warnings, Some(true));
    let silent = fake.run(&["classify", "a.jpg", "--no-warnings", "-p", "a cat", "a dog"]).success();
    assert_eq!(silent, "a.jpg\t0.500000\ta cat\na.jpg\t0.250000\ta dog\n");
    let asked = fake.calls().pop().unwrap().options;
    assert_eq!((asked.warnings, asked.explain), (None, None));
}

#[test]
fn an_explanation_has_cosines_margins_and_templates() {
    let fake = Fake::start();
    fake.file("a.jpg", "unclear");
    let arguments = ["classify", "a.jpg", "--explain", "--no-warnings", "-p", "a cat", "a dog"];
    let out = fake.run(&arguments).success();
    assert_eq!(out, "a.jpg\t0.500000\ta cat\t0.250000\na.jpg\t0.250000\ta dog\t0.125000\n");
    assert_eq!(fake.next_call().options.explain, Some(true));
    let out = fake.run(&["classify", "a.jpg", "--explain", "--json", "-p", "a cat", "a dog"]).success();
    let line: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(line["warnings"][1]["code"], "near_duplicates");
    assert_eq!(line["warnings"][0]["message"], "no_clear_winner: \u{1b} so");
    assert_eq!(line["classifications"][1]["cosine"], 0.125);
    assert_eq!(
        line["explanation"],
        serde_json::json!({
            "margin": {"winner": "a cat", "runner_up": "a dog", "cosine": 0.125, "odds": 2.0},
            "near_duplicates": [{"prompts": ["a cat", "a dog"], "cosine": 0.98}],
            "templates": [{"template": "{}", "winner": "a dog", "odds": 1.5}],
        })
    );
}
