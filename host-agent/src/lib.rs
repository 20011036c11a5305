//! The host agent: deploys and invokes functions over HTTP, each request in its own virtual machine.
//!
//! ```text
//! front ──▶ native, lambda ──▶ service ──▶ catalog        what is deployed, durable
//!                                 ├──▶ prepare ──▶ images  what this host has of it
//!                                 └──▶ invoke ──▶ pool ──▶ vm ──▶ jiffy-vmm      requests
//!                                          └──▶ logs, metrics, usage              what happened
//! ```
//!
//! Not here: KVM. A VM is a process of `jiffy-vmm`, owned through `jiffy-client`.
#![forbid(unsafe_code)]

mod auth;
pub mod catalog;
pub mod config;
pub mod front;
mod http;
pub mod images;
pub mod invoke;
pub mod journal;
pub mod lambda;
pub mod logs;
pub mod memory;
pub mod metrics;
pub mod model;
pub mod native;
pub mod observe;
pub mod pool;
pub mod prepare;
pub mod service;
pub mod symbols;
pub mod usage;
pub mod vm;
