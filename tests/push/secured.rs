//! Alertmanagers that ask for credentials, or stand behind a proxy that does.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use regionwatch::{
    config::Config,
    model::{Incident, Stage},
    net::Resolver,
};
use testkit::{
    needs::{Need, require},
    process::{Running, get, sidecar},
    programs,
};
use tokio::time::{sleep, timeout};

use crate::support::{
    Alertmanager, Sink, Telling, eventually, free, incident, need_alertmanager, telling_alertmanagers,
};

/// A certificate that vouches for itself, and its key.
struct Identity {
    certificate: PathBuf,
    key: PathBuf,
}

impl Identity {
    fn new(folder: &Path, name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed([format!("{name}.example")]).unwrap();
        let file = |what: &str, pem: String| {
            let path = folder.join(format!("{name}-{what}.pem"));
            fs::write(&path, pem).unwrap();
            path
        };
        Self { certificate: file("cert", made.cert.pem()), key: file("key", made.signing_key.serialize_pem()) }
    }
}

/// A vantage that tells what this list of `alertmanagers` names.
fn telling(list: &str) -> Telling {
    let text = format!(
        "region: eu-west-1\nalertmanagers: [{list}]\n\
         peers: [{{region: us-east-1, targets: [{{host: 192.0.2.1, probes: [{{kind: icmp}}]}}]}}]\n"
    );
    let loaded = Config::load(Some((Path::new("regionwatch.yaml"), &text)), []);
    let config = loaded.unwrap_or_else(|errors| panic!("{errors}\n{text}")).config;
    telling_alertmanagers(&config.alertmanagers, &Resolver::new(None))
}

/// The real binary, which tells what this list of `alertmanagers` names.
struct Vantage {
    running: Running,
    addr: SocketAddr,
}

impl Vantage {
    fn start(folder: &Path, list: &str) -> Self {
        let (addr, silent) = (free(), free());
        let text = format!(
            "region: eu-west-1\nlisten: {addr}\nalertmanagers: [{list}]\n\
             peers: [{{region: us-east-1, targets: [{{host: 127.0.0.1, probes: [{{kind: tcp, port: {}}}]}}]}}]\n",
            silent.port()
        );
        let file = folder.join("regionwatch.yaml");
        fs::write(&file, text).unwrap();
        let running = sidecar(&["run", "--config", file.to_str().unwrap()], &[], addr);
        Self { running, addr }
    }

    /// How many pushes had this result.
    fn pushes(&self, result: &str) -> u64 {
        let page = get(self.addr, "/metrics");
        let of = |line: &&str| {
            line.starts_with("regionwatch_alert_pushes_total{") && line.contains(&format!("result=\"{result}\""))
        };
        page.lines().find(of).unwrap().rsplit(' ').next().unwrap().parse().unwrap()
    }

    async fn pushed(&self, result: &str, times: u64) {
        let enough = || (self.pushes(result) >= times).then_some(());
        eventually(&format!("{times} pushes are {result}"), Duration::from_secs(20), enough).await;
    }
}

/// `hunter2`, as bcrypt keeps it.
const HASH: &str = "$2b$04$W9B24NxChJ7xfZqvUO5Au.YxoaEYwptLBvsRemVwrJwV4xzYHRJ7C";

/// An Alertmanager with TLS that wants a client certificate and a password.
struct Secured {
    alertmanager: Alertmanager,
    folder: tempfile::TempDir,
}

impl Secured {
    async fn start(sink: &Sink) -> Self {
        need_alertmanager();
        let folder = tempfile::tempdir().unwrap();
        let (server, client) = (Identity::new(folder.path(), "server"), Identity::new(folder.path(), "client"));
        let web = folder.path().join("web.config.yml");
        let text = format!(
            "tls_server_config:\n  cert_file: {}\n  key_file: {}\n  client_auth_type: RequireAndVerifyClientCert\n  \
             client_ca_file: {}\nbasic_auth_users:\n  vantage: {HASH}\n",
            server.certificate.display(),
            server.key.display(),
            client.certificate.display(),
        );
        fs::write(&web, text).unwrap();
        fs::write(folder.path().join("password"), "hunter2\n").unwrap();
        let mut alertmanager = Alertmanager::new(sink);
        alertmanager.flags.push(format!("--web.config.file={}", web.display()));
        alertmanager.start().await;
        Self { alertmanager, folder }
    }

