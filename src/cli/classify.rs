//! `hailo-clip classify`.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Serialize;

use super::{
    Exit, Failure, batch,
    chart::{Scale, chart},
    client::{Classified, Client},
    console::{Console, escape, json_line},
    embed::read_lines,
    explanation::{self, Explanation, Warning, Warnings},
    pictures::{self, Picture, Selection, has_picture_extension},
    wire::ClassifyOptions,
};

const ABOUT_OUTPUT: &str = "\
Pictures and prompts:
  With -p or --prompts-file, all other arguments are pictures. Without, the first argument is a
  picture, so are those that follow it up to the first that does not exist as a file or folder,
  and the rest are prompts. \"-\" is a picture on standard input, a folder stands for the pictures
  in it.

Output:
  A bar chart for each picture in a terminal. Elsewhere one line for each result, best first:
  PICTURE<TAB>SCORE<TAB>PROMPT, with tabs, line breaks, other control characters and backslashes
  inside a field escaped (\\t, \\n, \\u{1b}, \\\\).
  Scores are probabilities over the prompts; with a single prompt, or with --no-softmax, cosines.

Warnings:
  On standard error, and in --json as \"warnings\": when no prompt clearly wins, when prompts mean the
  same to the model, and when the threshold hides everything. They change neither results nor exit code.";

/// Arguments of `hailo-clip classify`.
#[derive(Debug, Args)]
#[command(
    after_help = ABOUT_OUTPUT,
    override_usage = "hailo-clip classify [OPTIONS] <IMAGE>... [PROMPT]...\n       \
                      hailo-clip classify [OPTIONS] <IMAGE>... --prompt <PROMPT>..."
)]
pub(super) struct Arguments {
    /// Pictures, folders or "-"; then prompts, unless -p or --prompts-file gives them.
    #[arg(value_name = "IMAGE")]
    items: Vec<OsString>,

    /// Prompts that follow each other, such as: -p "a cat" "a dog".
    #[arg(short = 'p', long = "prompt", value_name = "PROMPT", num_args = 1..)]
    prompts: Vec<String>,

    /// File with one prompt on each line; "-" is standard input.
    #[arg(long, value_name = "FILE")]
    prompts_file: Option<PathBuf>,

    /// Show at most so many results for each picture.
    #[arg(short = 'k', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    top_k: Option<u32>,

    /// Leave out results with a score below this.
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    threshold: Option<f64>,

    /// Put each prompt into this text in place of {}; of several, the mean counts.
    #[arg(long = "template", value_name = "TEMPLATE")]
    templates: Vec<String>,

    /// Show cosines instead of probabilities.
    #[arg(long)]
    no_softmax: bool,

    /// Factor on the cosines before the softmax, instead of the model's own.
    #[arg(long, value_name = "FACTOR")]
    logit_scale: Option<f64>,

    /// Show cosines, how far the winner is ahead, and what each template does; elsewhere than in a
    /// terminal the cosine as a fourth column, and the rest with --json.
    #[arg(long)]
    explain: bool,

    /// Say nothing about prompts that do not tell the pictures apart.
    #[arg(long)]
    no_warnings: bool,

    /// Print one JSON object on a line for each picture.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    selection: Selection,
}

/// One line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    path: String,
    classifications: Vec<Ranked<'a>>,
    model: &'a str,
    backend: &'a str,
    inference_time_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    warnings: Option<Vec<Warning<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<Explanation<'a>>,
}

#[derive(Serialize)]
struct Ranked<'a> {
    text: &'a str,
    score: f32,
    rank: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    cosine: Option<f32>,
}

