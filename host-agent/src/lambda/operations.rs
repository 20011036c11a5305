//! Every operation of Lambda's API, and whether this agent has it. `docs/lambda.md` lists the same; tests hold that, and
//! that botocore's model knows no other.
//! Not here: what an operation takes (`members`), what it does (`functions` and its neighbours).

use axum::http::Method;

/// Whether an operation is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Support {
    /// It is.
    Here(Verb),
    /// Not yet: the text says what is missing.
    Later(&'static str),
    /// It will not be, and what to do instead.
    Never(&'static str),
}

/// An operation.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) name: &'static str,
    method: &'static str,
    /// Segments in braces stand for any. With a query, that has to be there.
    path: &'static str,
    pub(super) support: Support,
}

/// What is at a path.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// This operation, with the segments that its path leaves open.
    Operation(&'static Operation, Vec<&'a str>),
    /// Others, with another method.
    OtherMethod,
    /// Nothing.
    Nothing,
}

/// Looks for the operation of a request.
pub(super) fn find<'a>(method: &Method, path: &'a str, query: &str) -> Found<'a> {
    let segments: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    let mut is_path = false;
    for operation in OPERATIONS {
        let Some(open) = operation.open_segments(&segments, query) else {
            continue;
        };
        if operation.method == method.as_str() {
            return Found::Operation(operation, open);
        }
        is_path = true;
    }
    match is_path {
        true => Found::OtherMethod,
        false => Found::Nothing,
    }
}

impl Operation {
    fn open_segments<'a>(&self, segments: &[&'a str], query: &str) -> Option<Vec<&'a str>> {
        let (path, wanted_query) = self.path.split_once('?').unwrap_or((self.path, ""));
        if !wanted_query.is_empty() && !query.split('&').any(|pair| pair == wanted_query) {
            return None;
        }
        let mut open = vec![];
        let mut wanted = path.split('/').skip(1);
        for &segment in segments {
            match wanted.next()? {
                name if name.starts_with('{') => open.push(segment),
                same if same == segment => {}
                _ => return None,
            }
        }
        wanted.next().is_none().then_some(open)
    }
}

const EVENTS: Support = Support::Later("events are not there yet: call Invoke");
const STREAMS: Support = Support::Later("responses are not streamed yet: call Invoke");
const LAYERS: Support = Support::Never("an image has no layers: link everything into it");
const SIGNING: Support =
    Support::Never("code is not signed: the SHA-256 of the image says what runs");
const POLICY: Support = Support::Later(
    "there are no policies yet: who has a key, or the agent's token, may do everything",
);
const DURABLE: Support = Support::Never("executions are not durable: keep their state elsewhere");
const CAPACITY: Support = Support::Never("VMs run on this host and on no other capacity");
const RUNTIMES: Support = Support::Never("an image brings its runtime: build it again");
const RECURSION: Support = Support::Never("loops are not detected: limit the concurrency");

macro_rules! operations {
    (
        here { $($verb:ident $verb_method:ident $verb_path:literal;)* }
        elsewhere { $($name:ident $method:ident $path:literal $support:expr;)* }
    ) => {
        /// What this agent has of Lambda's API.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Verb {
            $($verb),*
        }

        /// All; those that need a query come before those with the same path.
        pub(super) const OPERATIONS: &[Operation] = &[
            $(Operation {
                name: stringify!($verb),
                method: stringify!($verb_method),
                path: $verb_path,
                support: Support::Here(Verb::$verb),
            },)*
            $(Operation {
                name: stringify!($name),
                method: stringify!($method),
                path: $path,
                support: $support,
            },)*
        ];
    };
}

