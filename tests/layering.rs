//! The layers of the design: a module imports only what stands above it.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// From the top down; each layer with those of its own height that it may not import either.
const LAYERS: [&[&str]; 11] = [
    &["yaml", "https", "kernel"],
    &["clip"],
    &["model"],
    &["config"],
    &["generator"],
    &["backend"],
    &["engine"],
    &["dbus", "http"],
    &["daemon"],
    &["doctor"],
    &["cli"],
];

/// What must not be named although it stands above.
const FORBIDDEN: [(&str, &str); 2] = [("dbus", "backend"), ("http", "backend")];

fn height(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The top-level modules of this crate that a source file names.
fn imports(source: &str) -> Vec<String> {
    let file = syn::parse_file(source).expect("the sources compile");
    let mut found = Modules(Vec::new());
    syn::visit::Visit::visit_file(&mut found, &file);
    found.0
}

struct Modules(Vec<String>);

impl<'ast> syn::visit::Visit<'ast> for Modules {
    /// Unit tests may reach down: an engine's test double is a backend.
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let test = syn::parse_quote!(#[cfg(test)]);
        if !module.attrs.contains(&test) {
            syn::visit::visit_item_mod(self, module);
        }
    }

    fn visit_use_tree(&mut self, tree: &'ast syn::UseTree) {
        if let syn::UseTree::Path(path) = tree
            && path.ident == "crate"
        {
            collect(&path.tree, &mut self.0);
        }
        syn::visit::visit_use_tree(self, tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let mut segments = path.segments.iter();
        if segments.next().is_some_and(|first| first.ident == "crate") {
            self.0.extend(segments.next().map(|segment| segment.ident.to_string()));
        }
        syn::visit::visit_path(self, path);
    }
}

fn collect(tree: &syn::UseTree, into: &mut Vec<String>) {
    match tree {
        syn::UseTree::Path(path) => into.push(path.ident.to_string()),
        syn::UseTree::Name(name) => into.push(name.ident.to_string()),
        syn::UseTree::Rename(rename) => into.push(rename.ident.to_string()),
        syn::UseTree::Group(group) => group.items.iter().for_each(|tree| collect(tree, into)),
        syn::UseTree::Glob(_) => {}
    }
}

/// Why `importer` may not import `imported`, if it may not.
fn violation(importer: &str, imported: &str) -> Option<String> {
    if importer == imported {
        return None;
    }
    let (Some(from), Some(to)) = (height(importer), height(imported)) else {
        return Some(format!("{importer} → {imported}: not in the table of layers"));
    };
    if to >= from || FORBIDDEN.contains(&(importer, imported)) {
        return Some(format!("{importer} → {imported}"));
    }
    None
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_module_imports_only_what_stands_above_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut violations = Vec::new();
    let mut checked = 0;
    for file in sources(&src) {
        let inside = file.strip_prefix(&src).unwrap();
        let top = inside.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        if matches!(top, "lib" | "bin") {
            continue;
        }
        checked += 1;
        for imported in imports(&fs::read_to_string(&file).unwrap()) {
            violations.extend(violation(top, &imported).map(|v| format!("{}: {v}", inside.display())));
        }
    }
    assert!(checked > 20, "only {checked} files were found");
    assert!(violations.is_empty(), "{violations:#?}");
}

#[test]
fn the_programs_only_delegate() {
    let bin = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin");
    for file in sources(&bin) {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= 20, "{} has {lines} lines", file.display());
    }
}

#[test]
fn unsafe_code_stays_where_it_is_allowed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert!(fs::read_to_string(root.join("src/lib.rs")).unwrap().contains("#![forbid(unsafe_code)]"));
}

#[test]
fn violations_are_seen() {
    let source = "use crate::{clip::Embedding, http}; fn f() { crate::daemon::main(); }
        #[cfg(test)] mod tests { use crate::cli; } mod inner { use crate::model; }";
    assert_eq!(imports(source), ["clip", "http", "daemon", "model"]);
    assert_eq!(violation("engine", "clip"), None);
    assert!(violation("clip", "engine").is_some());
    assert!(violation("http", "dbus").is_some());
    assert!(violation("http", "backend").is_some());
    assert!(violation("engine", "doctor").is_some());
}
