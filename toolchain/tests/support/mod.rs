//! An agent that answers as it is told and remembers what it was asked, and the command that asks it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    thread::{self, JoinHandle},
};

/// A request as it came.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Method and target.
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| &**value)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// What the agent is to answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: vec![],
            body: body.into(),
        }
    }

    pub(crate) fn json(body: &serde_json::Value) -> Self {
        Self::new(200, body.to_string()).header("content-type", "application/json")
    }

    pub(crate) fn problem(status: u16, kind: &str, detail: &str) -> Self {
        let body = serde_json::json!({
            "type": format!("urn:jiffy:{kind}"), "title": "t", "status": status, "detail": detail,
            "request_id": "r-1", "error_type": "NoName", "logs": [{ "level": "info", "text": "in init" }],
        });
        Self::new(status, body.to_string())
            .header("content-type", "application/problem+json")
            .header("jiffy-request-id", "r-1")
            .header("jiffy-error", kind)
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn send(&self, mut to: TcpStream) {
        let mut head = format!("HTTP/1.1 {} X\r\nconnection: close\r\n", self.status);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {}\r\n\r\n", self.body.len());
        to.write_all(&[head.as_bytes(), &self.body].concat())
            .expect("answered");
    }
}

/// An agent with one reply for each request to come.
pub(crate) struct Agent {
    pub(crate) url: String,
    thread: JoinHandle<Vec<Asked>>,
}

impl Agent {
    pub(crate) fn new(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let thread = thread::spawn(move || {
            let answer = |reply: Reply| {
                let (stream, _) = listener.accept().expect("a connection");
                let asked = read(&stream);
                reply.send(stream);
                asked
            };
            replies.into_iter().map(answer).collect()
        });
        Self {
            url: format!("http://{address}"),
            thread,
        }
    }

    /// All it was asked. Waits for ever if that is less than what it has replies for.
    pub(crate) fn asked(self) -> Vec<Asked> {
        self.thread.join().expect("the agent")
    }
}

fn read(stream: &TcpStream) -> Asked {
    let mut reader = BufReader::new(stream);
    let mut lines = vec![];
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line");
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let line = lines.remove(0);
    let headers = lines.iter().map(|line| {
        let (name, value) = line.split_once(": ").expect("a header");
        (name.to_ascii_lowercase(), value.to_owned())
    });
    let mut asked = Asked {
        line: line.trim_end_matches(" HTTP/1.1").to_owned(),
        headers: headers.collect(),
        body: vec![],
    };
    let body_bytes = asked
        .header("content-length")
        .map_or(0, |text| text.parse().expect("a length"));
    asked.body = vec![0; body_bytes];
    reader.read_exact(&mut asked.body).expect("a body");
    asked
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// `jiffy` with these arguments against the agent at `url`, in an empty home.
pub(crate) fn jiffy(url: &str, arguments: &[&str], home: Option<&Path>) -> Ended {
    jiffy_with(url, arguments, home, &[])
}

/// As [`jiffy`], with these variables too.
pub(crate) fn jiffy_with(
    url: &str,
    arguments: &[&str],
    home: Option<&Path>,
    variables: &[(&str, &str)],
) -> Ended {
    let empty = tempfile::tempdir().expect("temporary folder");
    let output = Command::new(env!("CARGO_BIN_EXE_jiffy"))
        .args(arguments)
        .env("JIFFY_AGENT", url)
        .env("HOME", home.unwrap_or(empty.path()))
        .env_remove("JIFFY_TOKEN")
        .env_remove("XDG_CONFIG_HOME")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("jiffy");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ended {
        code: output.status.code().expect("a code"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Asks an agent with these replies. What it was asked, and how the command ended.
pub(crate) fn ask(replies: Vec<Reply>, arguments: &[&str]) -> (Vec<Asked>, Ended) {
    let agent = Agent::new(replies);
    let ended = jiffy(&agent.url, arguments, None);
    (agent.asked(), ended)
}

/// Lines of a text, blanks made one.
pub(crate) fn lines(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}