pub(super) async fn run(
    arguments: Arguments,
    client: &Client,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let (items, prompts) = pictures_and_prompts(&arguments)?;
    let pictures = pictures::find(&items, &arguments.selection)?;
    // Said either way, so that the scores do not depend on the service's configuration.
    let apply_softmax = prompts.len() > 1 && !arguments.no_softmax;
    let options = ClassifyOptions {
        top_k: arguments.top_k,
        threshold: arguments.threshold,
        templates: (!arguments.templates.is_empty()).then_some(arguments.templates),
        apply_softmax: Some(apply_softmax),
        logit_scale: arguments.logit_scale,
        timeout_ms: None,
        warnings: (!arguments.no_warnings).then_some(true),
        explain: arguments.explain.then_some(true),
    };
    let explain = arguments.explain;
    let mut warnings = Warnings::new(arguments.no_warnings);
    let scale = if apply_softmax { Scale::Probability } else { Scale::Cosine };

    let mut first = true;
    batch::for_each(
        pictures,
        console,
        async |image| client.classify(image, &prompts, &options).await,
        |console, picture, answer| {
            if !arguments.json {
                warnings.tell(console, picture, &answer.details);
            }
            let text = if arguments.json {
                json(picture, &answer, explain, !arguments.no_warnings)
            } else if console.is_terminal() {
                let gap = if std::mem::take(&mut first) { "" } else { "\n" };
                let cosines = answer.details.cosines.as_deref().filter(|_| explain && scale != Scale::Cosine);
                let chart = chart(&picture.title(), &answer, cosines, scale, console.width());
                let lines = if explain { explanation::lines(&answer.details) } else { String::new() };
                format!("{gap}{chart}{lines}")
            } else {
                plain(picture, &answer, explain)
            };
            Ok(console.print(&text)?)
        },
    )
    .await
}

/// Tells pictures from prompts, as [`ABOUT_OUTPUT`] says.
fn pictures_and_prompts(arguments: &Arguments) -> Result<(Vec<OsString>, Vec<String>), Failure> {
    let mut items = arguments.items.clone();
    let mut prompts = arguments.prompts.clone();
    if let Some(prompt) = prompts.iter().find(|prompt| is_existing_picture(prompt)) {
        return Err(Failure::Usage(format!("\"{}\" is a picture; put pictures before -p", escape(prompt))));
    }
    if items.is_empty() {
        return Err(Failure::Usage(
            "no pictures: name some, or a folder, or - for standard input".to_owned(),
        ));
    }
    if let Some(file) = &arguments.prompts_file {
        if file == Path::new("-") && items.iter().any(|item| item == "-") {
            return Err(Failure::Usage("standard input (-) can be read only once".to_owned()));
        }
        prompts.extend(read_lines(file)?);
    } else if prompts.is_empty() {
        let first_prompt = items
            .iter()
            .skip(1)
            .position(|item| item != "-" && !Path::new(item).exists())
            .map_or(items.len(), |position| position + 1);
        prompts = items.split_off(first_prompt).into_iter().map(prompt).collect::<Result<_, _>>()?;
    }
    if prompts.is_empty() {
        return Err(Failure::Usage(match items.len() {
            1 => "no prompts: give some after the picture, such as \"a cat\" \"a dog\"".to_owned(),
            _ => "no prompts: each argument exists as a file or folder; give prompts with -p".to_owned(),
        }));
    }
    Ok((items, prompts))
}

/// An argument after the pictures, unless it is rather a file name with a typing error.
fn prompt(argument: OsString) -> Result<String, Failure> {
    let looks_like_file = looks_like_file(&argument);
    let text = argument.into_string().map_err(|bytes| {
        Failure::Usage(format!("the prompt \"{}\" is not UTF-8", escape(&bytes.to_string_lossy())))
    })?;
    if !looks_like_file {
        return Ok(text);
    }
    Err(Failure::Usage(if Path::new(&text).exists() {
        format!("\"{}\" comes after the prompts; put pictures first", escape(&text))
    } else {
        format!("\"{}\" looks like a file, but there is none; use -p if it is a prompt", escape(&text))
    }))
}

