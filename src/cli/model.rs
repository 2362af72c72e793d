//! `hailo-clip model`: what models there are, and what becomes of them.
//!
//! The service has polkit decide who may; nothing is decided here.

use std::collections::HashMap;

use clap::{Args, Subcommand};
use serde::Serialize;
use zbus::OwnedVariant;

use super::{
    Exit, Failure,
    client::Client,
    console::{Console, escape, json_line},
    import::{self, Import},
    jobs::{Description, Ended, Order},
};
use crate::model::megabytes;

/// What to do with models.
#[derive(Debug, Subcommand)]
pub(super) enum Model {
    /// List models that are installed, and those of the catalogue.
    List(List),
    /// Show what is known of a model: licence, source, files, hardware.
    Show(Show),
    /// Fetch a model of the catalogue.
    ///
    /// It is fetched by the service, for the CPU and for this machine's NPU. Ctrl-C cancels it; what has come is
    /// kept, and the next pull goes on from there.
    Pull(Named),
    /// Make a model of files: an ONNX pair with its tokenizer, a folder of these, or HEFs for a model that is
    /// installed.
    ///
    /// What the files do not say is asked for on a terminal; elsewhere the error names the option to give.
    Import(Box<Import>),
    /// Check all files of an installed model, by size and SHA-256.
    Verify(Named),
    /// Take an installed model into service for good, without a failed request.
    ///
    /// It stays the model after a restart, until clip.model of the configuration file is changed.
    Use(Named),
    /// Remove a model that was fetched or imported.
    Remove(Named),
    /// Take an installed model into service until the next reload or restart.
    ///
    /// The configuration file and the choice of "model use" stay as they are: a reload or a restart goes back to
    /// their model.
    Load(Load),
    /// Release the model's memory and the device until the next request needs them.
    ///
    /// Other programs can use the device meanwhile.
    Unload,
}

/// Arguments of `hailo-clip model load`.
#[derive(Debug, Args)]
pub(super) struct Load {
    /// Name of the model; without one, the model that was released is taken again.
    #[arg(value_name = "NAME", default_value = "", hide_default_value = true)]
    name: String,
}

