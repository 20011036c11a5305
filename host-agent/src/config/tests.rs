use std::fs;

use super::*;

fn variables(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
    variables.iter().map(owned).collect()
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("file");
    fs::write(&path, text).expect("write");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&path, mode).expect("mode");
    (folder, path)
}

#[test]
fn the_default_is_valid() {
    let config = Config::new(FileConfig::load(None, []).expect("empty")).expect("valid");
    assert_eq!(config.settings, FileConfig::default());
    assert!(config.listen.ip().is_loopback());
}

/// The sample explains every key: each stands there, commented out, with its default.
#[test]
fn the_sample_holds_every_default() {
    let sample = include_str!("../../jiffyd.toml");
    let uncommented: String = sample
        .lines()
        .filter(|line| !line.starts_with("# "))
        .map(|line| format!("{}\n", line.strip_prefix('#').unwrap_or(line)))
        .collect();
    let (_folder, path) = file(&uncommented);
    let parsed = FileConfig::load(Some(&path), []).expect("the sample is valid");
    let default = FileConfig::default();
    // The keys that name files of secrets and of authorities have none by default.
    let parsed = FileConfig {
        token_file: default.token_file.clone(),
        egress: EgressSettings {
            ca_file: default.egress.ca_file.clone(),
            ..parsed.egress
        },
        lambda: LambdaSettings {
            keys_file: default.lambda.keys_file.clone(),
            ..parsed.lambda
        },
        secrets: default.secrets.clone(),
        ..parsed
    };
    assert_eq!(parsed, default);
    let mut table = toml::Table::try_from(&default).expect("table");
    table.insert("token_file".into(), "".into());
    for (key, value) in &table {
        let keys = value
            .as_table()
            .map_or(vec![key], |section| section.keys().collect());
        for key in keys {
            assert!(
                uncommented.contains(&format!("{key} = ")),
                "{key} is missing"
            );
        }
    }
}

#[test]
fn where_functions_may_connect_to_is_checked() {
    let check = |hosts: &str, private: &str| {
        let list = |text: &str| text.split_whitespace().map(Into::into).collect();
        let egress = EgressSettings {
            hosts: list(hosts),
            private: list(private),
            ca_file: None,
        };
        let settings = FileConfig {
            egress,
            ..FileConfig::default()
        };
        Config::new(settings).map_err(|error| error.to_string())
    };
    let config = check("*.example.com 10.0.0.1", "10.0.0.0/8 fd00::/8 db.internal");
    let egress = config.expect("valid").egress;
    assert_eq!((egress.hosts.len(), egress.private.len()), (2, 3));
    let error = check("example.com/", "").expect_err("a path");
    assert!(
        error.starts_with("invalid value in egress.hosts: invalid host"),
        "{error}"
    );
    let error = check("", "10.0.0.0/33").expect_err("no range");
    assert!(
        error.starts_with("invalid value in egress.private: invalid \"10.0.0.0/33\""),
        "{error}"
    );
}

#[test]
fn variables_win_over_the_file() {
    let (_folder, path) =
        file("listen = \"127.0.0.1:1\"\n[pool]\nshells_min = 9\nshells_max = 99\n");
    let over = variables(&[
        ("JIFFYD_LISTEN", "[::1]:2"),
        ("JIFFYD_POOL__SHELLS_MIN", "3"),
        ("JIFFYD_LAMBDA__ACCOUNT_ID", "123456789012"),
        ("JIFFYD_JAIL__ALLOW_MISSING_CGROUPS", "true"),
        ("JIFFYD_CONFIG", "elsewhere"),
        ("HOME", "/"),
    ]);
    let loaded = FileConfig::load(Some(&path), over).expect("valid");
    assert_eq!(loaded.listen.to_string(), "[::1]:2");
    assert_eq!((loaded.pool.shells_min, loaded.pool.shells_max), (3, 99));
    assert_eq!(loaded.lambda.account_id, "123456789012");
    assert!(loaded.jail.allow_missing_cgroups);
}

