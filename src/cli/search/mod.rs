//! `hailo-clip search`: the pictures of a folder that fit a text or another picture best.
//!
//! `ranking` compares embeddings, `shown` writes the result as lines, `sheet` as a page of thumbnails.

mod ranking;
mod sheet;
mod shown;
mod thumbnail;

use std::path::{Path, PathBuf};

use clap::Args;

use self::{
    ranking::{Hit, rank},
    shown::Shape,
};
use super::{
    Exit, Failure,
    client::{Client, Encoder, ServiceError},
    console::{Console, escape},
    folder::{self, Folder},
    patience::Patience,
    pictures::Picture,
    progress::Progress,
};
use crate::clip::Embedding;

const ABOUT_OUTPUT: &str = "\
Output:
  In a terminal a list for each query, best first. A bar starts at the folder's mean score and is full at
  its best. Elsewhere one line for each result: PICTURE<TAB>SCORE<TAB>QUERY, with tabs, line breaks, other
  control characters and backslashes inside a field escaped. Scores are cosines of CLIP embeddings: they rank
  pictures for one query; 0.3 may be a good match for a text, and between pictures a poor one.

Index:
  The folder's embeddings are kept below $XDG_CACHE_HOME/hailo-clip (~/.cache/hailo-clip). A search asks the
  service for pictures that are new or changed alone, and goes on where an interrupted one ended.";

/// Arguments of `hailo-clip search`.
#[derive(Debug, Args)]
#[command(after_help = ABOUT_OUTPUT)]
pub(super) struct Arguments {
    /// Folder whose pictures are searched, its subfolders included.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// What the pictures should show, such as "a dog on a beach"; several are searched for one by one.
    #[arg(required_unless_present = "images", value_name = "QUERY")]
    queries: Vec<String>,
    /// Search for pictures that resemble this one; "-" is standard input.
    #[arg(long = "image", value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// Put each query into this text in place of {}; of several, the mean counts.
    #[arg(long = "template", value_name = "TEMPLATE")]
    templates: Vec<String>,
    /// Show at most so many pictures for each query.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
    /// Leave out pictures with a score below this.
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    min_score: Option<f32>,
    /// Print one JSON object on a line for each result.
    #[arg(long, conflicts_with = "null")]
    json: bool,
    /// Print paths alone, each followed by a null character, as for xargs -0.
    #[arg(short = '0', long)]
    null: bool,
    /// Write a contact sheet instead of lines: a web page or a picture, by the ending (.html, .png).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "null"])]
    sheet: Option<PathBuf>,
    #[command(flatten)]
    options: folder::Options,
}

type Waiting<'a> = Patience<'a, Progress>;

/// What is searched for, and what was found.
struct Found {
    query: String,
    hits: Vec<Hit>,
}

pub(super) async fn run(
    arguments: Arguments,
    client: &Client,
    console: &mut Console,
) -> Result<Exit, Failure> {
    check(&arguments)?;
    // First the queries: a mistake in them is told before hours of indexing.
    let listener = Progress::new("", 0);
    let patience = Patience::new(client, &listener);
    let mut queries = Vec::new();
    for query in &arguments.queries {
        queries.push((query.clone(), embed_query(query, &arguments.templates, &patience).await?));
    }
    for image in &arguments.images {
        let picture = if image == Path::new("-") { Picture::Stdin } else { Picture::File(image.clone()) };
        queries.push((picture.name(), embed_picture(&picture, &patience).await?));
    }
    let asked_of = patience.ask(Client::encoder).await?;
    let folder = folder::update(&arguments.folder, true, &arguments.options, client, console).await?;
    check_same(&asked_of, folder.encoder())?;

    let top = usize::try_from(arguments.top).unwrap_or(usize::MAX);
    let found: Vec<Found> = queries
        .into_iter()
        .map(|(query, embedding)| {
            let hits = rank(&folder, embedding.as_slice(), top, arguments.min_score);
            Found { query, hits }
        })
        .collect();
    if let Some(file) = &arguments.sheet {
        sheet::write(file, found, console).await?;
    } else {
        let shape = Shape::of(arguments.json, arguments.null, console);
        shown::show(&found, shape, folder.encoder(), console)?;
    }
    Ok(if folder.complain(console) { Exit::BadInput } else { Exit::Success })
}

fn check(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.images.iter().filter(|image| *image == Path::new("-")).count() > 1 {
        return Err(Failure::Usage("standard input (-) can be read only once".to_owned()));
    }
    if let Some(query) = arguments.queries.iter().find(|query| query.trim().is_empty()) {
        return Err(Failure::Usage(format!("the query \"{}\" is empty", escape(query))));
    }
    if let Some(template) = arguments.templates.iter().find(|template| !template.contains("{}")) {
        return Err(Failure::Usage(format!("the template \"{}\" lacks {{}}", escape(template))));
    }
    if !arguments.folder.is_dir() {
        let problem = if arguments.folder.exists() { "not a folder" } else { "no such folder" };
        return Err(Picture::File(arguments.folder.clone()).failure(problem));
    }
    arguments.sheet.as_deref().map_or(Ok(()), |file| sheet::format(file).map(drop))
}

/// The direction of a query: of its text, or the mean of the texts that the templates make of it.
async fn embed_query(
    query: &str,
    templates: &[String],
    patience: &Waiting<'_>,
) -> Result<Embedding, Failure> {
    let texts: Vec<String> = if templates.is_empty() {
        vec![query.to_owned()]
    } else {
        templates.iter().map(|template| template.replace("{}", query)).collect()
    };
    let answer = patience.ask(async |client| client.embed_texts(&texts).await).await?;
    let embeddings: Vec<Embedding> =
        answer.iter().map(|values| direction(values)).collect::<Result<_, _>>()?;
    Embedding::mean(&embeddings).map_err(|error| ServiceError::Failed(error.to_string()).into())
}

async fn embed_picture(picture: &Picture, patience: &Waiting<'_>) -> Result<Embedding, Failure> {
    let owned = picture.clone();
    let opening = tokio::task::spawn_blocking(move || owned.open());
    let file = opening.await.unwrap_or_else(|error| Err(picture.failure(error)))?;
    match patience.ask(async |client| client.embed_image(&file).await).await {
        Ok(values) => direction(&values),
        Err(error) if error.exit() == Exit::BadInput => Err(picture.failure(error)),
        Err(error) => Err(error.into()),
    }
}

fn direction(values: &[f32]) -> Result<Embedding, Failure> {
    Embedding::normalize(values).map_err(|error| ServiceError::Failed(error.to_string()).into())
}

fn check_same(query: &Encoder, folder: &Encoder) -> Result<(), Failure> {
    if query == folder {
        return Ok(());
    }
    let problem = format!("it changed from {query} to {folder}; search again");
    Err(ServiceError::Failed(problem).into())
}

impl Folder {
    /// The path of a row, as a person who named the folder would write it.
    fn path_of(&self, below: &Path) -> PathBuf {
        self.root().join(below)
    }
}
