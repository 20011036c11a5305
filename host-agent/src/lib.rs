//! The host agent: deploys and invokes functions over HTTP, each request in its own virtual machine.
//!
//! ```text
//! front ──▶ native, lambda ──▶ service ──▶ registry, images      what is deployed, durable
//!                                 │
//!                                 ├──▶ pool ──▶ vm ──▶ jiffy-vmm  what runs, and where a request goes
//!                                 └──▶ logs, metrics, usage       what happened
//! ```
//!
//! Not here: KVM. A VM is a process of `jiffy-vmm`, owned through `jiffy-client`.
#![forbid(unsafe_code)]

mod auth;
pub mod config;
pub mod front;
mod http;
pub mod images;
pub mod journal;
pub mod lambda;
pub mod logs;
pub mod memory;
pub mod metrics;
pub mod model;
pub mod native;
pub mod observe;
pub mod pool;
#[path = "catalog/registry.rs"]
pub mod registry;
pub mod service;
pub mod symbols;
pub mod usage;
pub mod vm;
