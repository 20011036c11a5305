//! Tells a function what runs it: `jiffy::host_info`.

use std::error::Error;

use jiffy_abi::{
    call::{CallErrorKind, OPERATION_HOST_INFO, SERVICE_HOST, Sent},
    frame::Tag,
};
use jiffy_client::{CallContext, CallFuture};
use jiffy_control::{Call, Reply};

use crate::{
    Capability, Config, Operations, Prepared, Version, net::Net, reply, unknown_operation,
};

#[derive(Debug)]
pub(crate) struct Host {
    release: String,
}

/// For one version.
#[derive(Debug)]
pub(crate) struct HostOf {
    release: String,
    function_name: String,
}

impl Capability for Host {
    const SERVICE: u16 = SERVICE_HOST;
    const NAME: &'static str = "host";
    const OPERATIONS: Operations = &[(OPERATION_HOST_INFO, "info")];
    type Prepared = HostOf;

    fn configure(config: &Config, _: &Net) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let release = config.release.clone();
        Ok(Self { release })
    }

    fn prepare(&self, version: &Version<'_>) -> HostOf {
        HostOf {
            release: self.release.clone(),
            function_name: version.function_name.into(),
        }
    }
}

impl Prepared for HostOf {
    fn call(&self, call: Call, context: &CallContext<'_>) -> CallFuture {
        reply(match call.operation {
            _ if !call.binding.is_empty() => {
                let message = format!("invalid binding {:?}: the host has none", call.binding);
                Reply::error(CallErrorKind::Denied, Sent::No, &message)
            }
            OPERATION_HOST_INFO => self.info(context),
            _ => unknown_operation(Host::NAME, &call),
        })
    }
}

impl HostOf {
    fn info(&self, context: &CallContext<'_>) -> Reply {
        let fields = [
            (Tag::Release, &self.release),
            (Tag::FunctionName, &self.function_name),
            (Tag::FunctionVersion, &context.request.function_version),
            (Tag::RequestId, &context.request.request_id),
        ];
        let mut fields = fields.into_iter();
        let told = fields.try_fold(Reply::ok(vec![]), |reply, (tag, text)| {
            reply.field(tag, text.as_bytes())
        });
        told.unwrap_or_else(|error| {
            Reply::error(CallErrorKind::Failed, Sent::Yes, &error.to_string())
        })
    }
}
