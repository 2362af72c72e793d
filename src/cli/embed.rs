//! `hailo-clip embed image` and `hailo-clip embed text`.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use super::{
    Exit, Failure,
    batch::{self, IN_FLIGHT},
    client::{Client, ServiceError},
    console::{Console, escape, json_line, reason},
    export, folder, npy,
    pictures::{self, Picture, Selection},
};

/// Texts in one request: a batch for the service, well below any limit.
const TEXTS_PER_REQUEST: usize = 32;

/// Values of an embedding that a terminal shows.
const PREVIEW: usize = 6;

const ABOUT_OUTPUT: &str = "\
Output:
  One line for each picture or text: NAME<TAB>VALUES, the values separated by blanks, and control
  characters and backslashes in the name escaped (\\t, \\n, \\\\); \"cut -f2\" leaves the bare matrix.
  A terminal shows the first values alone. With --npy, nothing is written unless all went well.";

const ABOUT_FOLDERS: &str = "\
  With -o, a picture that cannot be embedded has no row; it is named at the end, and the exit code is 1.
  The embeddings of folders are kept below $XDG_CACHE_HOME/hailo-clip (~/.cache/hailo-clip): the service is
  asked for new and changed pictures alone, and an interrupted run goes on where it ended.";

/// What to embed.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Embed pictures.
    #[command(after_help = format!("{ABOUT_OUTPUT}\n{ABOUT_FOLDERS}"))]
    Image(ImageArguments),
    /// Embed texts.
    #[command(after_help = ABOUT_OUTPUT)]
    Text(TextArguments),
}

/// Arguments of `hailo-clip embed image`.
#[derive(Debug, Args)]
pub(super) struct ImageArguments {
    /// Pictures, folders, or "-" for a picture on standard input.
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<OsString>,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    format: Format,
    /// Write a file of rows: FILE.npy (with FILE.npy.jsonl, which names its rows), FILE.jsonl or FILE.parquet.
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["json", "npy"])]
    output: Option<PathBuf>,
    #[command(flatten)]
    folders: folder::Options,
}

/// Arguments of `hailo-clip embed text`.
#[derive(Debug, Args)]
pub(super) struct TextArguments {
    /// Texts; a single "-" stands for the lines of standard input.
    #[arg(required_unless_present = "file", value_name = "TEXT")]
    texts: Vec<String>,
    /// File with one text on each line; "-" is standard input.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
struct Format {
    /// Print one JSON object on a line for each picture or text.
    #[arg(long)]
    json: bool,
    /// Write a NumPy file: float32, a row for each picture or text.
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    npy: Option<PathBuf>,
}

/// One line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    item: Item<'a>,
    embedding: &'a [f32],
    dimension: usize,
    model: &'a str,
}

