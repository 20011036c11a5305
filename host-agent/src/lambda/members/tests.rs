use super::*;
use crate::lambda::operations::{OPERATIONS, Support};

fn check(verb: Verb, body: &str) -> Result<(), String> {
    check_body(verb, body.as_bytes()).map_err(|error| error.message().to_owned())
}

#[test]
fn what_asks_for_what_is_not_here_is_refused_by_name() {
    let create = Verb::CreateFunction;
    for (body, name) in [
        (
            r#"{"Architectures":["arm64"]}"#,
            "unsupported Architectures [\"arm64\"]: must be [\"x86_64\"] (",
        ),
        (
            r#"{"VpcConfig":{"SubnetIds":["s"]}}"#,
            "unsupported VpcConfig ",
        ),
        (
            r#"{"Code":{"S3Bucket":"b"}}"#,
            "unsupported Code.S3Bucket \"b\": must be left out (",
        ),
        (
            r#"{"EphemeralStorage":{"Size":1024}}"#,
            "unsupported EphemeralStorage.Size 1024: must be 512 (",
        ),
        (
            r#"{"TracingConfig":{"Mode":"Active"}}"#,
            "unsupported TracingConfig.Mode \"Active\"",
        ),
        (r#"{"Layers":["arn:aws:lambda:x"]}"#, "unsupported Layers "),
        (r#"{"KMSKeyArn":"arn"}"#, "unsupported KMSKeyArn \"arn\""),
        (
            r#"{"DeadLetterConfig":{"TargetArn":"arn"}}"#,
            "unsupported DeadLetterConfig ",
        ),
        (
            r#"{"ImageConfig":{"Command":["x"]}}"#,
            "unsupported ImageConfig ",
        ),
        (
            r#"{"PackageType":"Image"}"#,
            "unsupported PackageType \"Image\": must be \"Zip\" (",
        ),
        (r#"{"Colour":"red"}"#, "unknown member Colour: must be "),
        (
            r#"{"Code":{"Colour":"red"}}"#,
            "unknown member Code.Colour: must be ",
        ),
        (
            r#"{"Environment":{"Variables":{},"Error":{}}}"#,
            "unknown member Environment.Error: must be ",
        ),
        (r#"{"Environment":7}"#, "Environment: "),
        ("[]", "the body: "),
    ] {
        let refused = check(create, body).expect_err(body);
        assert!(refused.contains(name), "{refused}");
    }
}

/// Terraform and others send every member they know.
#[test]
fn what_asks_for_nothing_is_taken() {
    for body in [
        "{}",
        r#"{"VpcConfig":{"SubnetIds":[],"SecurityGroupIds":[],"Ipv6AllowedForDualStack":false}}"#,
        r#"{"KMSKeyArn":"","Layers":[],"DeadLetterConfig":{"TargetArn":""},"ImageConfig":null}"#,
        r#"{"Architectures":["x86_64"],"PackageType":"Zip","EphemeralStorage":{"Size":512}}"#,
        r#"{"TracingConfig":{"Mode":"PassThrough"},"LoggingConfig":{"LogFormat":"Text","LogGroup":"g"}}"#,
        r#"{"Environment":null,"Code":{"ZipFile":"AAAA"},"SnapStart":{"ApplyOn":"None"}}"#,
    ] {
        assert_eq!(check(Verb::CreateFunction, body), Ok(()), "{body}");
    }
}

#[test]
fn queries_and_headers_are_looked_at_too() {
    assert!(check_query(Verb::ListFunctions, "MaxItems=1&Marker=x&MasterRegion=").is_ok());
    assert!(check_query(Verb::ListFunctions, "MasterRegion=ALL").is_err());
    assert!(check_query(Verb::GetAlias, "Qualifier=1").is_err());
    let tenant = |name: &'static str| {
        [(name.parse().expect("name"), "x".parse().expect("value"))]
            .into_iter()
            .collect()
    };
    assert!(check_headers(Verb::Invoke, &tenant("x-amz-tenant-id")).is_err());
    assert!(check_headers(Verb::Invoke, &tenant("x-amz-log-type")).is_ok());
}

/// People read the same table, and clients' tests compare it with botocore's model.
#[test]
fn the_documentation_lists_each_member() {
    let page = include_str!("../../../../docs/lambda.md");
    for operation in OPERATIONS {
        let Support::Here(verb) = operation.support else {
            continue;
        };
        for (name, decision) in members(verb).into_iter().flatten().copied().flatten() {
            let status = match decision {
                Used => "used",
                Kept => "kept",
                Only(..) => "only",
                Refused(_) => "refused",
                Within => "within",
            };
            let row = format!("| {} | `{name}` | {status} |", operation.name);
            assert!(page.contains(&row), "docs/lambda.md has no row {row}");
        }
    }
}