/// Whether it ends like a picture's name, or is a path; "cats and/or dogs" is neither.
fn looks_like_file(argument: &OsStr) -> bool {
    let text = argument.to_string_lossy();
    let is_path = text.contains('/') && !text.contains(char::is_whitespace);
    has_picture_extension(argument)
        || is_path
        || ["/", "./", "../"].iter().any(|start| text.starts_with(start))
}

fn is_existing_picture(text: &str) -> bool {
    has_picture_extension(OsStr::new(text)) && Path::new(text).exists()
}

fn plain(picture: &Picture, answer: &Classified, explain: bool) -> String {
    let name = escape(&picture.name());
    let mut lines = String::new();
    for (index, (text, score)) in answer.classifications.iter().enumerate() {
        lines += &format!("{name}\t{score:.6}\t{}", escape(text));
        if let Some(cosine) = answer.details.cosine(index).filter(|_| explain) {
            lines += &format!("\t{cosine:.6}");
        }
        lines.push('\n');
    }
    lines
}

fn json(picture: &Picture, answer: &Classified, explain: bool, warn: bool) -> String {
    let details = &answer.details;
    let classifications = answer
        .classifications
        .iter()
        .enumerate()
        .map(|(index, (text, score))| Ranked {
            text,
            score: *score,
            rank: index + 1,
            cosine: details.cosine(index).filter(|_| explain),
        })
        .collect();
    json_line(&Line {
        path: picture.name(),
        classifications,
        model: &details.model,
        backend: &details.backend,
        inference_time_ms: details.inference_time_ms,
        warnings: warn.then(|| explanation::warnings(details)),
        explanation: explain.then(|| Explanation::new(details)),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn split(arguments: &[&str]) -> Result<(Vec<OsString>, Vec<String>), Failure> {
        let command = Command::try_parse_from(["classify"].iter().chain(arguments)).unwrap();
        pictures_and_prompts(&command.arguments)
    }

    fn usage(arguments: &[&str]) -> String {
        match split(arguments) {
            Err(Failure::Usage(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pictures_are_what_exists_up_to_the_first_prompt() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.jpg");
        fs::write(&file, "x").unwrap();
        let (file, folder) = (file.to_str().unwrap(), folder.path().to_str().unwrap());

        let (pictures, prompts) = split(&[file, folder, "-", "a cat", "a dog"]).unwrap();
        assert_eq!(pictures, [file, folder, "-"]);
        assert_eq!(prompts, ["a cat", "a dog"]);
        assert!(usage(&["-", "a cat", file]).contains("put pictures first"));
        assert!(usage(&["-", "-p", "a cat", file]).contains("put pictures before -p"));
        assert!(usage(&[file, folder]).contains("give prompts with -p"));
    }

    #[test]
    fn the_first_argument_is_a_picture_even_if_it_is_missing() {
        let (pictures, prompts) = split(&["missing", "a cat"]).unwrap();
        assert_eq!(pictures, ["missing"]);
        assert_eq!(prompts, ["a cat"]);
    }

    #[test]
    fn with_prompt_options_all_arguments_are_pictures() {
        let (pictures, prompts) =
            split(&["a.jpg", "typo.jpg", "-p", "a cat", "a dog", "-p", "b/c.jpg"]).unwrap();
        assert_eq!(pictures, ["a.jpg", "typo.jpg"]);
        assert_eq!(prompts, ["a cat", "a dog", "b/c.jpg"]);
    }

    #[test]
    fn a_mistyped_file_name_is_no_prompt() {
        for typo in ["dgo.jpg", "holiday photo.PNG", "./photos", "photos/dog", "/tmp/no such folder"] {
            assert!(usage(&["-", typo, "a cat"]).contains("looks like a file"), "{typo}");
        }
        for prompt in ["cats and/or dogs", "v1.5", "a jpg"] {
            assert_eq!(split(&["-", prompt]).unwrap().1, [prompt]);
        }
    }

    #[test]
    fn one_picture_and_nothing_else_lacks_prompts() {
        assert!(usage(&["cat.jpg"]).contains("no prompts"));
    }
}