/// What an embedding is of.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Item<'a> {
    Path(&'a str),
    Text(&'a str),
}

pub(super) async fn run(command: Command, client: &Client, console: &mut Console) -> Result<Exit, Failure> {
    match command {
        Command::Image(arguments) => embed_images(arguments, client, console).await,
        Command::Text(arguments) => embed_texts(arguments, client, console).await,
    }
}

async fn embed_images(
    arguments: ImageArguments,
    client: &Client,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let ImageArguments { images, selection, format, output, folders } = arguments;
    if let Some(file) = output {
        return export::run(&images, &selection, &folders, &file, client, console).await;
    }
    let pictures = pictures::find(&images, &selection)?;
    let mut output = Output::new(format, client).await?;
    let exit = batch::for_each(
        pictures,
        console,
        async |image| client.embed_image(image).await,
        |console, picture, embedding| output.put(console, Item::Path(&picture.name()), &embedding),
    )
    .await?;
    output.finish(console, exit)
}

async fn embed_texts(
    arguments: TextArguments,
    client: &Client,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let mut texts = match &arguments.texts[..] {
        [text] if text == "-" => read_lines(Path::new("-"))?,
        _ => arguments.texts,
    };
    if let Some(file) = &arguments.file {
        texts.extend(read_lines(file)?);
    }
    let total = texts.len();
    let mut output = Output::new(arguments.format, client).await?;
    let mut done = 0;
    let mut answers = stream::iter(texts.chunks(TEXTS_PER_REQUEST))
        .map(async |texts| Ok::<_, ServiceError>((texts, client.embed_texts(texts).await?)))
        .buffered(IN_FLIGHT);
    while let Some((texts, embeddings)) = answers.try_next().await? {
        for (text, embedding) in texts.iter().zip(&embeddings) {
            output.put(console, Item::Text(text), embedding)?;
        }
        done += texts.len();
        console.progress(done, total);
    }
    output.finish(console, Exit::Success)
}

/// Where embeddings go, in the order in which they come.
struct Output {
    form: Form,
    dimension: Option<usize>,
}

enum Form {
    Plain,
    Json { model: String },
    Npy { file: PathBuf, values: Vec<f32> },
}

impl Output {
    async fn new(format: Format, client: &Client) -> Result<Self, ServiceError> {
        let form = match format {
            Format { npy: Some(file), .. } => Form::Npy { file, values: Vec::new() },
            Format { json: true, .. } => Form::Json { model: client.model().await? },
            Format { .. } => Form::Plain,
        };
        Ok(Self { form, dimension: None })
    }

    fn put(&mut self, console: &mut Console, item: Item<'_>, embedding: &[f32]) -> Result<(), Failure> {
        let dimension = *self.dimension.get_or_insert(embedding.len());
        if dimension != embedding.len() {
            return Err(ServiceError::Failed("its model changed in between".to_owned()).into());
        }
        match &mut self.form {
            Form::Plain => console.print(&plain(item, embedding, console.is_terminal()))?,
            Form::Json { model } => console.print(&json_line(&Line { item, embedding, dimension, model }))?,
            Form::Npy { values, .. } => values.extend_from_slice(embedding),
        }
        Ok(())
    }

    /// Writes the file, if there is to be one. A row that is missing would put all later ones against the
    /// wrong picture, hence all or nothing.
    fn finish(self, console: &mut Console, exit: Exit) -> Result<Exit, Failure> {
        if let Form::Npy { file, values } = self.form {
            let name = escape(&file.display().to_string());
            if exit == Exit::Success {
                npy::write(&file, &values, self.dimension.unwrap_or(0))
                    .map_err(|error| Failure::Input(format!("cannot write {name}: {}", reason(&error))))?;
            } else {
                console.complain(format!("{name} was not written, since not every picture has an embedding"));
            }
        }
        Ok(exit)
    }
}

fn plain(item: Item<'_>, embedding: &[f32], terminal: bool) -> String {
    let (Item::Path(name) | Item::Text(name)) = item;
    let name = escape(name);
    if terminal {
        let shown: Vec<String> = embedding.iter().take(PREVIEW).map(|value| format!("{value:+.4}")).collect();
        return format!("{name}\n  {} values: {} …\n", embedding.len(), shown.join(" "));
    }
    let values: Vec<String> = embedding.iter().map(f32::to_string).collect();
    format!("{name}\t{}\n", values.join(" "))
}

/// The lines of a file, or of standard input for "-", without blank ones.
pub(super) fn read_lines(path: &Path) -> Result<Vec<String>, Failure> {
    let mut text = String::new();
    let result = if path == Path::new("-") {
        io::stdin().read_to_string(&mut text)
    } else {
        File::open(path).and_then(|mut file| file.read_to_string(&mut text))
    };
    result.map_err(|error| Picture::File(path.to_owned()).failure(reason(&error)))?;
    let lines: Vec<String> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if lines.is_empty() {
        return Err(Picture::File(path.to_owned()).failure("has no lines with text"));
    }
    Ok(lines)
}
