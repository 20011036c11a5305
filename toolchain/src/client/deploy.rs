//! `jiffy deploy`: crate or image -> upload -> version.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use jiffy_console::{stderr, stdout};
use jiffy_model::{
    Deploy, EnvironmentChanges, FunctionName, Settings,
    documents::{Deployed, ImageDocument, VersionDocument},
};
use serde_json::Value;
use ureq::http::Method;

use super::{
    Agent, ClientError,
    agent::{Call, Wait},
    view::{self, Line, change_lines, print_init_logs},
};
use crate::{
    build,
    manifest::Manifest,
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
    pub(crate) variables: EnvironmentChanges,
    /// Begin with the defaults and not with what the live version has.
    pub(crate) reset: bool,
    /// Whether the version gets its number for good; else the next change replaces it.
    pub(crate) publish: bool,
}

/// A version that is live now.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) name: FunctionName,
    pub(crate) made: Deployed,
    /// Variables that were set and whose names are such as secrets have.
    exposed: Vec<String>,
    /// The agent's own words.
    document: Value,
}

/// What words of a secret's name end with.
const SECRET_WORDS: [&str; 8] = [
    "CREDENTIAL",
    "CREDENTIALS",
    "KEY",
    "PASSPHRASE",
    "PASSWD",
    "PASSWORD",
    "SECRET",
    "TOKEN",
];

/// Whether a variable of this name is likely to be a secret. It may be none: this is for a hint.
fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let mut words = name.split(|character: char| !character.is_ascii_alphanumeric());
    let is_secret = |word: &str| SECRET_WORDS.iter().any(|end| word.ends_with(end));
    !name.contains("PUBLIC") && words.any(is_secret)
}

/// Says where the values of such variables lie, and where they would be kept.
fn warn_of_exposed(names: &[String]) {
    for name in names {
        let secret: String = name.to_ascii_lowercase();
        let _ = writeln!(
            stderr(),
            "warning: the variable {} looks like a secret, and lies in clear in snapshots and in the registry: `jiffy secret set {}` keeps \
             it encrypted, and [secrets] in jiffy.toml gives it to the function",
            Line(name),
            Line(&secret)
        );
    }
}

