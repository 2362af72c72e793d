//! Brings a folder's index up to date.

use std::{
    fs::File,
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use futures_util::{StreamExt, stream};
use nix::fcntl::OFlag;

use super::{
    Folder, Options, Stamp,
    index::{Anew, Entry, Index, Outcome},
    place::Place,
    plan::{Plan, plan},
};
use crate::cli::{
    Failure,
    client::{Client, Encoder, ServiceError},
    console::{Console, escape, reason},
    patience::{Listener, Patience},
    progress::Progress,
};

/// Answers after which the disk has to have them.
const SYNC_EVERY: usize = 256;

/// How often a file that is being written is read, before it is left for the next run.
const READS: usize = 3;

/// How often the service may change its model in one run.
const ENCODERS: usize = 3;

/// Asks the service for the embeddings that the index of `root` lacks. What is done is kept, whatever ends
/// the run.
pub(in crate::cli) async fn update(
    root: &Path,
    recursive: bool,
    options: &Options,
    client: &Client,
    console: &mut Console,
) -> Result<Folder, Failure> {
    let name = escape(&root.display().to_string());
    let trouble = |error: io::Error| Failure::Input(format!("{name}: {}", reason(&error)));
    let folder = root.canonicalize().map_err(trouble)?;
    let place = Place::take(&folder, || {
        console.complain(format!("{name}: another hailo-clip works on this folder; waiting for it"));
    })
    .await?;

    let start = Progress::new("", 0);
    let mut encoder = Patience::new(client, &start).ask(Client::encoder).await?;
    drop(start);
    let (mut index, anew) = Index::open(place, &folder, &encoder, options.reindex).map_err(index_trouble)?;
    match anew {
        Some(Anew::OtherEncoder(old)) => {
            console.complain(format!("{name} was indexed with {old}; indexing it anew with {encoder}"));
        }
        Some(Anew::Damaged) => {
            console.complain(format!("the index of {name} is not readable; indexing it anew"));
        }
        Some(Anew::First) | None => {}
    }
    for _ in 0..ENCODERS {
        let plan = plan(root, recursive, &index);
        if plan.found == 0 {
            // Rather a disk that is not mounted than a folder that has been emptied: the index stays.
            let mut problems = plan.unlisted.into_iter().map(|(path, problem)| {
                Failure::Input(format!("{}: {problem}", escape(&root.join(path).display().to_string())))
            });
            let none = || Failure::Input(format!("{name}: no pictures in this folder"));
            return Err(problems.next().unwrap_or_else(none));
        }
        let run = Run { root, client, jobs: options.jobs };
        match run.work(plan, &mut index).await? {
            Ended::Complete(mut failures) => {
                index.sync().map_err(index_trouble)?;
                failures.sort();
                let failures =
                    failures.into_iter().map(|(path, problem)| (root.join(path), problem)).collect();
                return Ok(Folder { root: root.to_owned(), recursive, index, failures });
            }
            Ended::OtherEncoder(new) => {
                console
                    .complain(format!("the service changed from {encoder} to {new}; indexing {name} anew"));
                index.restart(&new).map_err(index_trouble)?;
                encoder = new;
            }
        }
    }
    Err(ServiceError::Failed("it changes its model again and again".to_owned()).into())
}

fn index_trouble(error: io::Error) -> Failure {
    Failure::Input(format!("cannot write the index: {}", reason(&error)))
}

/// How a run ended.
enum Ended {
    /// Everything has been asked; these have no embedding.
    Complete(Vec<(PathBuf, String)>),
    /// The service has another model or backend than at the beginning.
    OtherEncoder(Encoder),
}

/// What became of one picture.
enum Answer {
    Entry(Entry),
    /// It has none now; the next run asks again.
    Failed(String),
    /// It is no longer there.
    Gone,
}

struct Run<'a> {
    root: &'a Path,
    client: &'a Client,
    jobs: usize,
}

