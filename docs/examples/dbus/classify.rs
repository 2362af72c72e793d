//! Ranks prompts for a picture: classify PICTURE PROMPT…
//!
//! Cargo.toml: `zbus = { version = "6", default-features = false, features = ["proxy", "tokio"] }` and
//! `tokio = { version = "1", features = ["macros", "rt-multi-thread"] }`.

use std::{collections::HashMap, env, error::Error, fs::File};

use zbus::{Connection, Fd, OwnedVariant, Variant, proxy};

#[proxy(
    interface = "org.hailo.Clip1",
    default_service = "org.hailo.Clip1",
    default_path = "/org/hailo/Clip1"
)]
trait Clip {
    fn classify_fd(
        &self,
        image: Fd<'_>,
        prompts: &[String],
        options: HashMap<&str, Variant<'_>>,
    ) -> zbus::Result<(Vec<(String, f64)>, HashMap<String, OwnedVariant>)>;

    #[zbus(property)]
    fn state(&self) -> zbus::Result<String>;
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let picture = arguments.next().ok_or("usage: classify PICTURE PROMPT…")?;
    let prompts: Vec<String> = arguments.collect();

    let bus = Connection::system().await?;
    let clip = ClipProxy::new(&bus).await?;
    let file = File::open(picture)?;
    let options = HashMap::from([("top_k", Variant::from(3u32))]);
    match clip.classify_fd(Fd::from(&file), &prompts, options).await {
        Ok((classifications, details)) => {
            for (prompt, score) in classifications {
                println!("{score:.4}\t{prompt}");
            }
            let model: &str = details["model"].downcast_ref()?;
            eprintln!("{model}, service {}", clip.state().await?);
            Ok(())
        }
        Err(zbus::Error::MethodError(name, text, _)) => {
            Err(format!("{name}: {}", text.unwrap_or_default()).into())
        }
        Err(error) => Err(error.into()),
    }
}
