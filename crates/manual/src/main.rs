//! Writes the man pages and the shell completions, `manual MAN-DIR COMPLETION-DIR`, and the pages of `docs/`
//! that come from the same sources, `manual --docs DIR`.
//!
//! Nothing in them is said twice: command lines come from the programs themselves, the configuration's
//! keys from the packaged file's comments, the bus interface from its introspection file. What only a
//! manual says stands in `man/`.

mod configuration;
mod interface;
mod page;
mod program;

use std::{
    env,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap_complete::{Shell, generate_to};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let written = match arguments.as_slice() {
        [option, docs] if option == "--docs" => write_docs(Path::new(docs)),
        [man, completions] => write(Path::new(man), Path::new(completions)),
        _ => {
            eprintln!("usage: manual MAN-DIR COMPLETION-DIR\n       manual --docs DIR");
            return ExitCode::from(2);
        }
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("manual: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The text of one of the repository's files.
fn read(path: &str) -> io::Result<String> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    fs::read_to_string(file).map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))
}

fn write_docs(docs: &Path) -> io::Result<()> {
    fs::create_dir_all(docs)?;
    let page = configuration::markdown(&read("man/configuration.md")?, &read("config/hailo-clip.yaml")?);
    fs::write(docs.join("configuration.md"), page)
}

fn write(man: &Path, completions: &Path) -> io::Result<()> {
    fs::create_dir_all(man)?;
    fs::create_dir_all(completions)?;
    for (name, page) in [
        ("hailo-clip.1", program::page(hailo_clip::cli::command(), "1") + &read("man/hailo-clip.1")?),
        ("hailo-clipd.8", program::page(hailo_clip::daemon::command(), "8") + &read("man/hailo-clipd.8")?),
        (
            "hailo-clip.yaml.5",
            configuration::page(&read("config/hailo-clip.yaml")?) + &read("man/hailo-clip.yaml.5")?,
        ),
        (
            "org.hailo.Clip1.5",
            interface::page(&read("dbus/org.hailo.Clip1.xml")?) + &read("man/org.hailo.Clip1.5")?,
        ),
    ] {
        fs::write(man.join(name), page)?;
    }
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut hailo_clip::cli::command(), "hailo-clip", completions)?;
    }
    Ok(())
}
