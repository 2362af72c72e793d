//! Compares the declarations of this crate with the header, as a C compiler understands it.

use std::{collections::BTreeSet, fmt::Write, fs, mem::offset_of, path::Path, process::Command};

use crate::{
    ABI, ARCHITECTURE_HAILO8, ARCHITECTURE_HAILO8L, ARCHITECTURE_HAILO10H, Buffer, DeviceId, EXCEPTION,
    FORMAT_AUTO, FORMAT_FLOAT32, FORMAT_UINT8, FORMAT_UINT16, Handle, Health, INPUT, INVALID_ARGUMENT,
    INVALID_HANDLE, Identity, OUT_OF_MEMORY, OUTPUT, Stream, VDeviceParams, Version, load::SIGNATURES,
};

const SHIM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/shim");

/// Has a C compiler check these assertions.
#[track_caller]
fn check(assertions: &str) {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("check.c");
    fs::write(&source, format!("#include \"hailort_shim.h\"\n{assertions}")).unwrap();
    let compiled = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I", SHIM])
        .arg(&source)
        .output()
        .expect("a C compiler is there: \"sudo apt install build-essential\"");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
}

macro_rules! layout {
    ($text:ident, $($type:ident $c:literal { $($field:ident),* $(,)? })*) => {$(
        let (size, align) = (size_of::<$type>(), align_of::<$type>());
        writeln!($text, "_Static_assert(sizeof({0}) == {size} && _Alignof({0}) == {align}, \"{0}\");", $c).unwrap();
        $(
            let (offset, c, field) = (offset_of!($type, $field), $c, stringify!($field));
            writeln!($text, "_Static_assert(offsetof({c}, {field}) == {offset}, \"{c}.{field}\");").unwrap();
        )*
        let fields = [$(stringify!($field)),*].len();
        assert_eq!(fields_in_header($c), fields, "fields of {}", $c);
    )*};
}

fn header() -> String {
    let text = fs::read_to_string(Path::new(SHIM).join("hailort_shim.h")).unwrap();
    // Without comments.
    let mut rest = text.as_str();
    let mut code = String::new();
    while let Some((before, after)) = rest.split_once("/*") {
        code.push_str(before);
        rest = after.split_once("*/").expect("comments end").1;
    }
    code + rest
}

fn fields_in_header(structure: &str) -> usize {
    let header = header();
    let (before, _) = header.split_once(&format!("}} {structure};")).expect("it is declared");
    let (_, fields) = before.rsplit_once('{').expect("it has fields");
    fields.matches(';').count()
}

#[test]
fn structures_are_laid_out_as_in_the_header() {
    let mut text = String::new();
    layout! { text,
        Version "hailort_shim_version" { major, minor, revision }
        DeviceId "hailort_shim_device_id" { id }
        Identity "hailort_shim_identity" { device_id, architecture, firmware, board_name, serial_number }
        Health "hailort_shim_health" { temperature, throttling }
        VDeviceParams "hailort_shim_vdevice_params" { group_id, device_ids, device_count, scheduler }
        Stream "hailort_shim_stream" {
            name, height, width, channels, format_type, format_order, quantization_count, scale, zero_point,
            frame_size,
        }
        Buffer "hailort_shim_buffer" { data, size }
    }
    writeln!(
        text,
        "_Static_assert(sizeof(hailort_shim_handle) == {}, \"hailort_shim_handle\");",
        size_of::<Handle>()
    )
    .unwrap();
    check(&text);
}

#[test]
fn numbers_are_those_of_the_header() {
    let mut text = format!("_Static_assert(HAILORT_SHIM_ABI == {ABI}, \"ABI\");\n");
    let numbers = [
        ("INVALID_HANDLE", INVALID_HANDLE),
        ("INVALID_ARGUMENT", INVALID_ARGUMENT),
        ("EXCEPTION", EXCEPTION),
        ("OUT_OF_MEMORY", OUT_OF_MEMORY),
        ("ARCHITECTURE_HAILO8", ARCHITECTURE_HAILO8),
        ("ARCHITECTURE_HAILO8L", ARCHITECTURE_HAILO8L),
        ("ARCHITECTURE_HAILO10H", ARCHITECTURE_HAILO10H),
        ("INPUT", INPUT),
        ("OUTPUT", OUTPUT),
        ("FORMAT_AUTO", FORMAT_AUTO),
        ("FORMAT_UINT8", FORMAT_UINT8),
        ("FORMAT_UINT16", FORMAT_UINT16),
        ("FORMAT_FLOAT32", FORMAT_FLOAT32),
    ];
    for (name, number) in numbers {
        writeln!(text, "_Static_assert(HAILORT_SHIM_{name} == {number}, \"{name}\");").unwrap();
    }
    check(&text);
}

#[test]
fn functions_have_the_types_of_the_header() {
    let mut text = String::new();
    for (symbol, arguments, result) in SIGNATURES {
        let arguments: Vec<String> = arguments.iter().map(|argument| c_type(argument)).collect();
        let arguments = if arguments.is_empty() { "void".to_owned() } else { arguments.join(", ") };
        let result = c_type(result);
        writeln!(
            text,
            "_Static_assert(_Generic(&{symbol}, {result} (*)({arguments}): 1, default: 0), \"{symbol}\");"
        )
        .unwrap();
    }
    check(&text);
}

#[test]
fn every_function_of_the_header_is_loaded() {
    let header = header();
    let words = header.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '(');
    let declared: BTreeSet<&str> =
        words.filter_map(|word| word.split_once('(')).map(|(name, _)| name).filter(is_ours).collect();
    // `load` itself asks for the ABI, before it relies on any other.
    let loaded = SIGNATURES.iter().map(|(symbol, ..)| *symbol).chain(["hailort_shim_abi"]).collect();
    assert_eq!(declared, loaded);
}

fn is_ours(name: &&str) -> bool {
    name.starts_with("hailort_shim_")
}

/// C's name for a type of this crate.
fn c_type(rust: &str) -> String {
    if let Some(target) = rust.strip_prefix("*const ") {
        return format!("const {} *", c_type(target));
    }
    if let Some(target) = rust.strip_prefix("*mut ") {
        return format!("{} *", c_type(target));
    }
    match rust {
        "c_char" => "char",
        "c_void" => "void",
        "u16" => "uint16_t",
        "u32" => "uint32_t",
        "i32" => "int32_t",
        "Handle" => "hailort_shim_handle",
        "Callback" => "hailort_shim_callback",
        "Version" => "hailort_shim_version",
        "DeviceId" => "hailort_shim_device_id",
        "Identity" => "hailort_shim_identity",
        "Health" => "hailort_shim_health",
        "VDeviceParams" => "hailort_shim_vdevice_params",
        "Stream" => "hailort_shim_stream",
        "Buffer" => "hailort_shim_buffer",
        other => panic!("{other} has no C type here"),
    }
    .to_owned()
}