/// Every key whose name says a unit takes a text with one, in the file and in a variable.
#[test]
fn keys_with_a_unit_take_texts() {
    let default = toml::Table::try_from(FileConfig::default()).expect("table");
    let mut seen = 0;
    for (section, keys) in &default {
        let Some(keys) = keys.as_table() else {
            continue;
        };
        for key in keys.keys() {
            let (text, value) = match key {
                key if key.contains("_bytes") => ("64KiB", 65536),
                key if key.contains("_ms") => ("2s", 2000),
                _ => continue,
            };
            seen += 1;
            let (_folder, path) = file(&format!("[{section}]\n{key} = \"{text}\"\n"));
            let from_file = FileConfig::load(Some(&path), []).expect(key);
            let name = format!("JIFFYD_{}__{}", section.to_uppercase(), key.to_uppercase());
            let from_variable = FileConfig::load(None, variables(&[(&name, text)])).expect(key);
            for loaded in [from_file, from_variable] {
                let loaded = toml::Table::try_from(loaded).expect("table");
                assert_eq!(
                    loaded[section][key].as_integer(),
                    Some(value),
                    "{section}.{key}"
                );
            }
        }
    }
    assert!(seen > 15, "{seen}");
    let (_folder, path) = file("[pool]\nqueue_ms_max = \"5\"\n");
    let error = FileConfig::load(Some(&path), []).expect_err("no unit");
    let error = jiffy_control::error_chain(&error);
    assert!(
        error.contains("invalid time \"5\": give a unit, such as 5s or 5ms"),
        "{error}"
    );
}

#[test]
fn unknown_keys_and_values_are_named() {
    for text in [
        "lisen = \"x\"",
        "listen = 3",
        "[pool]\nshels = 1",
        "[",
        "[pool]\nshells_min = -1",
    ] {
        let (_folder, path) = file(text);
        let error = FileConfig::load(Some(&path), []).expect_err(text);
        assert!(matches!(error, ConfigError::Parse { .. }), "{error}");
    }
    for (name, value) in [
        ("JIFFYD_LISTEN", "nonsense"),
        ("JIFFYD_POOL__SHELLS_MIN", "many"),
        ("JIFFYD_POOL", "3"),
    ] {
        let error = FileConfig::load(None, variables(&[(name, value)])).expect_err(name);
        assert!(matches!(error, ConfigError::Variable { .. }), "{error}");
    }
    let missing = FileConfig::load(Some(Path::new("/does/not/exist")), []).expect_err("missing");
    assert!(matches!(missing, ConfigError::Read { .. }));
}

#[test]
fn beyond_loopback_a_token_is_needed() {
    let open = FileConfig {
        listen: "0.0.0.0:7070".parse().expect("address"),
        ..FileConfig::default()
    };
    let error = Config::new(open.clone()).expect_err("open to all");
    assert!(matches!(error, ConfigError::OpenToAll(_)));
    let with_token = |token: &str| {
        let (_folder, path) = file(token);
        Config::new(FileConfig {
            token_file: Some(path),
            ..open.clone()
        })
    };
    assert!(matches!(
        with_token(&"x".repeat(31)),
        Err(ConfigError::Token(_))
    ));
    assert!(matches!(
        with_token(&"é".repeat(32)),
        Err(ConfigError::Token(_))
    ));
    let config = with_token(&format!("{}\n", "x".repeat(32))).expect("a token");
    assert_eq!(
        config.token.as_ref().map(|token| token.expose().len()),
        Some(32)
    );
    assert!(!format!("{config:?}").contains("xxx"));
}

#[test]
fn keys_are_read_line_by_line() {
    let with_keys = |text: &str| {
        let (_folder, path) = file(text);
        let mut settings = FileConfig::default();
        settings.lambda.keys_file = Some(path);
        Config::new(settings)
    };
    let config = with_keys("# keys\n\nAKIA1:abc/+:d\nAKIA2:x\n").expect("keys");
    let keys: Vec<_> = config
        .lambda_keys
        .iter()
        .map(|(id, secret)| (&**id, secret.expose()))
        .collect();
    assert_eq!(keys, [("AKIA1", "abc/+:d"), ("AKIA2", "x")]);
    let error = with_keys("AKIA1:x\nAKIA2\n").expect_err("no secret");
    assert!(matches!(error, ConfigError::Keys { line: 2, .. }));
}

