//! What is refused, and how; then what servers do, good and bad ones, over loopback, which an operator has to allow.

mod egress_table;
mod injected;
mod servers;

use std::{
    collections::{HashMap, VecDeque},
    future::ready,
    net::IpAddr,
    path::Path,
    sync::Mutex,
};

use jiffy_abi::frame::write_field;
use jiffy_model::{Grants, TenantName};

use super::*;
use crate::net::{Egress, Resolve, Resolving, Tls};

/// Knows some names; each time it is asked for one it gives the next answer, and the last one again.
#[derive(Debug, Default)]
struct Names(Mutex<HashMap<String, VecDeque<Vec<IpAddr>>>>);

impl Names {
    fn new(names: &[(&str, &[&[&str]])]) -> Self {
        let answers = |answers: &[&[&str]]| {
            let parse = |text: &&str| text.parse().expect("an address");
            let answer = |answer: &&[&str]| answer.iter().map(parse).collect();
            answers.iter().map(answer).collect()
        };
        let names = names.iter();
        let names = names.map(|(name, all)| ((*name).to_owned(), answers(all)));
        Self(Mutex::new(names.collect()))
    }
}

impl Resolve for Names {
    fn resolve(&self, name: &str) -> Resolving {
        let mut names = self.0.lock().expect("nobody panicked");
        let Some(answers) = names.get_mut(name) else {
            return Box::pin(ready(Err(format!("nobody knows {name}"))));
        };
        let answer = match answers.len() {
            1 => answers.front().cloned(),
            _ => answers.pop_front(),
        };
        Box::pin(ready(Ok(answer.expect("an answer is left"))))
    }
}

fn egress(private: &[&str], ca_file: Option<&Path>) -> Egress {
    Egress {
        hosts: vec![],
        private: private
            .iter()
            .map(|text| text.parse().expect(text))
            .collect(),
        ca_file: ca_file.map(Path::to_owned),
    }
}

/// A client of a version that may reach `allow`.
fn client(allow: &[&str], egress: Egress, names: Names) -> Client {
    let mut grants = Grants::default();
    grants.network.allow = allow.iter().map(|text| text.parse().expect(text)).collect();
    client_of(&grants, egress, names)
}

fn client_of(grants: &Grants, egress: Egress, names: Names) -> Client {
    let connector = Connector {
        tls: Tls::new(egress.ca_file.as_deref()).expect("a file of certificates"),
        egress,
        resolver: Box::new(names),
        places: Arc::new(Semaphore::new(32)),
    };
    Client {
        policy: Policy::new(grants),
        connector: Arc::new(connector),
        pool: Pool::new(&Arc::new(Semaphore::new(IDLE_MAX))),
        places: Arc::new(Semaphore::new(16)),
        room: Room {
            own: Semaphore::new(ROOM_PER_VERSION_BYTES_MAX),
            all: Arc::new(Semaphore::new(32 << 20)),
        },
        injector: Injector {
            secrets: Arc::new(Secrets::in_memory().expect("memory")),
            reads: Reads::default(),
            tenant: TenantName::default(),
        },
        traffic: Arc::default(),
    }
}

impl Client {
    /// How its requests ended, if it has asked one origin.
    fn counted(&self) -> Vec<(&'static str, u64)> {
        let [origin] = &self.traffic.all()[..] else {
            panic!("one origin: {:?}", self.traffic)
        };
        let results = origin.results.into_iter();
        results.filter(|(_, count)| *count > 0).collect()
    }
}

fn request(method: &str, url: &str, headers: &[(&str, &[u8])]) -> Call {
    let mut head = vec![];
    let mut put = |tag, value: &[u8]| {
        write_field(tag, value, |piece| head.extend_from_slice(piece)).expect("short");
    };
    put(Tag::Method, method.as_bytes());
    put(Tag::Target, url.as_bytes());
    for (name, value) in headers {
        put(Tag::HeaderName, name.as_bytes());
        put(Tag::HeaderValue, value);
    }
    Call {
        service: SERVICE_HTTP,
        operation: OPERATION_HTTP_REQUEST,
        head,
        ..Call::default()
    }
}
