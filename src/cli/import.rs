//! `hailo-clip model import`: files of a model, opened here and handed to the service, which cannot see a
//! user's home.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead, IsTerminal, Write},
    path::{Path, PathBuf},
};

use clap::Args;

use super::{
    Exit, Failure,
    client::Client,
    console::{Console, reason},
    jobs::{Ended, Order},
    model::tell,
};
use crate::model::{Bundle, is_bundle_name};

/// Arguments of `hailo-clip model import`.
#[derive(Debug, Args)]
pub(super) struct Import {
    /// A folder as Immich and OpenCLIP (visual/model.onnx, textual/model.onnx) or Transformers
    /// (onnx/vision_model.onnx, onnx/text_model.onnx) have it, or a model bundle with its model.yaml.
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Name of the model; without it, the folder's in lower case.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// ONNX file of the image encoder.
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// ONNX file of the text encoder.
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// The tokenizer.json.
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// HEF of the image encoder for one device, such as hailo8l=FILE; may be given several times.
    #[arg(long, value_name = "DEVICE=FILE", value_parser = hef)]
    image_hef: Vec<(String, PathBuf)>,
    /// HEF of the text encoder for one device.
    #[arg(long, value_name = "DEVICE=FILE", value_parser = hef)]
    text_hef: Vec<(String, PathBuf)>,
    /// Token embedding table of the text encoder's HEF, a NumPy array.
    #[arg(long, value_name = "FILE")]
    token_embedding: Option<PathBuf>,
    /// Text projection of the text encoder's HEF, a NumPy array that multiplies from the right.
    #[arg(long, value_name = "FILE")]
    text_projection: Option<PathBuf>,
    /// Side of the pictures in pixels, if the files do not say.
    #[arg(long, value_name = "PIXELS")]
    size: Option<String>,
    /// How pictures are brought to a square: stretch, crop or pad.
    #[arg(long, value_name = "FIT")]
    fit: Option<String>,
    /// What is subtracted from red, green and blue, after scaling to 0…1.
    #[arg(long, value_name = "R,G,B", allow_hyphen_values = true)]
    mean: Option<String>,
    /// What red, green and blue are divided by.
    #[arg(long, value_name = "R,G,B")]
    std: Option<String>,
    /// Components of an embedding.
    #[arg(long, value_name = "N")]
    dimension: Option<String>,
    /// Longest text in tokens.
    #[arg(long, value_name = "N")]
    context_length: Option<String>,
    /// Token that fills a text up.
    #[arg(long, value_name = "N")]
    pad: Option<String>,
    /// Factor on the cosine.
    #[arg(long, value_name = "X")]
    logit_scale: Option<String>,
    /// Bias of a sigmoid model.
    #[arg(long, value_name = "X", allow_hyphen_values = true)]
    logit_bias: Option<String>,
    /// Licence of the weights, as an SPDX expression.
    #[arg(long, value_name = "SPDX")]
    license: Option<String>,
    /// Where the weights come from.
    #[arg(long, value_name = "TEXT")]
    source: Option<String>,
    /// One sentence about the model.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Another name of the same vectors, such as ViT-B-32__openai, by which Immich asks for them.
    #[arg(long, value_name = "NAME")]
    alias: Option<String>,
}

/// Places of the files within a folder, by who makes such folders; the first that is there is taken.
const PLACES: [(&str, &[&str]); 6] = [
    ("image", &["visual/model.onnx", "onnx/vision_model.onnx", "vision_model.onnx", "image.onnx"]),
    ("text", &["textual/model.onnx", "onnx/text_model.onnx", "text_model.onnx", "text.onnx"]),
    ("tokenizer", &["textual/tokenizer.json", "tokenizer.json"]),
    ("preprocess", &["visual/preprocess_cfg.json", "preprocess_cfg.json", "preprocessor_config.json"]),
    ("config", &["config.json", "open_clip_config.json"]),
    ("tokenizer_config", &["textual/tokenizer_config.json", "tokenizer_config.json"]),
];

pub(super) async fn run(import: Import, client: &Client, console: &mut Console) -> Result<Exit, Failure> {
    let name = import.name()?;
    let files = import.files()?;
    if files.is_empty() {
        return Err(Failure::Usage("give a folder, or --image, --text and --tokenizer, or HEFs".to_owned()));
    }
    let mut options = import.described()?;
    options.extend(import.options());
    loop {
        let opened = files
            .iter()
            .map(|(key, path)| Ok((key.clone(), open(path)?)))
            .collect::<Result<Vec<_>, Failure>>()?;
        let ended = client.job(Order::Import { name: &name, files: &opened, options: &options }).await?;
        let Ended::Failed(message, missing) = &ended else { return tell(ended, console) };
        let Some(option) =
            missing.first().filter(|_| io::stdin().is_terminal() && io::stderr().is_terminal())
        else {
            return tell(ended, console);
        };
        let Some(answer) = ask(message, option) else { return tell(ended, console) };
        options.insert(option.trim_start_matches('-').replace('-', "_"), answer);
    }
}

