//! Embeddings of pictures as a file of rows: `embed image … -o FILE`.
//!
//! Folders go through their index, single pictures are asked for. A picture without an embedding has no row;
//! it is named, and the exit code tells of it.

mod parquet;

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{
    Exit, Failure, batch,
    client::{Client, Encoder, ServiceError},
    console::{Console, escape, json_line, reason},
    folder::{self, Stamp},
    npy, output,
    pictures::{self, Picture, Selection},
};

/// How the rows are written.
#[derive(Clone, Copy)]
pub(super) enum Format {
    Npy,
    JsonLines,
    Parquet,
}

/// By the file's ending.
pub(super) fn format(file: &Path) -> Result<Format, Failure> {
    match file.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase).as_deref() {
        Some("npy") => Ok(Format::Npy),
        Some("jsonl" | "ndjson") => Ok(Format::JsonLines),
        Some("parquet") => Ok(Format::Parquet),
        _ => Err(Failure::Usage("the output is FILE.npy, FILE.jsonl or FILE.parquet".to_owned())),
    }
}

/// A picture and its embedding.
struct Row {
    path: String,
    /// None for standard input.
    stamp: Option<Stamp>,
    embedding: Box<[f32]>,
}

/// All rows, by one encoder.
struct Table {
    encoder: Encoder,
    rows: Vec<Row>,
}

/// A row as a line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    path: &'a str,
    size: Option<u64>,
    mtime_ns: Option<i64>,
    embedding: &'a [f32],
    dimension: u32,
    model: &'a str,
    backend: &'a str,
}

/// What stands beside a matrix, for each of its rows.
#[derive(Serialize)]
struct Label<'a> {
    row: usize,
    path: &'a str,
    size: Option<u64>,
    mtime_ns: Option<i64>,
    model: &'a str,
    backend: &'a str,
}

impl Row {
    fn size(&self) -> Option<u64> {
        self.stamp.map(|stamp| stamp.size)
    }

    /// Since 1970, as `st_mtim` has it.
    fn mtime_ns(&self) -> Option<i64> {
        let Stamp { seconds, nanoseconds, .. } = self.stamp?;
        seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds.into())
    }
}

/// Embeds what `arguments` name and writes it to `file`.
pub(super) async fn run(
    arguments: &[OsString],
    selection: &Selection,
    options: &folder::Options,
    file: &Path,
    client: &Client,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let format = format(file)?;
    let mut exit = Exit::Success;
    let mut table: Option<Table> = None;
    let mut add = |encoder: &Encoder, rows: &mut dyn Iterator<Item = Row>| match &mut table {
        Some(table) if table.encoder == *encoder => {
            table.rows.extend(rows);
            Ok(())
        }
        Some(table) => Err(changed(&table.encoder, encoder)),
        none => {
            *none = Some(Table { encoder: encoder.clone(), rows: rows.collect() });
            Ok(())
        }
    };
    // Pictures that follow each other are asked for together, in the order of the command line.
    for group in arguments.chunk_by(|a, b| !is_folder(a) && !is_folder(b)) {
        if let [argument] = group
            && is_folder(argument)
        {
            let folder =
                folder::update(Path::new(argument), selection.recursive, options, client, console).await?;
            let mut rows = folder.rows().map(|row| Row {
                path: folder.root().join(row.path).display().to_string(),
                stamp: Some(row.stamp),
                embedding: row.embedding.into(),
            });
            add(folder.encoder(), &mut rows)?;
            if folder.complain(console) {
                exit = Exit::BadInput;
            }
        } else {
            let (encoder, rows, worst) = ask(group, selection, client, console).await?;
            add(&encoder, &mut rows.into_iter())?;
            exit = exit.max(worst);
        }
    }
    let Some(table) = table.filter(|table| !table.rows.is_empty()) else {
        console.complain(format!("{} was not written: no picture has an embedding", title(file)));
        return Ok(exit.max(Exit::BadInput));
    };
    let written = match format {
        Format::Npy => write_npy(file, &table),
        Format::JsonLines => output::write(file, |file| write_lines(file, &table)),
        Format::Parquet => output::write(file, |file| parquet::write(file, &table)),
    };
    written.map_err(|error| Failure::Input(format!("cannot write {}: {}", title(file), reason(&error))))?;
    Ok(exit)
}

fn is_folder(argument: &OsString) -> bool {
    argument != "-" && Path::new(argument).is_dir()
}

fn title(file: &Path) -> String {
    escape(&file.display().to_string())
}

fn changed(from: &Encoder, to: &Encoder) -> Failure {
    ServiceError::Failed(format!("it changed from {from} to {to} in between; run the command again")).into()
}

/// Single pictures, without an index.
async fn ask(
    arguments: &[OsString],
    selection: &Selection,
    client: &Client,
    console: &mut Console,
) -> Result<(Encoder, Vec<Row>, Exit), Failure> {
    let encoder = client.encoder().await?;
    let mut rows = Vec::new();
    let exit = batch::for_each(
        pictures::find(arguments, selection)?,
        console,
        async |image| client.embed_image(image).await,
        |_, picture, embedding| {
            let stamp = match picture {
                Picture::Stdin => None,
                Picture::File(path) => Stamp::of(path).ok(),
            };
            rows.push(Row { path: picture.name(), stamp, embedding: embedding.into() });
            Ok(())
        },
    )
    .await?;
    let now = client.encoder().await?;
    if now == encoder { Ok((encoder, rows, exit)) } else { Err(changed(&encoder, &now)) }
}

fn write_lines(file: &mut File, table: &Table) -> io::Result<()> {
    let mut writer = BufWriter::new(file);
    let Encoder { model, backend, dimension, .. } = &table.encoder;
    for row in &table.rows {
        let line = Line {
            path: &row.path,
            size: row.size(),
            mtime_ns: row.mtime_ns(),
            embedding: &row.embedding,
            dimension: *dimension,
            model,
            backend,
        };
        writer.write_all(json_line(&line).as_bytes())?;
    }
    writer.flush()
}

/// The matrix, and beside it what its rows are of. The labels come first: a matrix never lacks them.
fn write_npy(file: &Path, table: &Table) -> io::Result<()> {
    let Encoder { model, backend, dimension, .. } = &table.encoder;
    output::write(&labels(file), |file| {
        let mut writer = BufWriter::new(file);
        for (number, row) in table.rows.iter().enumerate() {
            let (path, size, mtime_ns) = (&*row.path, row.size(), row.mtime_ns());
            let label = Label { row: number, path, size, mtime_ns, model, backend };
            writer.write_all(json_line(&label).as_bytes())?;
        }
        writer.flush()
    })?;
    let values: Vec<f32> = table.rows.iter().flat_map(|row| row.embedding.iter().copied()).collect();
    npy::write(file, &values, *dimension as usize)
}

/// `photos.npy` has its labels in `photos.npy.jsonl`.
fn labels(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".jsonl");
    name.into()
}
