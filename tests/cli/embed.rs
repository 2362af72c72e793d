//! `hailo-clip embed`.

use std::{fs, io::Write, process::Stdio};

use crate::{bus::Finished, fake::Fake};

#[test]
fn plain_lines_name_the_picture_and_its_values() {
    let fake = Fake::start();
    fake.file("a.jpg", "12345");
    fake.file("b c.jpg", "123456");
    let out = fake.run(&["embed", "image", "a.jpg", "b c.jpg"]).success();
    assert_eq!(out, "a.jpg\t5 0.1 -0.25\nb c.jpg\t6 0.1 -0.25\n");
}

#[test]
fn json_lines_carry_dimension_and_model() {
    let fake = Fake::start();
    fake.file("a.jpg", "12345");
    let out = fake.run(&["embed", "image", "a.jpg", "--json"]).success();
    assert_eq!(
        out,
        r#"{"path":"a.jpg","embedding":[5.0,0.1,-0.25],"dimension":3,"model":"fake"}"#.to_owned() + "\n"
    );
    let out = fake.run(&["embed", "text", "a cat", "--json"]).success();
    assert_eq!(
        out,
        r#"{"text":"a cat","embedding":[5.0,0.1,-0.25],"dimension":3,"model":"fake"}"#.to_owned() + "\n"
    );
}

#[test]
fn npy_has_a_row_for_each_picture() {
    let fake = Fake::start();
    fake.file("photos/a.jpg", "12345");
    fake.file("photos/b.jpg", "123456");
    assert_eq!(fake.run(&["embed", "image", "photos", "--npy", "out.npy"]).success(), "");
    let bytes = fs::read(fake.bus.folder.path().join("out.npy")).unwrap();
    let (header, values) = bytes.split_at(128);
    assert!(
        String::from_utf8_lossy(header).contains("'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)")
    );
    let values: Vec<f32> =
        values.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    assert_eq!(values, [5.0, 0.1, -0.25, 6.0, 0.1, -0.25]);
}

#[test]
fn npy_is_not_written_if_a_row_would_be_missing() {
    let fake = Fake::start();
    fake.file("a.jpg", "12345");
    fake.file("b.jpg", "broken");
    fake.file("out.npy", "as before");
    let err = fake.run(&["embed", "image", "a.jpg", "b.jpg", "--npy", "out.npy"]).failure(1);
    assert!(err.contains("b.jpg: not a picture"), "{err}");
    assert!(err.contains("out.npy was not written"), "{err}");
    assert_eq!(fs::read(fake.bus.folder.path().join("out.npy")).unwrap(), b"as before");
}

#[test]
fn npy_that_cannot_be_written_is_named() {
    let fake = Fake::start();
    let err = fake.run(&["embed", "text", "a cat", "--npy", "none/out.npy"]).failure(1);
    assert_eq!(err, "hailo-clip: cannot write none/out.npy: No such file or directory\n");
}

#[test]
fn texts_come_from_arguments_files_and_standard_input() {
    let fake = Fake::start();
    fake.file("texts.txt", "one\n\nthree\n");
    let out = fake.run(&["embed", "text", "a cat", "--file", "texts.txt"]).success();
    assert_eq!(out, "a cat\t5 0.1 -0.25\none\t3 0.1 -0.25\nthree\t5 0.1 -0.25\n");

    let mut child = fake
        .bus
        .command(&["embed", "text", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"four\n").unwrap();
    let out = Finished::from(child.wait_with_output().unwrap()).success();
    assert_eq!(out, "four\t4 0.1 -0.25\n");
}

#[test]
fn many_texts_go_in_several_requests_and_stay_in_order() {
    let fake = Fake::start();
    let texts: Vec<String> = (0..100).map(|number| format!("text {number}")).collect();
    fake.file("texts.txt", texts.join("\n"));
    let out = fake.run(&["embed", "text", "-f", "texts.txt"]).success();
    let names: Vec<&str> = out.lines().map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(names, texts);
    let calls = fake.calls();
    assert!(calls.len() > 1 && calls.iter().all(|call| call.prompts.len() <= 32));
}

#[test]
fn a_text_is_required() {
    let fake = Fake::start();
    fake.run(&["embed", "text"]).failure(2);
    fake.file("blank.txt", "\n \n");
    let err = fake.run(&["embed", "text", "-f", "blank.txt"]).failure(1);
    assert_eq!(err, "hailo-clip: blank.txt: has no lines with text\n");
}