#[test]
fn ranges_hold_on_both_sides() {
    let check = |change: fn(&mut FileConfig)| {
        let mut settings = FileConfig::default();
        change(&mut settings);
        Config::new(settings)
    };
    assert!(check(|settings| settings.limits.body_bytes_max = BODY_BYTES_MAX).is_ok());
    let error = check(|settings| settings.limits.body_bytes_max = BODY_BYTES_MAX + 1);
    assert!(
        error
            .expect_err("too large")
            .to_string()
            .contains("limits.body_bytes_max")
    );
    assert!(check(|settings| settings.limits.versions_max = 1).is_err());
    assert!(check(|settings| settings.pool.shells_max = settings.pool.shells_min - 1).is_err());
}

/// A Service of Kubernetes that is called `jiffyd`, or a linked container of Docker, sets these.
#[test]
fn variables_of_a_service_of_our_name_are_passed_over_and_named() {
    let of_kubernetes = [
        ("JIFFYD_PORT", "tcp://10.96.0.1:7070"),
        ("JIFFYD_SERVICE_HOST", "10.96.0.1"),
        ("JIFFYD_SERVICE_PORT", "7070"),
        ("JIFFYD_SERVICE_PORT_HTTP", "7070"),
        ("JIFFYD_PORT_7070_TCP", "tcp://10.96.0.1:7070"),
        ("JIFFYD_PORT_7070_TCP_PROTO", "tcp"),
        ("JIFFYD_PORT_7070_TCP_PORT", "7070"),
        ("JIFFYD_PORT_7070_TCP_ADDR", "10.96.0.1"),
        ("JIFFYD_LISTEN__X", "1"),
        ("JIFFYD_POOL__SHELS_MIN", "1"),
    ];
    let loaded = FileConfig::load(None, variables(&of_kubernetes)).expect("passed over");
    assert_eq!(loaded, FileConfig::default());
    let names = of_kubernetes.map(|(name, _)| name);
    let others = [
        "JIFFYD_LISTEN",
        "JIFFYD_LAMBDA__KEYS_FILE",
        "JIFFYD_TOKEN_FILE",
        "JIFFYD_CONFIG",
        "HOME",
    ];
    let unknown: Vec<_> = unknown_variables(names.into_iter().chain(others)).collect();
    assert_eq!(unknown, names);
}

/// `every_key` lacks none: the decoder lists what it knows when it meets what it does not.
#[test]
fn every_key_is_known() {
    let known = every_key();
    let listed = |section: Option<&str>| {
        let table = match section {
            Some(section) => format!("[{section}]\n\"?\" = 1"),
            None => "\"?\" = 1".into(),
        };
        let error = toml::from_str::<FileConfig>(&table).expect_err("unknown");
        let text = error.message().to_owned();
        let (_, keys) = text.split_once("expected").expect("a list");
        let mut keys: Vec<String> = keys
            .split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect();
        keys.sort_unstable();
        keys
    };
    let keys = |table: &toml::Table| {
        let mut keys: Vec<String> = table.keys().cloned().collect();
        keys.sort_unstable();
        keys
    };
    assert_eq!(keys(&known), listed(None));
    for (section, value) in &known {
        if let Some(table) = value.as_table() {
            assert_eq!(keys(table), listed(Some(section)), "{section}");
        }
    }
}

/// What is read anew whenever it is needed. Each has a test elsewhere that shows it.
const READ_ANEW: [&str; 22] = [
    "token_file",
    "hosts",
    "log",
    "trusted_proxies",
    "client_address_header",
    "limits.connections_max",
    "limits.connections_reserved",
    "limits.connections_per_address_max",
    "limits.idle_ms_max",
    "limits.bodies_bytes_max",
    "limits.header_bytes_max",
    "limits.header_ms_max",
    "limits.body_ms_max",
    "limits.body_bytes_max",
    "limits.image_bytes_max",
    "limits.open_snapshots_max",
    "limits.unused_image_ms_max",
    "limits.drain_ms_max",
    "lambda.enabled",
    "lambda.region",
    "lambda.account_id",
    "lambda.keys_file",
];

