//! What all commands of operators share: the signed command goes to this instance and to those of all peers.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tokio::task::JoinSet;

use super::{flags::ConfigArgs, source::Source};
use crate::{
    config::{Config, HttpUrl},
    decision::votes::VoteMessage,
    model::{Failure, Host, Region, UnixMillis},
    net::{ApiClient, Resolver, Timestamp, TlsContext, TlsSpec},
    probe::{ProbeSpec, SidecarSpec},
    signing::{Action, COMMAND_HEADER, Command, FailoverTerms, PrivateKey},
    yaml::file,
};

/// How long one instance may take to answer.
const LIMIT: Duration = Duration::from_secs(5);

/// The most bytes of an answer to a command.
const MAX_ANSWER: usize = 64 << 10;

/// The largest file with a key.
const KEY_LIMIT: u64 = 64 << 10;

#[derive(Debug, Args)]
pub(super) struct OperatorArgs {
    /// Your name in `operators` of the instances.
    #[arg(long, value_name = "NAME")]
    operator: String,
    /// File with your private key, as regionwatch keygen creates it.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Where an instance is.
struct Instance {
    region: Region,
    url: HttpUrl,
    tls: TlsSpec,
    /// What its sidecar probe sends too, such as credentials for a proxy before it.
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What an instance answered to a command.
pub(super) struct Answer {
    pub(super) region: Region,
    /// Whether it has carried it out; `None` if nothing is known of the instance.
    pub(super) done: Option<bool>,
    pub(super) said: String,
    /// What it says of itself and its peers, if it was asked for that.
    pub(super) votes: Option<VoteMessage>,
}

impl Answer {
    /// Whether the instance says that it is isolated.
    pub(super) fn is_isolated(&self) -> bool {
        self.votes.as_ref().is_some_and(VoteMessage::isolated)
    }

    #[cfg(test)]
    pub(super) fn new(region: Region, done: Option<bool>, votes: Option<VoteMessage>) -> Self {
        Self { region, done, said: "refused: why".to_owned(), votes }
    }
}

/// Whom a command reaches, and how it is signed.
pub(super) struct Operator {
    name: String,
    key: PrivateKey,
    pub(super) config: Config,
}

impl Operator {
    /// The operator of these arguments.
    ///
    /// # Errors
    /// An error of the configuration, which is one of usage; else what is wrong with the key.
    pub(super) fn new(args: &OperatorArgs) -> Result<Result<Self, String>, String> {
        let config = Source::new(&args.config).load_in_time()?.config;
        Ok(key(&args.key).map(|key| Self { name: args.operator.clone(), key, config }))
    }

    /// The signed command. A statement holds `hold` from now on.
    ///
    /// # Errors
    /// What is wrong with the name of the operator.
    pub(super) fn sign(
        &self,
        region: Option<Region>,
        action: Action,
        failover: Option<FailoverTerms>,
        hold: Option<Duration>,
    ) -> Result<HeaderValue, String> {
        let at = UnixMillis(Timestamp::now().unix_nanos() / 1_000_000);
        let command = Command {
            operator: self.name.clone(),
            environment: self.config.environment.as_ref().map(ToString::to_string).unwrap_or_default(),
            region,
            action,
            failover,
            until: hold.map(|hold| UnixMillis(at.0 + hold.as_millis() as u64)),
            at,
        };
        let text = command.sign(&self.key);
        let text = text.ok_or("--operator or --force: has a control character; write one line of text")?;
        HeaderValue::try_from(text).map_err(|error| error.to_string())
    }

    /// What each instance says of itself and its peers, by its region; `None` if it does not answer.
    ///
    /// # Errors
    /// An instance cannot be addressed at all.
    pub(super) fn votes(&self) -> Result<Vec<(Region, Option<VoteMessage>)>, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|error| error.to_string())?.block_on(async {
            let (resolver, context) = (Resolver::from_system(), TlsContext::default());
            let mut asked = JoinSet::new();
            for (n, Instance { region, url, tls, headers }) in instances(&self.config).into_iter().enumerate() {
                let client = ApiClient::new(&resolver, &url, HeaderMap::from_iter(headers), &tls, &context);
                let client = client.map_err(|error| format!("{url}: {error}"))?;
                asked.spawn(async move { (n, region, votes(&client).await) });
            }
            let mut all = asked.join_all().await;
            all.sort_by_key(|(n, ..)| *n);
            Ok(all.into_iter().map(|(_, region, votes)| (region, votes)).collect())
        })
    }