/// Arguments of `hailo-clip model list`.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Arguments of `hailo-clip model show`.
#[derive(Debug, Args)]
pub(super) struct Show {
    /// Name of the model.
    #[arg(value_name = "NAME")]
    name: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A model by name.
#[derive(Debug, Args)]
pub(super) struct Named {
    /// Name of the model.
    #[arg(value_name = "NAME")]
    name: String,
}

pub(super) async fn run(command: Model, client: &Client, console: &mut Console) -> Result<Exit, Failure> {
    match command {
        Model::List(List { json }) => list(json, client, console).await,
        Model::Show(Show { name, json }) => show(&name, json, client, console).await,
        Model::Pull(Named { name }) => tell(client.job(Order::Pull(&name)).await?, console),
        Model::Import(arguments) => import::run(*arguments, client, console).await,
        Model::Verify(Named { name }) => tell(client.job(Order::Verify(&name)).await?, console),
        Model::Use(Named { name }) => {
            let way = match client.use_model(&name).await?.as_str() {
                "in place" => "; memory does not hold two models, so requests waited while it was loaded",
                _ => "; the old one served until it was loaded",
            };
            console.print(&format!("{} is in service, now and after a restart{way}\n", escape(&name)))?;
            Ok(Exit::Success)
        }
        Model::Remove(Named { name }) => {
            client.remove_model(&name).await?;
            console.print(&format!("{} is removed\n", escape(&name)))?;
            Ok(Exit::Success)
        }
        Model::Load(Load { name }) => {
            client.load_model(&name).await?;
            let name = client.model().await?;
            console.print(&format!("{} is in service\n", escape(&name)))?;
            Ok(Exit::Success)
        }
        Model::Unload => {
            client.unload_model().await?;
            console.print("the model is released; the next request loads it again\n")?;
            Ok(Exit::Success)
        }
    }
}

/// Tells how a job ended.
pub(super) fn tell(ended: Ended, console: &mut Console) -> Result<Exit, Failure> {
    match ended {
        Ended::Done(message) => {
            // Each thing that there is to tell on a line of its own.
            let lines: String = message.split("; ").map(|line| format!("{}\n", escape(line))).collect();
            console.print(&lines)?;
            Ok(Exit::Success)
        }
        Ended::Failed(message, _) => {
            console.complain(escape(&message));
            Ok(Exit::Unanswered)
        }
        Ended::Interrupted => {
            console.complain("cancelled");
            Ok(Exit::Interrupted)
        }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    r#where: &'a str,
    state: &'a str,
    size: Option<u64>,
    precision: Option<String>,
    platforms: Vec<String>,
    compatible: bool,
}

async fn list(json: bool, client: &Client, console: &mut Console) -> Result<Exit, Failure> {
    let mut rows = Vec::new();
    for (name, place, state, compatible) in client.models().await? {
        // One that is damaged is listed all the same.
        let description = client.describe_model(&name).await.unwrap_or_default();
        rows.push((
            name,
            place,
            state,
            compatible,
            number(&description, "size"),
            text(&description, "precision"),
            texts(&description, "platforms"),
        ));
    }
    if json {
        for (name, place, state, compatible, size, precision, platforms) in &rows {
            let line = Line {
                name,
                r#where: place,
                state,
                size: *size,
                precision: precision.clone(),
                platforms: platforms.clone(),
                compatible: *compatible,
            };
            console.print(&json_line(&line))?;
        }
        return Ok(Exit::Success);
    }
    let width = rows.iter().map(|row| row.0.len()).max().unwrap_or(0).max(4);
    console.print(&format!(
        "{:width$}  {:9}  {:10}  {:>8}  {:9}  RUNS ON\n",
        "NAME", "WHERE", "STATE", "SIZE", "PRECISION"
    ))?;
    for (name, place, state, compatible, size, precision, platforms) in rows {
        let size = size.map_or_else(|| "?".to_owned(), megabytes);
        let note = if compatible { "" } else { " (not on this machine)" };
        let runs_on = platforms.join(", ");
        console.print(&format!(
            "{:width$}  {place:9}  {state:10}  {size:>8}  {:9}  {}{note}\n",
            escape(&name),
            escape(precision.as_deref().unwrap_or("?")),
            escape(&runs_on)
        ))?;
    }
    Ok(Exit::Success)
}

async fn show(name: &str, json: bool, client: &Client, console: &mut Console) -> Result<Exit, Failure> {
    let description = client.describe_model(name).await?;
    let facts: Vec<(&str, String)> =
        ["where", "state", "description", "license", "source", "incomplete", "precision"]
            .into_iter()
            .filter_map(|key| Some((key, text(&description, key)?)))
            .collect();
    let numbers: Vec<(&str, u64)> = ["embedding_dimension", "image_size", "context_length", "size"]
        .into_iter()
        .filter_map(|key| Some((key, number(&description, key)?)))
        .collect();
    let (platforms, aliases) = (texts(&description, "platforms"), texts(&description, "aliases"));
    let files = files(&description);
    if json {
        let mut object = serde_json::Map::new();
        object.insert("name".to_owned(), name.into());
        object.extend(facts.into_iter().map(|(key, text)| (key.to_owned(), text.into())));
        object.extend(numbers.into_iter().map(|(key, number)| (key.to_owned(), number.into())));
        object.insert("platforms".to_owned(), platforms.into());
        object.insert("aliases".to_owned(), aliases.into());
        let files: Vec<_> = files
            .into_iter()
            .map(|(file, size, sha256)| serde_json::json!({"file": file, "size": size, "sha256": sha256}))
            .collect();
        object.insert("files".to_owned(), files.into());
        console.print(&json_line(&object))?;
        return Ok(Exit::Success);
    }
    let mut page = format!("{}\n", escape(name));
    let lists = [("runs on", platforms.join(", ")), ("also called", aliases.join(", "))];
    let numbers = numbers
        .into_iter()
        .map(|(key, number)| (key, if key == "size" { megabytes(number) } else { number.to_string() }));
    for (key, value) in facts.into_iter().chain(numbers).chain(lists).filter(|(_, value)| !value.is_empty()) {
        page += &format!("  {:20} {}\n", key.replace('_', " "), escape(&value));
    }
    for (file, size, sha256) in files {
        let size = if size == 0 { "size not known yet".to_owned() } else { format!("{size} bytes") };
        let sha256 = if sha256.is_empty() { "SHA-256 not known yet" } else { &sha256 };
        page += &format!("  {:20} {size}, {}\n", escape(&file), escape(sha256));
    }
    console.print(&page)?;
    Ok(Exit::Success)
}

fn value<T: TryFrom<OwnedVariant>>(description: &Description, key: &str) -> Option<T> {
    description.get(key)?.try_clone().ok()?.try_into().ok()
}

fn text(description: &HashMap<String, OwnedVariant>, key: &str) -> Option<String> {
    value(description, key)
}

fn number(description: &HashMap<String, OwnedVariant>, key: &str) -> Option<u64> {
    value(description, key)
}

fn texts(description: &HashMap<String, OwnedVariant>, key: &str) -> Vec<String> {
    value(description, key).unwrap_or_default()
}

fn files(description: &HashMap<String, OwnedVariant>) -> Vec<(String, u64, String)> {
    value(description, "files").unwrap_or_default()
}