    fn url(&self) -> String {
        format!("https://{}/", self.alertmanager.addr)
    }

    /// Its entry in `alertmanagers`, with this text in the place of some part.
    fn entry(&self, part: &str, instead: &str) -> String {
        let place = self.folder.path().display();
        let entry = format!(
            "{{url: '{}', basic_auth: {{username: vantage, password_file: {place}/password}}, tls: {{server_name: \
             server.example, ca_file: {place}/server-cert.pem, cert_file: {place}/client-cert.pem, key_file: \
             {place}/client-key.pem}}}}",
            self.url()
        );
        assert!(entry.contains(part), "{part}");
        entry.replace(part, instead)
    }
}

async fn restored(telling: &mut Telling) -> Incident {
    timeout(Duration::from_secs(5), telling.notifier.restored().recv()).await.unwrap().unwrap().incident
}

#[test]
async fn an_alertmanager_with_tls_a_password_and_client_certificates_is_pushed_to_and_asked_after_a_restart() {
    let sink = Sink::start();
    let secured = Secured::start(&sink).await;
    let before = telling(&secured.entry("", ""));
    let down = incident("us-east-1", Stage::Execute);
    before.notifier.publish(vec![down.clone()]);
    let (_, webhook) = sink.nth(1).await;
    assert_eq!(webhook["commonLabels"]["peer_region"], "us-east-1");
    drop(before);
    assert_eq!(restored(&mut telling(&secured.entry("", ""))).await.id, down.id);
}

#[test]
async fn a_wrong_password_is_logged_once_and_not_tried_again_and_again() {
    let sink = Sink::start();
    let secured = Secured::start(&sink).await;
    fs::write(secured.folder.path().join("wrong"), "hunter3").unwrap();
    let vantage = Vantage::start(secured.folder.path(), &secured.entry("/password}", "/wrong}"));
    vantage.pushed("status_4xx", 1).await;
    sleep(Duration::from_secs(3)).await;
    // One at the start, perhaps one for the peer that is down; the next is due after 10 s.
    assert!(vantage.pushes("status_4xx") <= 2, "{}", vantage.pushes("status_4xx"));
    let said = vantage.running.said();
    let [line] =
        <[&str; 1]>::try_from(said.lines().filter(|line| line.contains(" WARN Alertmanager ")).collect::<Vec<_>>())
            .unwrap_or_else(|lines| panic!("{lines:#?}"));
    assert!(line.contains("refuses our credentials with status 401 Unauthorized"), "{line}");
    assert!(line.contains(&secured.url()), "{line}");
    let shown = format!("{said}{}{}", get(vantage.addr, "/config"), get(vantage.addr, "/metrics"));
    assert!(!shown.contains("hunter3") && !shown.contains("dmFudGFnZTpo"), "{shown}");
    assert!(shown.contains("&lt;secret&gt;"), "{shown}");
}

#[test]
async fn without_a_client_certificate_or_the_servers_authority_the_result_is_tls() {
    let sink = Sink::start();
    let secured = Secured::start(&sink).await;
    let place = secured.folder.path().display();
    let identity = format!(", cert_file: {place}/client-cert.pem, key_file: {place}/client-key.pem");
    let authority = format!(", ca_file: {place}/server-cert.pem");
    for missing in [&*identity, &authority] {
        let telling = telling(&secured.entry(missing, ""));
        let failed = || telling.pushes_to(secured.url(), "tls");
        eventually("a push that fails by TLS", Duration::from_secs(5), || (failed() > 0).then_some(())).await;
        assert_eq!(telling.pushes_to(secured.url(), "ok"), 0, "{missing}");
    }
    let telling = telling(&secured.entry(&authority, ", insecure_skip_verify: true"));
    let accepted = || telling.pushes_to(secured.url(), "ok");
    eventually("a push without verification", Duration::from_secs(5), || (accepted() > 0).then_some(())).await;
}