    /// Sends the command to all instances at once, and then asks each for its votes if `ask` says so.
    ///
    /// # Errors
    /// An instance cannot be addressed at all.
    pub(super) fn send(&self, command: &HeaderValue, ask: bool) -> Result<Vec<Answer>, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|error| error.to_string())?.block_on(async {
            let (resolver, context) = (Resolver::from_system(), TlsContext::default());
            let mut sent = JoinSet::new();
            for (n, Instance { region, url, tls, headers }) in instances(&self.config).into_iter().enumerate() {
                let own = (HeaderName::from_static(COMMAND_HEADER), command.clone());
                let headers = HeaderMap::from_iter(headers.into_iter().chain([own]));
                let client = ApiClient::new(&resolver, &url, headers, &tls, &context);
                let client = client.map_err(|error| format!("{url}: {error}"))?;
                sent.spawn(async move {
                    let answer = give(&client).await;
                    let votes = if ask && answer.is_ok() { votes(&client).await } else { None };
                    let (done, said) =
                        answer.unwrap_or_else(|failure| (None, format!("no answer from {url} ({failure})")));
                    (n, Answer { region, done, said, votes })
                });
            }
            let mut answers = sent.join_all().await;
            answers.sort_by_key(|(n, _)| *n);
            Ok(answers.into_iter().map(|(_, answer)| answer).collect())
        })
    }
}

/// The lines of each instance.
pub(super) fn report(answers: &[Answer]) -> String {
    let mut report = String::new();
    for Answer { region, said, .. } in answers {
        for line in said.split('\n') {
            let _ = writeln!(report, "{region}: {line}");
        }
    }
    report
}

/// Whether an instance has carried out the command, and its answer; or why there is none.
async fn give(client: &ApiClient) -> Result<(Option<bool>, String), Failure> {
    let answer = client.request(Method::POST, "/api/v1/commands", Bytes::new(), LIMIT, MAX_ANSWER).await?;
    let text = String::from_utf8_lossy(&answer.body);
    let mut lines = text.lines().map(|line| line.replace(char::is_control, " "));
    let said = lines.next().unwrap_or_default();
    Ok(match answer.status {
        StatusCode::OK => (Some(true), [said].into_iter().chain(lines).collect::<Vec<_>>().join("\n")),
        StatusCode::FORBIDDEN => (Some(false), said),
        // A proxy before the instance, or one that is too busy.
        status if status.is_server_error() => (None, format!("{status}: {said}")),
        status => (Some(false), format!("{status}; its version may have no commands")),
    })
}

async fn votes(client: &ApiClient) -> Option<VoteMessage> {
    let answer = client.request(Method::GET, SidecarSpec::PATH, Bytes::new(), LIMIT, VoteMessage::MAX_BYTES).await;
    VoteMessage::decode(&answer.ok()?.body).ok()
}

fn key(path: &Path) -> Result<PrivateKey, String> {
    let (place, owned) = (path.display(), path.to_owned());
    let content = file::in_time(move || file::read(&owned, KEY_LIMIT))?
        .map_err(|_| format!("{place}: cannot be read; name the file that regionwatch keygen made"))?;
    PrivateKey::from_pem(&content.bytes).map_err(|error| format!("{place}: {error}"))
}

/// This instance and those of all peers with a sidecar probe.
fn instances(config: &Config) -> Vec<Instance> {
    let ip = match config.listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let url = HttpUrl { https: false, host: Host::Addr(ip), port: config.listen.port(), path: "/".into() };
    let mut all = vec![Instance { region: config.region.clone(), url, tls: TlsSpec::default(), headers: Vec::new() }];
    for (path, probe) in config.paths() {
        if let ProbeSpec::Sidecar(spec) = &probe.spec
            && !all.iter().any(|known| known.region == path.peer)
        {
            let request = &spec.request;
            let votes = request.url.path.as_str().split('?').next().unwrap_or_default();
            let base = votes.strip_suffix(SidecarSpec::PATH).unwrap_or_default();
            let url = HttpUrl { path: format!("{base}/").as_str().into(), ..request.url.clone() };
            let (tls, headers) = (request.tls.clone(), request.headers.clone());
            all.push(Instance { region: path.peer, url, tls, headers });
        }
    }
    all
}
