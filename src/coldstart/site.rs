//! What a run makes in the engine, and how all of it is removed.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::warn;

use super::{
    LABEL,
    build::Build,
    engine::Engine,
    error::ColdstartError,
    group::Group,
    null,
    round::{Current, late},
};

/// How long it is tried to remove what was made.
const CLEARING: Duration = Duration::from_secs(60);

/// What a run has made in the engine.
pub(super) struct Site<'a> {
    pub(super) engine: &'a Engine,
    /// The run.
    pub(super) id: &'a str,
    pub(super) current: Current,
    made: Vec<Made>,
    /// The program that builds an image now.
    builder: Option<Group>,
}

/// An image or a network.
struct Made {
    name: String,
    is_network: bool,
    /// Whether the engine is done with it.
    is_there: bool,
}

impl<'a> Site<'a> {
    pub(super) fn new(engine: &'a Engine, id: &'a str) -> Self {
        Self { engine, id, current: Current::default(), made: Vec::new(), builder: None }
    }

    /// Builds an image.
    pub(super) async fn build(&mut self, build: &Build, name: &str) -> Result<(), ColdstartError> {
        // The program that builds is ended before what it made is removed.
        self.made.push(Made { name: name.to_owned(), is_network: false, is_there: true });
        build.run(self.engine, name, self.id, &mut self.builder).await
    }

    /// Makes an image of one layer, which starts the null image's program.
    pub(super) async fn import(&mut self, name: &str, layer: Vec<u8>) -> Result<(), ColdstartError> {
        self.begin(name, false);
        self.engine.import(name, self.id, layer, null::PROGRAM).await?;
        self.done();
        Ok(())
    }

    /// Makes the network of the containers.
    pub(super) async fn network(&mut self, name: &str) -> Result<(), ColdstartError> {
        self.begin(name, true);
        self.engine.create_network(name, self.id).await?;
        self.done();
        Ok(())
    }

    fn begin(&mut self, name: &str, is_network: bool) {
        self.made.push(Made { name: name.to_owned(), is_network, is_there: false });
    }

    fn done(&mut self) {
        self.made.iter_mut().for_each(|made| made.is_there = true);
    }

    /// Removes everything.
    pub(super) async fn clear(&mut self) {
        if let Some(builder) = self.builder.take() {
            builder.end().await;
        }
        let deadline = Instant::now() + CLEARING;
        while let Err(error) = self.clear_once().await {
            if Instant::now() >= deadline {
                warn!("what has the label {LABEL}={} was left behind: {error}", self.id);
                return;
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn clear_once(&mut self) -> Result<(), ColdstartError> {
        if let Some(name) = self.current.name() {
            if !late(async || self.engine.remove(name).await).await? {
                warn!("the creation of the container {name} was under way: remove it if it appears later");
            }
            self.current = Current::default();
        }
        while let Some(Made { name, is_network, is_there }) = self.made.last() {
            let remove = async || match is_network {
                true => self.engine.remove_network(name).await,
                false => self.engine.remove_image(name).await,
            };
            let _ = if *is_there { remove().await? } else { late(remove).await? };
            self.made.pop();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        path::Path,
        sync::{Arc, Mutex},
    };

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::UnixListener,
    };

    use super::*;

    /// An engine that never finishes an image that it is asked for, unless it is asked to remove it for the third time.
    /// Returns the requests that it gets.
    fn slow_engine(path: &Path) -> Arc<Mutex<Vec<String>>> {
        let listener = UnixListener::bind(path).unwrap();
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let requests = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let requests = Arc::clone(&requests);
                tokio::spawn(async move {
                    let mut head = [0; 4096];
                    let length = stream.read(&mut head).await.unwrap();
                    let text = String::from_utf8_lossy(&head[..length]);
                    let line = text.split(" HTTP").next().unwrap().to_owned();
                    let removals = {
                        let mut requests = requests.lock().unwrap();
                        requests.push(line.clone());
                        requests.iter().filter(|line| line.starts_with("DELETE")).count()
                    };
                    if line.starts_with("POST") {
                        return std::future::pending().await;
                    }
                    let status = if line.starts_with("DELETE") && removals < 3 { "404 No" } else { "200 OK" };
                    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                });
            }
        });
        seen
    }

    #[tokio::test]
    async fn an_image_that_was_being_made_when_the_run_ended_is_removed_when_it_appears() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let requests = slow_engine(&path);
        let engine = Engine::connect(&[path]).await.unwrap();
        let mut site = Site::new(&engine, "1");
        let importing = site.import("regionwatch-null-1", vec![0; 10]);
        assert!(tokio::time::timeout(Duration::from_millis(100), importing).await.is_err());
        site.clear().await;
        let requests = requests.lock().unwrap();
        assert_eq!(&requests[3..], ["DELETE /images/regionwatch-null-1"; 3], "{requests:?}");
    }
}
