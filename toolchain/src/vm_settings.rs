//! What a VM gets when there is no agent: what a deploy would give it.

use std::{path::Path, time::Duration};

use jiffy_model::{
    EnvironmentChanges, EnvironmentError, Grants, InvalidGrant, Isolation, Settings, SomeSettings,
    change_environment, environment_page,
};

use crate::{
    build,
    manifest::{Manifest, ManifestError},
    runnable::is_image,
};

/// What a VM gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VmSettings {
    pub(crate) ram_bytes: u64,
    pub(crate) timeout: Duration,
    pub(crate) isolation: Isolation,
    /// As a VM takes it.
    pub(crate) environment: Vec<u8>,
    pub(crate) grants: Grants,
}

/// Why a VM cannot be given what is asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    #[error(transparent)]
    Grant(#[from] InvalidGrant),
}

impl VmSettings {
    /// What a first deploy of the image or crate at `path` would give: flags, then the crate's `jiffy.toml`, then the
    /// defaults.
    pub(crate) fn of(
        path: &Path,
        flags: &SomeSettings,
        variables: &EnvironmentChanges,
    ) -> Result<Self, SettingsError> {
        let manifest = match build::crate_folder(path) {
            Ok(folder) if !is_image(path) => Manifest::of_crate(&folder)?,
            // An image has none, and what else there is the build will say.
            _ => Manifest::default(),
        };
        Self::new(flags.clone().over(manifest.settings), variables)
    }

    /// The same, of a snapshot, which has no manifest.
    pub(crate) fn of_flags(flags: &SomeSettings) -> Result<Self, SettingsError> {
        Self::new(flags.clone(), &EnvironmentChanges::new())
    }

    fn new(said: SomeSettings, variables: &EnvironmentChanges) -> Result<Self, SettingsError> {
        let mut settings = said.or(Settings::default());
        change_environment(&mut settings.environment, variables.clone());
        settings.grants.check()?;
        Ok(Self {
            ram_bytes: settings.memory_bytes,
            timeout: Duration::from_millis(settings.timeout_ms),
            isolation: settings.isolation,
            environment: environment_page(&settings.environment)?,
            grants: settings.grants,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use jiffy_abi::layout::RAM_BYTES_DEFAULT;
    use jiffy_model::{NamedGrant, TIMEOUT_MS_DEFAULT};

    use super::*;
    use crate::manifest::FILE_NAME;

    #[test]
    fn a_vm_gets_what_flags_and_manifest_say_and_else_the_defaults() {
        let folder = tempfile::tempdir().expect("temporary folder");
        fs::write(folder.path().join("Cargo.toml"), "").expect("written");
        let of = |flags: &SomeSettings, variables: &[(&str, Option<&str>)]| {
            let owned = |(name, value): &(&str, Option<&str>)| {
                (name.to_string(), value.map(str::to_string))
            };
            let variables = variables.iter().map(owned).collect();
            VmSettings::of(folder.path(), flags, &variables).expect("good")
        };
        let none = SomeSettings::default();
        let default = VmSettings {
            ram_bytes: RAM_BYTES_DEFAULT,
            timeout: Duration::from_millis(TIMEOUT_MS_DEFAULT),
            isolation: Isolation::Fresh,
            environment: vec![],
            grants: Grants::default(),
        };
        assert_eq!(of(&none, &[]), default);
        let text = "memory = \"64M\"\ntimeout = \"1s\"\nisolation = \"reuse\"\n[env]\nA = \"1\"\nB = \"2\"\n[kv.cart]\n";
        fs::write(folder.path().join(FILE_NAME), text).expect("written");
        let said = VmSettings {
            ram_bytes: 64 << 20,
            timeout: Duration::from_secs(1),
            isolation: Isolation::Reuse,
            environment: b"A=1\0B=2\0".to_vec(),
            grants: Grants {
                kv: [("cart".parse().expect("a name"), NamedGrant {})].into(),
                ..Grants::default()
            },
        };
        assert_eq!(of(&none, &[]), said);
        let flags = SomeSettings {
            memory_bytes: Some(32 << 20),
            isolation: Some(Isolation::Fresh),
            ..none
        };
        let over = of(&flags, &[("A", None), ("B", Some("3")), ("C", Some(""))]);
        let expected = VmSettings {
            ram_bytes: 32 << 20,
            isolation: Isolation::Fresh,
            environment: b"B=3\0C=\0".to_vec(),
            ..said
        };
        assert_eq!(over, expected);
        let bad = EnvironmentChanges::from([("A-B".to_owned(), Some(String::new()))]);
        assert!(VmSettings::of(folder.path(), &flags, &bad).is_err());
    }
}