/// Deploys once: a crate is built first. Prints nothing but what cargo has to say.
pub(crate) fn deploy_once(agent: &Agent, options: &DeployOptions) -> Result<Made, ClientError> {
    let DeployOptions { path, flags, .. } = options;
    // A manifest that is wrong shows before anything is built.
    let manifest = if runnable::is_image(path) {
        flags.clone()
    } else {
        let root = build::crate_folder(path).map_err(build::BuildError::from);
        let root = root.map_err(RunnableError::from)?;
        flags.clone().over(Manifest::of_crate(&root)?)
    };
    let Runnable { file, image, .. } = Runnable::find(path)?;
    let name = match manifest.name.clone() {
        Some(name) => name,
        None => {
            let name = image.function_name.filter(|name| !name.is_empty());
            let name = name.ok_or(ClientError::NoName)?;
            name.parse().map_err(|_| ClientError::BadName(name))?
        }
    };
    let _progress = Progress::new(format!("deploying {name}"));
    let uploaded: ImageDocument = agent.document(&Call {
        content_type: Some("application/octet-stream"),
        body: &file,
        ..Call::new(Method::POST, "/v1/images")
    })?;
    let variables = &options.variables;
    let set = variables.iter().filter(|(_, value)| value.is_some());
    let set = set.map(|(name, _)| name);
    let environment = manifest.settings.environment.iter().flatten();
    let names: BTreeSet<_> = environment.map(|(name, _)| name).chain(set).collect();
    let exposed = names.into_iter().filter(|name| looks_secret(name));
    let exposed = exposed.cloned().collect();
    let wanted = Deploy {
        reset: options.reset,
        // Nothing if it is: an earlier agent, which publishes always, does not know the word.
        publish: (!options.publish).then_some(false),
        environment_changes: (!variables.is_empty()).then(|| variables.clone()),
        ..Deploy::new(uploaded.digest, manifest.settings)
    };
    let path = format!("/v1/functions/{name}");
    let document = agent.put(Method::PUT, path, &wanted, Wait::Function)?;
    let made = view::view(&document)?;
    Ok(Made {
        name,
        made,
        exposed,
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
    warn_of_exposed(&deployed.exposed);
    match format {
        Format::Json => print_json(&deployed.document)?,
        Format::Text => {
            print_init_logs(&deployed.made.logs);
            let mut out = stdout();
            deployed.print_news(&mut out, "", agent.url())?;
            print_version(&mut out, &deployed.made.version)?;
        }
    }
    Ok(())
}

impl Made {
    /// Prints what is new: the version, which settings changed, and where it can be called. Each line begins with `lead`.
    pub(crate) fn print_news(
        &self,
        out: &mut impl Write,
        lead: &str,
        url: &str,
    ) -> Result<(), ClientError> {
        let name = &self.name;
        let Deployed {
            version, changes, ..
        } = &self.made;
        writeln!(out, "{lead}{name}: version {} is live", version.version)?;
        for change in changes.iter().flat_map(change_lines) {
            writeln!(out, "{lead}  changed      {change}")?;
        }
        writeln!(out, "{lead}  events       {url}/v1/functions/{name}/invoke")?;
        writeln!(out, "{lead}  HTTP         {url}/fn/{name}/")?;
        Ok(())
    }
}

/// Prints what a version is made of, indented.
pub(super) fn print_version(out: &mut impl Write, version: &VersionDocument) -> io::Result<()> {
    // A setting more does not compile until it is shown.
    let Settings {
        memory_bytes,
        timeout_ms,
        isolation,
        max_concurrency,
        min_ready,
        environment,
        description,
        grants,
    } = &version.settings;
    let timeout = humantime::format_duration(Duration::from_millis(*timeout_ms));
    let (image, bytes) = (&version.image, Bytes(version.image_bytes));
    writeln!(out, "  image        {image} ({bytes})")?;
    match version.snapshot {
        Some(snapshot) => writeln!(out, "  snapshot     {snapshot}")?,
        None => writeln!(out, "  snapshot     none on the agent's host yet")?,
    }
    writeln!(out, "  memory       {}", Bytes(*memory_bytes))?;
    writeln!(out, "  timeout      {timeout}")?;
    writeln!(out, "  isolation    {isolation}")?;
    writeln!(
        out,
        "  concurrency  at most {max_concurrency}, {min_ready} kept ready"
    )?;
    if !environment.is_empty() {
        // Values may be secrets.
        let names: Vec<&str> = environment.keys().map(String::as_str).collect();
        writeln!(
            out,
            "  environment  {} (values: -o json)",
            Line(&names.join(", "))
        )?;
    }
    if !description.is_empty() {
        writeln!(out, "  description  {}", Line(description))?;
    }
    for line in grants.lines() {
        writeln!(out, "  may reach    {}", Line(&line))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use jiffy_model::{SettingsChanges, SomeSettings};
    use serde_json::json;

    use super::*;

    /// Every setting there is, in turn: what a deploy does not name stays as it is, and what it changes, and nothing else, is told.
    #[test]
    fn each_setting_is_kept_unless_it_is_changed_and_told_if_it_is() {
        let others = json!({
            "memory_bytes": 64 << 20, "timeout_ms": 500, "isolation": "reuse", "max_concurrency": 3, "min_ready": 1,
            "environment": { "A": "1" }, "description": "d", "grants": { "kv": { "cart": {} } },
        });
        let told = [
            ("memory_bytes", "memory 64.0 MiB -> 16.0 MiB"),
            ("timeout_ms", "timeout 500ms -> 3s"),
            ("isolation", "isolation reuse -> fresh"),
            ("max_concurrency", "max-concurrency 3 -> 10"),
            ("min_ready", "min-ready 1 -> 0"),
            ("environment", "env A removed"),
            ("description", "description d -> none"),
            ("grants", "reach store cart no longer granted"),
        ];
        let live: Settings = serde_json::from_value(others.clone()).expect("settings");
        let document = |settings: &Settings| serde_json::to_value(settings).expect("JSON");
        let default = document(&Settings::default());
        let settings = default.as_object().expect("an object");
        let image = "ab".repeat(32).parse().expect("a digest");
        let deploy = |said: Value| {
            let said: SomeSettings = serde_json::from_value(said).expect("settings");
            Deploy::new(image, said).over(Some(&live))
        };
        assert_eq!(deploy(json!({})), live);
        assert_eq!(told.len(), settings.len());
        for (name, value) in settings {
            assert_ne!(&others[name], value, "{name} is another than by default");
            let changed = deploy(json!({ name: value }));
            let mut expected = document(&live);
            expected[name] = value.clone();
            assert_eq!(document(&changed), expected);
            let lines = change_lines(&SettingsChanges::between(&live, &changed));
            let line = told.iter().find(|(told, _)| told == name);
            assert_eq!(lines, [line.expect(name).1], "{name}");
        }
    }
}