/// Asks the person at the terminal; `None` if there is no answer.
fn ask(message: &str, option: &str) -> Option<String> {
    let what = message.strip_prefix("the files do not say ").and_then(|rest| rest.split(';').next());
    let _ = write!(io::stderr(), "{} ({option}): ", what.unwrap_or(message));
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).ok()?;
    let answer = line.trim();
    (!answer.is_empty()).then(|| answer.to_owned())
}

impl Import {
    fn name(&self) -> Result<String, Failure> {
        let of_folder = || {
            let folder = self.folder.as_ref()?.canonicalize().ok()?;
            Some(folder.file_name()?.to_str()?.to_lowercase())
        };
        let name = self.name.clone().or_else(of_folder).unwrap_or_default();
        if is_bundle_name(&name) {
            Ok(name)
        } else {
            Err(Failure::Usage(format!("{name:?} is not a model name; give one with --name")))
        }
    }

    /// Every file that was named or is in the folder, by the service's name for it.
    fn files(&self) -> Result<Vec<(String, PathBuf)>, Failure> {
        let mut files = Vec::new();
        if let Some(folder) = &self.folder {
            for (key, places) in PLACES {
                let found = places.iter().map(|place| folder.join(place)).find(|path| path.is_file());
                files.extend(found.map(|path| (key.to_owned(), path)));
            }
            if !files.iter().any(|(key, _)| key == "image" || key == "text") {
                return Err(Failure::Input(format!(
                    "{} has no visual/model.onnx, onnx/vision_model.onnx or image.onnx; give the files with --image, \
                     --text and --tokenizer",
                    folder.display()
                )));
            }
        }
        let named = [
            ("image", &self.image),
            ("text", &self.text),
            ("tokenizer", &self.tokenizer),
            ("token_embedding", &self.token_embedding),
            ("text_projection", &self.text_projection),
        ];
        for (key, path) in named.into_iter().filter_map(|(key, path)| Some((key, path.as_ref()?))) {
            files.retain(|(known, _)| known != key);
            files.push((key.to_owned(), path.clone()));
        }
        for (tower, hefs) in [("image", &self.image_hef), ("text", &self.text_hef)] {
            files.extend(hefs.iter().map(|(device, path)| (format!("{tower}_{device}"), path.clone())));
        }
        // A graph's weights lie beside it under its name.
        let graphs = files.iter().filter(|(key, _)| key == "image" || key == "text");
        let weights: Vec<_> = graphs.flat_map(|(key, path)| weights(key, path)).collect();
        files.extend(weights);
        Ok(files)
    }

    /// What the folder's own `model.yaml` says, where it is a bundle.
    fn described(&self) -> Result<HashMap<String, String>, Failure> {
        let Some(folder) = self.folder.as_ref().filter(|folder| folder.join("model.yaml").is_file()) else {
            return Ok(HashMap::new());
        };
        let unreadable =
            |error: io::Error| Failure::Input(format!("{}: {}", folder.display(), reason(&error)));
        let bundle = Bundle::open(&folder.canonicalize().map_err(unreadable)?)
            .map_err(|error| Failure::Input(error.to_string()))?;
        let channels = |of: [f32; 3]| of.map(|value| value.to_string()).join(",");
        let said = [
            ("size", Some(bundle.image.size.to_string())),
            ("fit", Some(bundle.image.fit.as_str().to_owned())),
            ("mean", Some(channels(bundle.mean))),
            ("std", Some(channels(bundle.std))),
            ("dimension", Some(bundle.embedding_dimension.to_string())),
            ("context_length", Some(bundle.context_length.to_string())),
            ("pad", Some(bundle.pad_token.to_string())),
            ("logit_scale", Some(bundle.logit_scale.to_string())),
            ("logit_bias", bundle.logit_bias.map(|bias| bias.to_string())),
            ("license", Some(bundle.license)),
            ("source", bundle.source),
            ("description", Some(bundle.description)),
            ("alias", bundle.aliases.into_iter().next()),
        ];
        Ok(said.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect())
    }

    fn options(&self) -> HashMap<String, String> {
        [
            ("size", &self.size),
            ("fit", &self.fit),
            ("mean", &self.mean),
            ("std", &self.std),
            ("dimension", &self.dimension),
            ("context_length", &self.context_length),
            ("pad", &self.pad),
            ("logit_scale", &self.logit_scale),
            ("logit_bias", &self.logit_bias),
            ("license", &self.license),
            ("source", &self.source),
            ("description", &self.description),
            ("alias", &self.alias),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)))
        .collect()
    }
}

fn weights(key: &str, graph: &Path) -> Vec<(String, PathBuf)> {
    [".data", "_data"]
        .into_iter()
        .filter_map(|ending| {
            let name = format!("{}{ending}", graph.file_name()?.to_str()?);
            let path = graph.with_file_name(&name);
            path.is_file().then(|| (format!("{key}_data:{name}"), path))
        })
        .collect()
}

fn open(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|error| Failure::Input(format!("{}: {}", path.display(), reason(&error))))
}

fn hef(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((device @ ("hailo8" | "hailo8l" | "hailo10h"), file)) => Ok((device.to_owned(), file.into())),
        _ => Err("give hailo8, hailo8l or hailo10h, '=' and the file".to_owned()),
    }
}