operations! {
    here {
        ListProvisionedConcurrencyConfigs GET "/2019-09-30/functions/{FunctionName}/provisioned-concurrency?List=ALL";
        CreateAlias POST "/2015-03-31/functions/{FunctionName}/aliases";
        CreateFunction POST "/2015-03-31/functions";
        CreateFunctionUrlConfig POST "/2021-10-31/functions/{FunctionName}/url";
        DeleteAlias DELETE "/2015-03-31/functions/{FunctionName}/aliases/{Name}";
        DeleteFunction DELETE "/2015-03-31/functions/{FunctionName}";
        DeleteFunctionConcurrency DELETE "/2017-10-31/functions/{FunctionName}/concurrency";
        DeleteFunctionUrlConfig DELETE "/2021-10-31/functions/{FunctionName}/url";
        DeleteProvisionedConcurrencyConfig DELETE "/2019-09-30/functions/{FunctionName}/provisioned-concurrency";
        GetAccountSettings GET "/2016-08-19/account-settings";
        GetAlias GET "/2015-03-31/functions/{FunctionName}/aliases/{Name}";
        GetFunction GET "/2015-03-31/functions/{FunctionName}";
        GetFunctionConcurrency GET "/2019-09-30/functions/{FunctionName}/concurrency";
        GetFunctionConfiguration GET "/2015-03-31/functions/{FunctionName}/configuration";
        GetFunctionUrlConfig GET "/2021-10-31/functions/{FunctionName}/url";
        GetProvisionedConcurrencyConfig GET "/2019-09-30/functions/{FunctionName}/provisioned-concurrency";
        Invoke POST "/2015-03-31/functions/{FunctionName}/invocations";
        ListAliases GET "/2015-03-31/functions/{FunctionName}/aliases";
        ListFunctionUrlConfigs GET "/2021-10-31/functions/{FunctionName}/urls";
        ListFunctions GET "/2015-03-31/functions";
        ListTags GET "/2017-03-31/tags/{Resource}";
        ListVersionsByFunction GET "/2015-03-31/functions/{FunctionName}/versions";
        PublishVersion POST "/2015-03-31/functions/{FunctionName}/versions";
        PutFunctionConcurrency PUT "/2017-10-31/functions/{FunctionName}/concurrency";
        PutProvisionedConcurrencyConfig PUT "/2019-09-30/functions/{FunctionName}/provisioned-concurrency";
        TagResource POST "/2017-03-31/tags/{Resource}";
        UntagResource DELETE "/2017-03-31/tags/{Resource}";
        UpdateAlias PUT "/2015-03-31/functions/{FunctionName}/aliases/{Name}";
        UpdateFunctionCode PUT "/2015-03-31/functions/{FunctionName}/code";
        UpdateFunctionConfiguration PUT "/2015-03-31/functions/{FunctionName}/configuration";
        UpdateFunctionUrlConfig PUT "/2021-10-31/functions/{FunctionName}/url";
    }
    elsewhere {
        GetLayerVersionByArn GET "/2018-10-31/layers?find=LayerVersion" LAYERS;
        AddLayerVersionPermission POST "/2018-10-31/layers/{LayerName}/versions/{VersionNumber}/policy" LAYERS;
        AddPermission POST "/2015-03-31/functions/{FunctionName}/policy" POLICY;
        CheckpointDurableExecution POST "/2025-12-01/durable-executions/{DurableExecutionArn}/checkpoint" DURABLE;
        CreateCapacityProvider POST "/2025-11-30/capacity-providers" CAPACITY;
        CreateCodeSigningConfig POST "/2020-04-22/code-signing-configs" SIGNING;
        CreateEventSourceMapping POST "/2015-03-31/event-source-mappings" EVENTS;
        DeleteCapacityProvider DELETE "/2025-11-30/capacity-providers/{CapacityProviderName}" CAPACITY;
        DeleteCodeSigningConfig DELETE "/2020-04-22/code-signing-configs/{CodeSigningConfigArn}" SIGNING;
        DeleteDurableExecution DELETE "/2025-12-01/durable-executions/{DurableExecutionArn}" DURABLE;
        DeleteEventSourceMapping DELETE "/2015-03-31/event-source-mappings/{UUID}" EVENTS;
        DeleteFunctionCodeSigningConfig DELETE "/2020-06-30/functions/{FunctionName}/code-signing-config" SIGNING;
        DeleteFunctionEventInvokeConfig DELETE "/2019-09-25/functions/{FunctionName}/event-invoke-config" EVENTS;
        DeleteLayerVersion DELETE "/2018-10-31/layers/{LayerName}/versions/{VersionNumber}" LAYERS;
        DeleteResourcePolicy DELETE "/2026-07-09/resource-policy/{ResourceArn}" POLICY;
        GetCapacityProvider GET "/2025-11-30/capacity-providers/{CapacityProviderName}" CAPACITY;
        GetCodeSigningConfig GET "/2020-04-22/code-signing-configs/{CodeSigningConfigArn}" SIGNING;
        GetDurableExecution GET "/2025-12-01/durable-executions/{DurableExecutionArn}" DURABLE;
        GetDurableExecutionHistory GET "/2025-12-01/durable-executions/{DurableExecutionArn}/history" DURABLE;
        GetDurableExecutionState GET "/2025-12-01/durable-executions/{DurableExecutionArn}/state" DURABLE;
        GetEventSourceMapping GET "/2015-03-31/event-source-mappings/{UUID}" EVENTS;
        GetFunctionCodeSigningConfig GET "/2020-06-30/functions/{FunctionName}/code-signing-config" SIGNING;
        GetFunctionEventInvokeConfig GET "/2019-09-25/functions/{FunctionName}/event-invoke-config" EVENTS;
        GetFunctionRecursionConfig GET "/2024-08-31/functions/{FunctionName}/recursion-config" RECURSION;
        GetFunctionScalingConfig GET "/2025-11-30/functions/{FunctionName}/function-scaling-config" CAPACITY;
        GetLayerVersion GET "/2018-10-31/layers/{LayerName}/versions/{VersionNumber}" LAYERS;
        GetLayerVersionPolicy GET "/2018-10-31/layers/{LayerName}/versions/{VersionNumber}/policy" LAYERS;
        GetPolicy GET "/2015-03-31/functions/{FunctionName}/policy" POLICY;
        GetResourcePolicy GET "/2026-07-09/resource-policy/{ResourceArn}" POLICY;
        GetRuntimeManagementConfig GET "/2021-07-20/functions/{FunctionName}/runtime-management-config" RUNTIMES;
        InvokeAsync POST "/2014-11-13/functions/{FunctionName}/invoke-async" EVENTS;
        InvokeWithResponseStream POST "/2021-11-15/functions/{FunctionName}/response-streaming-invocations" STREAMS;
        ListCapacityProviders GET "/2025-11-30/capacity-providers" CAPACITY;
        ListCodeSigningConfigs GET "/2020-04-22/code-signing-configs" SIGNING;
        ListDurableExecutionsByFunction GET "/2025-12-01/functions/{FunctionName}/durable-executions" DURABLE;
        ListEventSourceMappings GET "/2015-03-31/event-source-mappings" EVENTS;
        ListFunctionEventInvokeConfigs GET "/2019-09-25/functions/{FunctionName}/event-invoke-config/list" EVENTS;
        ListFunctionVersionsByCapacityProvider GET "/2025-11-30/capacity-providers/{CapacityProviderName}/function-versions" CAPACITY;
        ListFunctionsByCodeSigningConfig GET "/2020-04-22/code-signing-configs/{CodeSigningConfigArn}/functions" SIGNING;
        ListLayerVersions GET "/2018-10-31/layers/{LayerName}/versions" LAYERS;
        ListLayers GET "/2018-10-31/layers" LAYERS;
        PauseDurableExecution POST "/2025-12-01/durable-executions/{DurableExecutionArn}/pause" DURABLE;
        PublishLayerVersion POST "/2018-10-31/layers/{LayerName}/versions" LAYERS;
        PutFunctionCodeSigningConfig PUT "/2020-06-30/functions/{FunctionName}/code-signing-config" SIGNING;
        PutFunctionEventInvokeConfig PUT "/2019-09-25/functions/{FunctionName}/event-invoke-config" EVENTS;
        PutFunctionRecursionConfig PUT "/2024-08-31/functions/{FunctionName}/recursion-config" RECURSION;
        PutFunctionScalingConfig PUT "/2025-11-30/functions/{FunctionName}/function-scaling-config" CAPACITY;
        PutResourcePolicy PUT "/2026-07-09/resource-policy/{ResourceArn}" POLICY;
        PutRuntimeManagementConfig PUT "/2021-07-20/functions/{FunctionName}/runtime-management-config" RUNTIMES;
        RemoveLayerVersionPermission DELETE "/2018-10-31/layers/{LayerName}/versions/{VersionNumber}/policy/{StatementId}" LAYERS;
        RemovePermission DELETE "/2015-03-31/functions/{FunctionName}/policy/{StatementId}" POLICY;
        ResumeDurableExecution POST "/2025-12-01/durable-executions/{DurableExecutionArn}/resume" DURABLE;
        SendDurableExecutionCallbackFailure POST "/2025-12-01/durable-execution-callbacks/{CallbackId}/fail" DURABLE;
        SendDurableExecutionCallbackHeartbeat POST "/2025-12-01/durable-execution-callbacks/{CallbackId}/heartbeat" DURABLE;
        SendDurableExecutionCallbackSuccess POST "/2025-12-01/durable-execution-callbacks/{CallbackId}/succeed" DURABLE;
        StopDurableExecution POST "/2025-12-01/durable-executions/{DurableExecutionArn}/stop" DURABLE;
        UpdateCapacityProvider PUT "/2025-11-30/capacity-providers/{CapacityProviderName}" CAPACITY;
        UpdateCodeSigningConfig PUT "/2020-04-22/code-signing-configs/{CodeSigningConfigArn}" SIGNING;
        UpdateEventSourceMapping PUT "/2015-03-31/event-source-mappings/{UUID}" EVENTS;
        UpdateFunctionEventInvokeConfig POST "/2019-09-25/functions/{FunctionName}/event-invoke-config" EVENTS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: Method, path: &str, query: &str) -> String {
        match find(&method, path, query) {
            Found::Operation(operation, open) => format!("{} {}", operation.name, open.join(" ")),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn paths_lead_to_operations() {
        let check = |method, path, query, wanted: &str| {
            assert_eq!(found(method, path, query).trim(), wanted, "{path}");
        };
        check(
            Method::GET,
            "/2015-03-31/functions/",
            "MaxItems=1",
            "ListFunctions",
        );
        check(Method::POST, "/2015-03-31/functions", "", "CreateFunction");
        check(
            Method::GET,
            "/2015-03-31/functions/f/aliases/a",
            "",
            "GetAlias f a",
        );
        let ready = "/2019-09-30/functions/f/provisioned-concurrency";
        check(
            Method::GET,
            ready,
            "Qualifier=1",
            "GetProvisionedConcurrencyConfig f",
        );
        check(
            Method::GET,
            ready,
            "MaxItems=1&List=ALL",
            "ListProvisionedConcurrencyConfigs f",
        );
        check(Method::GET, "/2018-10-31/layers", "", "ListLayers");
        check(
            Method::GET,
            "/2017-03-31/tags/arn%3Aaws",
            "",
            "ListTags arn%3Aaws",
        );
        check(Method::PATCH, "/2015-03-31/functions", "", "OtherMethod");
        check(Method::GET, "/2015-01-01/functions", "", "Nothing");
        check(Method::GET, "/2015-03-31/functions/f/other", "", "Nothing");
    }

    /// Each has a row of the table that people read, and says the same there.
    #[test]
    fn the_documentation_lists_each() {
        let page = include_str!("../../../docs/lambda.md");
        for Operation { name, support, .. } in OPERATIONS {
            let status = match support {
                Support::Here(_) => "yes",
                Support::Later(_) => "later",
                Support::Never(_) => "no",
            };
            let row = format!("| `{name}` | {status} |");
            assert!(page.contains(&row), "docs/lambda.md has no row {row}");
        }
    }
}
