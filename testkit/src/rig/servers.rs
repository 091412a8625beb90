//! The real servers that are probed: the kernel for ICMP, unbound for DNS, nginx for TCP, HTTP and HTTPS.

use std::{process::Command, time::Duration};

use super::{
    Result,
    net::Namespace,
    pause,
    process::{Place, Process, Workspace},
};

/// Where connections are made that carry nothing.
pub const TCP_PORT: u16 = 8081;
/// Where HTTP is served.
pub const HTTP_PORT: u16 = 80;
/// Where HTTPS is served, by TLS 1.3 only.
pub const HTTPS_PORT: u16 = 443;
/// The name that the DNS server knows.
pub const DNS_NAME: &str = "rig.test";

/// The running servers, on every address of their namespace.
pub struct Servers {
    running: Vec<Process>,
}

impl Servers {
    /// Starts them.
    pub fn start(net: &Namespace, workspace: &Workspace) -> Result<Self> {
        let place = Place { net, cgroup: None };
        let mut running = vec![
            Process::spawn(unbound(workspace)?, "unbound", place, workspace)?,
            Process::spawn(nginx(workspace)?, "nginx", place, workspace)?,
        ];
        pause(Duration::from_millis(500))?;
        for server in &mut running {
            server.check()?;
        }
        Ok(Self { running })
    }

    /// # Errors
    /// Where one of them has ended.
    pub fn check(&mut self) -> Result<()> {
        self.running.iter_mut().try_for_each(Process::check)
    }
}

fn unbound(workspace: &Workspace) -> Result<Command> {
    let config = workspace.write(
        "unbound.conf",
        &format!(
            r#"server:
  directory: ""
  chroot: ""
  username: ""
  pidfile: ""
  do-daemonize: no
  use-syslog: no
  interface: 0.0.0.0
  interface-automatic: yes
  do-ip6: no
  num-threads: 1
  so-rcvbuf: 4m
  module-config: "iterator"
  access-control: 0.0.0.0/0 allow
  local-zone: "{DNS_NAME}." static
  local-data: "{DNS_NAME}. 60 IN A 192.0.2.1"
remote-control:
  control-enable: no
"#
        ),
    )?;
    let mut command = Command::new("unbound");
    command.args(["-d", "-d", "-c"]).arg(config);
    Ok(command)
}

/// One process without a master, so that no worker outlives it. No session tickets: the truth of HTTPS needs the
/// first bytes after the request to be the response.
fn nginx(workspace: &Workspace) -> Result<Command> {
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(vec![DNS_NAME.to_owned()])?;
    let certificate = workspace.write("server.pem", &cert.pem())?;
    let key = workspace.write("server.key", &signing_key.serialize_pem())?;
    let config = workspace.write(
        "nginx.conf",
        &format!(
            r#"daemon off;
master_process off;
pid {pid};
error_log stderr warn;
worker_rlimit_nofile 65536;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  client_body_temp_path {temp}; proxy_temp_path {temp}; fastcgi_temp_path {temp};
  uwsgi_temp_path {temp}; scgi_temp_path {temp};
  default_type text/plain;
  server {{
    listen 0.0.0.0:{HTTP_PORT} backlog=4096;
    listen 0.0.0.0:{TCP_PORT} backlog=4096;
    listen 0.0.0.0:{HTTPS_PORT} ssl backlog=4096;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.3;
    ssl_session_tickets off;
    ssl_early_data off;
    ssl_conf_command NumTickets 0;
    location / {{ return 200 "ok\n"; }}
  }}
}}
"#,
            pid = workspace.file("nginx.pid").display(),
            temp = workspace.file("nginx-temp").display(),
            certificate = certificate.display(),
            key = key.display(),
        ),
    )?;
    let mut command = Command::new("nginx");
    command.arg("-e").arg("stderr").arg("-c").arg(config);
    Ok(command)
}
