//! How fast this node pulls, by the layers of the largest image that came from a registry.

use super::{
    facts::Connectivity,
    registry::{Rate, Reference, Registry, Unfetched},
};

/// How many images are tried, besides those that their registry does not have.
const TRIES: usize = 3;

/// How fast this node pulls; or why that is unknown. Each reference has the size of its image.
pub(super) async fn line(
    connectivity: &Connectivity,
    architecture: &str,
    mut references: Vec<(u64, Reference)>,
) -> Result<Rate, String> {
    references.sort_by_key(|(size, _)| std::cmp::Reverse(*size));
    let mut unknown = "none of the images came from a registry".to_owned();
    let mut tries = 0;
    for (_, reference) in &references {
        let by_another_way = match (reference.is_local(), reference.is_of_docker_hub()) {
            (false, _) if connectivity.has_proxy() => Some("a proxy"),
            (false, true) if connectivity.has_mirror() => Some("a mirror"),
            _ => None,
        };
        let rate = match by_another_way {
            Some(way) => Err(format!("the engine reaches {} by {way}, which is not measured", reference.host).into()),
            None => Registry::new(reference).rate(architecture).await,
        };
        match rate {
            Ok(rate) => return Ok(rate),
            Err(Unfetched::Absent(reason)) => unknown = reason,
            Err(Unfetched::Failed(reason)) => {
                (unknown, tries) = (reason, tries + 1);
                if tries == TRIES {
                    break;
                }
            }
        }
    }
    Err(unknown)
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, SocketAddr},
        sync::{Arc, Mutex},
    };

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// A registry that answers everything so. Returns the paths that it is asked for.
    async fn registry(status: &'static str) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let requests = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 4096];
                let length = stream.read(&mut head).await.unwrap();
                let text = String::from_utf8_lossy(&head[..length]);
                requests.lock().unwrap().push(text.split(' ').nth(1).unwrap().to_owned());
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        (address, seen)
    }

    async fn asked(status: &'static str) -> (usize, String) {
        let (address, seen) = registry(status).await;
        let reference = |n: u64| (n, Reference::parse(&format!("{address}/image{n}@sha256:0f")).unwrap());
        let reason = line(&Connectivity::default(), "amd64", (0..5).map(reference).collect()).await.unwrap_err();
        let seen = seen.lock().unwrap();
        assert_eq!(seen[0], "/v2/image4/manifests/sha256:0f", "the largest one first");
        (seen.len(), reason.replace(&address.to_string(), "REGISTRY"))
    }

    #[tokio::test]
    async fn an_image_that_its_registry_does_not_have_is_no_try() {
        assert_eq!(asked("404 No").await, (5, "the registry REGISTRY answers 404 Not Found".to_owned()));
        assert_eq!(asked("401 No").await.0, 5);
        assert_eq!(asked("500 No").await.0, TRIES);
    }
}
