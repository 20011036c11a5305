//! `jiffy deploy`: crate or image -> upload -> version.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use jiffy_console::stdout;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ureq::http::Method;

use super::{
    Agent, ClientError, FunctionName,
    agent::{Call, Wait},
    view::{self, Line, Version, print_init_logs},
};
use crate::{
    build,
    manifest::{Isolation, Manifest, Variables},
    output::{Bytes, Format, Progress, print_json},
    runnable::{self, Runnable, RunnableError},
};

/// What is to be deployed.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeployOptions {
    /// An image, or a function's crate, which is built.
    pub(crate) path: PathBuf,
    /// What the command line says; it wins over the crate's manifest.
    pub(crate) flags: Manifest,
    /// What it says of single environment variables.
    pub(crate) variables: Variables,
    /// Begin with the defaults and not with what the live version has.
    pub(crate) reset: bool,
    /// Whether the version gets its number for good; else the next change replaces it.
    pub(crate) publish: bool,
}

/// The agent's answer to an upload.
#[derive(Deserialize)]
struct Uploaded {
    digest: String,
}

/// The document that makes a version. What is left out stays as the live version has it.
#[derive(Debug, Serialize)]
struct Wanted<'a> {
    image: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    reset: bool,
    /// Nothing if it is: an earlier agent, which publishes always, does not know the word.
    #[serde(skip_serializing_if = "Option::is_none")]
    publish: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    isolation: Option<Isolation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_concurrency: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_ready: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    environment_changes: &'a Variables,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    fn new(image: &'a str, settings: &'a Manifest, options: &'a DeployOptions) -> Self {
        Self {
            image,
            reset: options.reset,
            publish: (!options.publish).then_some(false),
            memory_bytes: settings.memory.map(|memory| memory.0),
            timeout_ms: settings.timeout.map(|timeout| timeout.0),
            isolation: settings.isolation,
            max_concurrency: settings.max_concurrency,
            min_ready: settings.min_ready,
            environment: settings.env.as_ref(),
            environment_changes: &options.variables,
            description: settings.description.as_deref(),
        }
    }
}

/// A version that is live now.
#[derive(Debug)]
pub(crate) struct Deployed {
    pub(crate) name: FunctionName,
    pub(crate) version: u64,
    /// The agent's own words.
    document: Value,
}

/// Deploys once: a crate is built first. Prints nothing but what cargo has to say.
pub(crate) fn deploy_once(agent: &Agent, options: &DeployOptions) -> Result<Deployed, ClientError> {
    let DeployOptions { path, flags, .. } = options;
    // A manifest that is wrong shows before anything is built.
    let settings = if runnable::is_image(path) {
        flags.clone()
    } else {
        let root = build::crate_folder(path).map_err(build::BuildError::from);
        let root = root.map_err(RunnableError::from)?;
        flags.clone().over(Manifest::of_crate(&root)?)
    };
    let Runnable { file, image, .. } = Runnable::find(path)?;
    let name = match settings.name.clone() {
        Some(name) => name,
        None => {
            let name = image.function_name.filter(|name| !name.is_empty());
            let name = name.ok_or(ClientError::NoName)?;
            name.parse().map_err(|_| ClientError::BadName(name))?
        }
    };
    let _progress = Progress::new(format!("deploying {name}"));
    let uploaded: Uploaded = agent.document(&Call {
        content_type: Some("application/octet-stream"),
        body: &file,
        ..Call::new(Method::POST, "/v1/images")
    })?;
    let wanted = Wanted::new(&uploaded.digest, &settings, options);
    let path = format!("/v1/functions/{name}");
    let document = agent.put(Method::PUT, path, &wanted, Wait::Function)?;
    let Version { version, .. } = view::view(&document)?;
    Ok(Deployed {
        name,
        version,
        document,
    })
}

/// Deploys, and prints version, digest and what `init` logged.
pub(crate) fn deploy(
    agent: &Agent,
    options: &DeployOptions,
    format: Format,
) -> Result<(), ClientError> {
    let deployed = deploy_once(agent, options);
    if let Err(ClientError::Problem(problem)) = &deployed {
        problem.print_logs();
    }
    let deployed = deployed?;
    match format {
        Format::Json => print_json(&deployed.document)?,
        Format::Text => {
            let version: Version = view::view(&deployed.document)?;
            print_init_logs(&version.logs);
            let mut out = stdout();
            deployed.print_news(&mut out, "", agent.url())?;
            print_version(&mut out, &version)?;
        }
    }
    Ok(())
}

impl Deployed {
    /// Prints what is new: the version, which settings changed, and where it can be called. Each line begins with `lead`.
    pub(crate) fn print_news(
        &self,
        out: &mut impl Write,
        lead: &str,
        url: &str,
    ) -> Result<(), ClientError> {
        let version: Version = view::view(&self.document)?;
        let name = &self.name;
        writeln!(out, "{lead}{name}: version {} is live", self.version)?;
        for change in version.changes.lines() {
            writeln!(out, "{lead}  changed      {change}")?;
        }
        writeln!(out, "{lead}  events       {url}/v1/functions/{name}/invoke")?;
        writeln!(out, "{lead}  HTTP         {url}/fn/{name}/")?;
        Ok(())
    }
}

/// Prints what a version is made of, indented.
pub(super) fn print_version(out: &mut impl Write, version: &Version) -> io::Result<()> {
    let timeout = Duration::from_millis(version.timeout_ms);
    let image = (Line(&version.image), Bytes(version.image_bytes));
    writeln!(out, "  image        {} ({})", image.0, image.1)?;
    writeln!(out, "  snapshot     {}", Line(&version.snapshot))?;
    writeln!(out, "  memory       {}", Bytes(version.memory_bytes))?;
    writeln!(
        out,
        "  timeout      {}",
        humantime::format_duration(timeout)
    )?;
    writeln!(out, "  isolation    {}", Line(&version.isolation))?;
    let (most, ready) = (version.max_concurrency, version.min_ready);
    writeln!(out, "  concurrency  at most {most}, {ready} kept ready")?;
    if !version.environment.is_empty() {
        // Values may be secrets.
        let names: Vec<&str> = version.environment.keys().map(String::as_str).collect();
        writeln!(
            out,
            "  environment  {} (values: -o json)",
            Line(&names.join(", "))
        )?;
    }
    if !version.description.is_empty() {
        writeln!(out, "  description  {}", Line(&version.description))?;
    }
    Ok(())
}