/// An Alertmanager at the path of Mimir's, behind nginx that asks for a token and a tenant.
async fn tenants(sink: &Sink, folder: &Path) -> (Alertmanager, programs::Server, SocketAddr) {
    need_alertmanager();
    require(&[Need::Tool("nginx")]);
    let mut alertmanager = Alertmanager::new(sink);
    alertmanager.flags.push("--web.route-prefix=/alertmanager".to_owned());
    alertmanager.start().await;
    let addr = free();
    let server = format!(
        "server {{ listen {addr}; location /alertmanager/ {{\n\
         if ($http_authorization != \"Bearer s3cret-token\") {{ return 401; }}\n\
         if ($http_x_scope_orgid != team-a) {{ return 401 \"no org id\"; }}\n\
         proxy_pass http://{}; }} }}",
        alertmanager.addr
    );
    let nginx = programs::nginx(folder, &server, addr);
    (alertmanager, nginx, addr)
}

#[test]
async fn a_token_and_a_tenants_header_reach_an_alertmanager_at_mimirs_path() {
    let sink = Sink::start();
    let folder = tempfile::tempdir().unwrap();
    let (_alertmanager, _nginx, addr) = tenants(&sink, folder.path()).await;
    let url = format!("http://{addr}/alertmanager");
    let token = folder.path().join("token");
    fs::write(&token, "s3cret-token\n").unwrap();
    let entry = format!("{{url: '{url}', bearer_token_file: {}, headers: {{X-Scope-OrgID: team-a}}}}", token.display());
    let first = telling(&entry);
    let down = incident("us-east-1", Stage::Execute);
    first.notifier.publish(vec![down.clone()]);
    sink.nth(1).await;
    // The webhook can be here before the answer to the push is.
    let accepted = || first.pushes_to(&url, "ok");
    eventually("an accepted push", Duration::from_secs(5), || (accepted() > 0).then_some(())).await;
    drop(first);
    assert_eq!(restored(&mut telling(&entry)).await.id, down.id);
    for (part, instead) in [("team-a", "team-b"), (", headers: {X-Scope-OrgID: team-a}", ""), ("alertmanager'", "x'")] {
        let telling = telling(&entry.replace(part, instead));
        let url = if part.starts_with("alert") { url.replace("alertmanager", "x") } else { url.clone() };
        let refused = || telling.pushes_to(&url, "status_4xx");
        eventually("a refused push", Duration::from_secs(5), || (refused() > 0).then_some(())).await;
        assert_eq!(telling.pushes_to(&url, "ok"), 0, "{part}");
    }
}

#[test]
async fn a_reload_reads_the_token_and_the_certificates_again() {
    let sink = Sink::start();
    let folder = tempfile::tempdir().unwrap();
    let (_alertmanager, nginx, addr) = tenants(&sink, folder.path()).await;
    let token = folder.path().join("token");
    fs::write(&token, "old-token").unwrap();
    let entry = format!(
        "{{url: 'http://{addr}/alertmanager', bearer_token_file: {}, headers: {{X-Scope-OrgID: team-a}}}}",
        token.display()
    );
    let vantage = Vantage::start(folder.path(), &entry);
    vantage.pushed("status_4xx", 1).await;
    fs::write(&token, "s3cret-token").unwrap();
    vantage.running.signal("HUP");
    vantage.pushed("ok", 1).await;
    drop((vantage, nginx));

    let secured = Secured::start(&sink).await;
    let (right, other) = (secured.folder.path().join("server-cert.pem"), secured.folder.path().join("client-cert.pem"));
    let authority = secured.folder.path().join("authority.pem");
    fs::copy(other, &authority).unwrap();
    let vantage = Vantage::start(secured.folder.path(), &secured.entry("server-cert.pem", "authority.pem"));
    vantage.pushed("tls", 1).await;
    fs::copy(right, &authority).unwrap();
    vantage.running.signal("HUP");
    vantage.pushed("ok", 1).await;
}
