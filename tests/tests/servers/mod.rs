//! Servers that tests start on ports of loopback, and what stands between them and functions. Each ends with its value.
#![allow(dead_code, reason = "each test takes what it needs")]

pub(crate) mod certificates;
pub(crate) mod fault_proxy;
pub(crate) mod haproxy;
pub(crate) mod nginx;
pub(crate) mod postgres;
pub(crate) mod redis;

use std::net::TcpListener;

/// Free a moment ago, which is as much as one can know of ports that another process is to have.
pub(crate) fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let free = [(); COUNT].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    free.map(|it| it.local_addr().expect("an address").port())
}
