use std::fs;

use tempfile::TempDir;

use super::*;

fn encoder(model: &str) -> Encoder {
    Encoder { model: model.to_owned(), digest: String::new(), backend: "cpu".to_owned(), dimension: 2 }
}

fn stamp(size: u64) -> Stamp {
    Stamp { size, seconds: -1, nanoseconds: 999_999_999, inode: u64::MAX }
}

fn embedded(size: u64) -> Entry {
    Entry { stamp: stamp(size), outcome: Outcome::Embedding([0.1, -0.25].into()) }
}

fn open(folder: &TempDir, model: &str) -> (Index, Option<Anew>) {
    let path = folder.path().join("x.index");
    Index::open(Place::at(path), Path::new("/photos"), &encoder(model), false).unwrap()
}

fn paths(index: &Index) -> Vec<&str> {
    index.entries().map(|(path, _)| path.to_str().unwrap()).collect()
}

#[test]
fn what_was_put_is_there_again() {
    let folder = tempfile::tempdir().unwrap();
    let (mut index, anew) = open(&folder, "a");
    assert_eq!(anew, Some(Anew::First));
    let strange = PathBuf::from(OsStr::from_bytes(b"caf\xe9\n.jpg"));
    let refused = Entry { stamp: stamp(7), outcome: Outcome::Refused("not a picture".to_owned()) };
    index.put(&strange, embedded(1)).unwrap();
    index.put(Path::new("b"), refused.clone()).unwrap();
    index.put(Path::new("c"), embedded(3)).unwrap();
    index.put(Path::new("c"), embedded(4)).unwrap();
    index.put(Path::new("d"), embedded(5)).unwrap();
    index.remove(Path::new("d")).unwrap();
    drop(index);

    let (index, anew) = open(&folder, "a");
    assert_eq!(anew, None);
    assert_eq!(index.get(&strange), Some(&embedded(1)));
    assert_eq!(index.get(Path::new("b")), Some(&refused));
    assert_eq!(index.get(Path::new("c")), Some(&embedded(4)));
    assert_eq!(index.entries().count(), 3);
}

/// Wherever a crash cuts the file, what was whole before is there, and the index goes on from it.
#[test]
fn a_record_that_is_not_whole_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let (mut index, _) = open(&folder, "a");
    index.put(Path::new("a"), embedded(1)).unwrap();
    let whole = fs::metadata(&index.place.index).unwrap().len();
    index.put(Path::new("b"), embedded(2)).unwrap();
    drop(index);
    let file = folder.path().join("x.index");
    let bytes = fs::read(&file).unwrap();
    for end in usize::try_from(whole).unwrap()..bytes.len() {
        fs::write(&file, &bytes[..end]).unwrap();
        let (mut index, anew) = open(&folder, "a");
        assert_eq!((anew, paths(&index)), (None, vec!["a"]), "cut at {end}");
        index.put(Path::new("c"), embedded(3)).unwrap();
        drop(index);
        assert_eq!(paths(&open(&folder, "a").0), ["a", "c"], "cut at {end}");
    }
}

#[test]
fn a_flipped_bit_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let (mut index, _) = open(&folder, "a");
    let head = fs::metadata(&index.place.index).unwrap().len();
    index.put(Path::new("a"), embedded(1)).unwrap();
    drop(index);
    let file = folder.path().join("x.index");
    let bytes = fs::read(&file).unwrap();
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 4;
        fs::write(&file, damaged).unwrap();
        let (index, anew) = open(&folder, "a");
        assert_eq!(anew, ((place as u64) < head).then_some(Anew::Damaged), "byte {place}");
        assert!(paths(&index).is_empty(), "byte {place}");
    }
}

#[test]
fn embeddings_of_another_encoder_are_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let (mut index, _) = open(&folder, "a");
    index.put(Path::new("a"), embedded(1)).unwrap();
    drop(index);
    let (index, anew) = open(&folder, "b");
    assert_eq!(anew, Some(Anew::OtherEncoder(encoder("a"))));
    assert!(paths(&index).is_empty());
    drop(index);
    assert_eq!(open(&folder, "b").1, None);
}

/// Indexes of a version that did not know digests are read, and are of another encoder than one that has one.
#[test]
fn a_head_without_a_digest_is_understood() {
    let head = r#"{"format":1,"folder":"/photos","encoder":{"model":"a","backend":"cpu","dimension":2}}"#;
    let head: Head = serde_json::from_str(head).unwrap();
    assert_eq!(head.encoder, encoder("a"));
    assert_ne!(head.encoder, Encoder { digest: "0f".to_owned(), ..encoder("a") });
}

#[test]
fn superseded_records_do_not_pile_up() {
    let folder = tempfile::tempdir().unwrap();
    let (mut index, _) = open(&folder, "a");
    for size in 0..1000 {
        index.put(Path::new("a"), embedded(size)).unwrap();
    }
    drop(index);
    let file = folder.path().join("x.index");
    let long = fs::metadata(&file).unwrap().len();
    let (mut index, _) = open(&folder, "a");
    assert_eq!(index.get(Path::new("a")), Some(&embedded(999)));
    assert!(fs::metadata(&file).unwrap().len() * 10 < long);
    index.put(Path::new("b"), embedded(1)).unwrap();
    drop(index);
    assert_eq!(paths(&open(&folder, "a").0), ["a", "b"]);
}

#[test]
fn the_file_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (index, _) = open(&folder, "a");
    assert_eq!(fs::metadata(&index.place.index).unwrap().permissions().mode() & 0o777, 0o600);
}