impl Run<'_> {
    async fn work(&self, plan: Plan, index: &mut Index) -> Result<Ended, Failure> {
        // First the new names: if this ends in between, a picture is there twice and not lost.
        for (path, entry) in plan.moved {
            index.put(&path, entry).map_err(index_trouble)?;
        }
        for path in &plan.gone {
            index.remove(path).map_err(index_trouble)?;
        }
        let mut failures = plan.refused;
        failures.extend(plan.unlisted);

        let total = plan.ask.len();
        let progress = Progress::new("indexing", total);
        let patience = Patience::new(self.client, &progress);
        let encoder = index.encoder().clone();
        let mut answers = stream::iter(plan.ask)
            .map(|path| self.ask(path, &encoder, &patience))
            .buffer_unordered(self.jobs)
            .enumerate();
        let interrupted = tokio::signal::ctrl_c();
        tokio::pin!(interrupted);
        loop {
            let next = tokio::select! {
                next = answers.next() => next,
                _ = &mut interrupted => {
                    drop(answers);
                    index.sync().map_err(index_trouble)?;
                    let (done, found) = (index.entries().count(), plan.found);
                    return Err(Failure::Interrupted(format!(
                        "{done} of {found} pictures are in the index, the same command goes on from there"
                    )));
                }
            };
            let Some((number, (path, answer))) = next else { break };
            match answer? {
                Ok(Answer::Entry(entry)) => {
                    if let Outcome::Refused(reason) = &entry.outcome {
                        failures.push((path.clone(), reason.clone()));
                    }
                    index.put(&path, entry).map_err(index_trouble)?;
                }
                Ok(Answer::Failed(problem)) => {
                    index.remove(&path).map_err(index_trouble)?;
                    failures.push((path, problem));
                }
                Ok(Answer::Gone) => index.remove(&path).map_err(index_trouble)?,
                Err(encoder) => return Ok(Ended::OtherEncoder(encoder)),
            }
            if number % SYNC_EVERY == SYNC_EVERY - 1 {
                index.sync().map_err(index_trouble)?;
            }
            progress.step();
        }
        Ok(Ended::Complete(failures))
    }

    /// What the service says of one picture, or that it has become another service.
    async fn ask(
        &self,
        path: PathBuf,
        encoder: &Encoder,
        patience: &Patience<'_, Progress>,
    ) -> (PathBuf, Result<Result<Answer, Encoder>, ServiceError>) {
        let answer = self.embed(&self.root.join(&path), encoder, patience).await;
        (path, answer)
    }

    async fn embed(
        &self,
        path: &Path,
        encoder: &Encoder,
        patience: &Patience<'_, Progress>,
    ) -> Result<Result<Answer, Encoder>, ServiceError> {
        for _ in 0..READS {
            let (file, stamp) = match open(path.to_owned()).await {
                Ok(opened) => opened,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ok(Answer::Gone)),
                Err(error) => return Ok(Ok(Answer::Failed(reason(&error)))),
            };
            let answer = patience.ask(async |client| client.embed_image(&file).await).await;
            // Written over or replaced meanwhile: nobody knows what was read.
            if Stamp::of(path).ok() != Some(stamp) {
                continue;
            }
            let outcome = match answer {
                Ok(embedding) if embedding.len() == encoder.dimension as usize => {
                    Outcome::Embedding(embedding.into())
                }
                Ok(_) => return Ok(Err(patience.ask(Client::encoder).await?)),
                Err(error @ (ServiceError::InvalidImage | ServiceError::TooLarge(_))) => {
                    Outcome::Refused(error.to_string())
                }
                Err(error) if error.concerns_all() => return Err(error),
                Err(error) => return Ok(Ok(Answer::Failed(error.to_string()))),
            };
            // Asked after the answer: an embedding of another model is seen for what it is.
            let now = patience.ask(Client::encoder).await?;
            return Ok(if now == *encoder { Ok(Answer::Entry(Entry { stamp, outcome })) } else { Err(now) });
        }
        Ok(Ok(match path.exists() {
            true => Answer::Failed("changes while it is being read; the next run tries again".to_owned()),
            false => Answer::Gone,
        }))
    }
}

/// Opens on a thread of its own, since a file system may keep it waiting.
async fn open(path: PathBuf) -> io::Result<(File, Stamp)> {
    let opening = tokio::task::spawn_blocking(move || {
        // A pipe that has come in place of the picture is not waited for.
        let file = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
        let metadata = file.metadata()?;
        match (metadata.is_file(), metadata.len()) {
            (false, _) => Err(io::Error::other("not a file")),
            (true, 0) => Err(io::Error::other("empty")),
            (true, _) => Ok((file, Stamp::new(&metadata))),
        }
    });
    opening.await.map_err(io::Error::other).flatten()
}

impl Listener for Progress {
    fn waiting(&self, reason: &str) {
        self.say(format!("{reason}; waiting for the service"));
    }

    fn resumed(&self) {
        self.say("the service answers again");
    }
}
