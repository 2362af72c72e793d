//! One request for each picture, several in flight, answers in the pictures' order.

use std::fs::File;

use futures_util::{StreamExt, stream};

use super::{Exit, Failure, client::ServiceError, console::Console, pictures::Picture};

/// Requests in flight: enough to keep the service busy while it answers, and no more.
pub(super) const IN_FLIGHT: usize = 4;

/// Asks about each picture and shows the answers in order. A picture that fails is complained about and
/// counts in the result; what would fail for all ends the run.
pub(super) async fn for_each<T>(
    pictures: Vec<Result<Picture, Failure>>,
    console: &mut Console,
    ask: impl AsyncFn(&File) -> Result<T, ServiceError>,
    mut show: impl FnMut(&mut Console, &Picture, T) -> Result<(), Failure>,
) -> Result<Exit, Failure> {
    let total = pictures.len();
    let mut worst = Exit::Success;
    let mut answers = stream::iter(pictures)
        .map(async |picture| {
            let picture = picture?;
            let file = open(&picture).await?;
            let answer = ask(&file).await;
            Ok::<_, Failure>((picture, answer))
        })
        .buffered(IN_FLIGHT)
        .enumerate();
    while let Some((index, answer)) = answers.next().await {
        let failure = match answer {
            Ok((picture, Ok(answer))) => {
                show(console, &picture, answer)?;
                None
            }
            Ok((_, Err(error))) if error.concerns_all() => return Err(error.into()),
            Ok((picture, Err(error))) => Some((error.exit(), picture.failure(error))),
            Err(failure) => Some((Failure::exit(&failure), failure)),
        };
        if let Some((exit, failure)) = failure {
            console.complain(failure);
            worst = worst.max(exit);
        }
        console.progress(index + 1, total);
    }
    Ok(worst)
}

/// Opens on a thread of its own, since a pipe may keep it waiting.
async fn open(picture: &Picture) -> Result<File, Failure> {
    let owned = picture.clone();
    tokio::task::spawn_blocking(move || owned.open())
        .await
        .unwrap_or_else(|error| Err(picture.failure(error)))
}
