//! nginx with a configuration and certificates of its own, on ports of loopback.

use std::{fs, net::TcpStream, path::PathBuf, process::Command};

use jiffy_tests::agent::within;

use super::{START_TIME_MAX, Server, free_ports};

/// One that runs; it ends with this.
#[derive(Debug)]
pub(crate) struct Nginx {
    server: Server,
    /// In clear; TLS with HTTP/2; TLS without.
    ports: [u16; 3],
}

impl Nginx {
    /// Starts one, or says that there is none.
    pub(crate) fn start() -> Option<Self> {
        let mut server = Server::new();
        let path = server.folder.path().display();
        let ports = free_ports();
        let [http, https, https_1] = ports;
        let configuration = format!(
            "daemon off; master_process off; pid {path}/pid; error_log {path}/log;
             events {{ worker_connections 256; }}
             http {{
                 log_format c '$connection';
                 log_format seen escape=none '$server_protocol $http_authorization';
                 access_log {path}/access.log c;
                 client_body_temp_path {path}/a; proxy_temp_path {path}/b; fastcgi_temp_path {path}/c;
                 uwsgi_temp_path {path}/d; scgi_temp_path {path}/e;
                 ssl_certificate {path}/server.pem; ssl_certificate_key {path}/key.pem;
                 server {{
                     listen 127.0.0.1:{http}; listen 127.0.0.1:{https} ssl http2; listen 127.0.0.1:{https_1} ssl;
                     location /told {{
                         return 200 '$request_method $server_protocol $http_host $request_uri mine=$http_x_mine trace=$http_traceparent';
                     }}
                     location /seen {{ access_log {path}/seen.log seen; return 200 'seen'; }}
                     location /away {{ return 302 http://169.254.169.254/latest/meta-data/; }}
                 }}
             }}"
        );
        let mut command = Command::new("nginx");
        command
            .arg("-c")
            .arg(server.write("nginx.conf", configuration));
        command.arg("-e").arg(server.path("log"));
        let connects = |_: &Server| TcpStream::connect(("127.0.0.1", https_1)).is_ok();
        server.start(command, "HTTP requests to nginx", connects)?;
        Some(Self { server, ports })
    }

    /// The port in clear.
    pub(crate) fn port(&self) -> u16 {
        self.ports[0]
    }

    pub(crate) fn http(&self) -> String {
        format!("http://localhost:{}", self.ports[0])
    }

    pub(crate) fn https(&self) -> String {
        format!("https://localhost:{}", self.ports[1])
    }

    /// With HTTP/1.1 alone.
    pub(crate) fn https_1(&self) -> String {
        format!("https://localhost:{}", self.ports[2])
    }

    /// The authority of its certificate.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.server.ca_file()
    }

    /// Protocol and `authorization` of the first so many requests for `/seen`, which it answers without telling.
    pub(crate) fn seen(&self, count: usize) -> Vec<String> {
        let read = || {
            let log = fs::read_to_string(self.server.path("seen.log")).ok()?;
            let lines: Vec<_> = log.lines().map(str::to_owned).collect();
            (log.ends_with('\n') && lines.len() >= count).then_some(lines)
        };
        within(START_TIME_MAX, read).expect("requests for /seen")
    }

    /// Connections that had a request.
    pub(crate) fn connections(&self) -> usize {
        let log = fs::read_to_string(self.server.path("access.log")).expect("a log");
        let numbers: std::collections::BTreeSet<_> = log.lines().collect();
        numbers.len()
    }
}