/// Each key is either reloaded or named, and never neither.
#[test]
fn a_reload_names_every_key_that_needs_a_restart() {
    let now = Config::new(FileConfig::default()).expect("valid");
    let changed = |value: &toml::Value| match value {
        toml::Value::Integer(number) => (number + 1).into(),
        toml::Value::Boolean(is_set) => (!is_set).into(),
        toml::Value::Array(_) => toml::Value::Array(vec!["other".into()]),
        toml::Value::String(text) if text == "text" => "json".into(),
        toml::Value::String(text) if text == "x-forwarded-for" => "forwarded".into(),
        toml::Value::String(text) if text.parse::<SocketAddr>().is_ok() => "127.0.0.1:1".into(),
        toml::Value::String(text) => format!("{text}x").into(),
        other => panic!("a kind of value that is new: {other}"),
    };
    let mut keys = 0;
    let mut check = |name: String, table: toml::Table| {
        let next = Config {
            settings: table.try_into().expect(&name),
            ..now.clone()
        };
        assert_ne!(next, now, "{name}");
        let named = now.needs_restart(&next);
        let is_named = named
            .iter()
            .any(|key| name == *key || name.starts_with(&format!("{key}.")));
        let is_reloaded = READ_ANEW.contains(&&*name);
        assert!(is_named != is_reloaded, "{name}: {named:?}");
        keys += 1;
    };
    for (key, value) in every_key() {
        let mut table = toml::Table::try_from(FileConfig::default()).expect("table");
        match value {
            toml::Value::Table(section) => {
                for (inner, value) in section {
                    let mut table = table.clone();
                    let section = table[&key].as_table_mut().expect("a section");
                    section.insert(inner.clone(), changed(&value));
                    check(format!("{key}.{inner}"), table);
                }
            }
            value => {
                table.insert(key.clone(), changed(&value));
                check(key, table);
            }
        }
    }
    assert!(keys > 40, "{keys}");
}

#[test]
fn values_are_shown_only_to_who_had_to_prove_something() {
    let mut config = Config::new(FileConfig::default()).expect("valid");
    assert!(!config.shows_environment() && !config.shows_environment_to_lambda());
    config.lambda_keys = vec![("AKID".into(), "secret".to_owned().into())];
    assert!(!config.shows_environment() && config.shows_environment_to_lambda());
    config.token = Some("x".to_owned().into());
    assert!(config.shows_environment() && config.shows_environment_to_lambda());
}

#[test]
fn secrets_that_others_can_read_are_refused() {
    let (_folder, path) = file(&"x".repeat(32));
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("mode");
    let mut settings = FileConfig {
        token_file: Some(path.clone()),
        ..FileConfig::default()
    };
    let exposed = |settings: &FileConfig| {
        let error = Config::new(settings.clone()).expect_err("exposed");
        assert!(
            matches!(error, ConfigError::Secret(SecretError::Exposed { .. })),
            "{error}"
        );
    };
    exposed(&settings);
    settings.token_file = None;
    settings.lambda.keys_file = Some(path);
    exposed(&settings);
}

#[test]
fn hosts_are_names_without_ports() {
    let with_host = |host: &str| {
        Config::new(FileConfig {
            hosts: vec![host.to_owned()],
            ..FileConfig::default()
        })
    };
    for host in ["jiffy.internal", "192.168.1.7", "[fd00::1]"] {
        assert!(with_host(host).is_ok(), "{host}");
    }
    for host in ["", "http://jiffy.internal", "a:7070", "a b", "a/b", "*@b"] {
        let error = with_host(host).expect_err(host);
        assert!(matches!(error, ConfigError::Host(_)), "{error}");
    }
    let many = FileConfig {
        hosts: vec!["a".into(); HOSTS_MAX + 1],
        ..FileConfig::default()
    };
    assert!(matches!(Config::new(many), Err(ConfigError::Hosts(_))));
    let listed = variables(&[("JIFFYD_HOSTS", r#"["a", "b"]"#)]);
    let loaded = FileConfig::load(None, listed).expect("a list");
    assert_eq!(loaded.hosts, ["a", "b"]);
}
