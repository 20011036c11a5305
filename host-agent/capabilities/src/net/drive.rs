//! Who drives what waits for sockets: the task of the request, or, in a command, which has no runtime, a thread that is started
//! when it is needed first.

use std::{
    future::Future,
    sync::{Arc, OnceLock},
};

use jiffy_abi::call::{CallErrorKind, Sent};
use jiffy_client::CallFuture;
use jiffy_control::Reply;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::{reads::Work, reply};

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Driver(Arc<OnceLock<Runtime>>);

impl Driver {
    /// Has the call made. If the future is dropped, so is `work`.
    pub(crate) fn drive(&self, work: impl Future<Output = Reply> + Send + 'static) -> CallFuture {
        if Handle::try_current().is_ok() {
            return Box::pin(work);
        }
        match self.runtime() {
            Ok(runtime) => {
                let work = Work(runtime.spawn(work));
                Box::pin(async {
                    let ended =
                        || Reply::error(CallErrorKind::Failed, Sent::Maybe, "the host ends");
                    work.await.unwrap_or_else(ended)
                })
            }
            Err(error) => reply(Reply::error(CallErrorKind::Failed, Sent::No, &error)),
        }
    }

    fn runtime(&self) -> Result<&Runtime, String> {
        if let Some(runtime) = self.0.get() {
            return Ok(runtime);
        }
        let mut builder = Builder::new_multi_thread();
        let made = builder.worker_threads(1).enable_all().build();
        let made = made.map_err(|error| format!("cannot start a thread: {error}"))?;
        Ok(self.0.get_or_init(|| made))
    }
}
