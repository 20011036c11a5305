//! The process that makes shells: one per agent, with one thread.
//!
//! ```text
//! look at the host ── enter the outer jail ── Ready ──┬─ request: group, fork ─▶ shell: VM, jail, wait
//!                                                     ├─ a shell ended: reap, tell, remove its group
//!                                                     └─ the owner is gone: end all, remove all
//! ```
//!
//! A shell is forked and not executed: what the spawner looked up (KVM, CPU features, the compiled
//! filter) is there, and its memory is shared until it is written. Nothing of the jail is left to be
//! done once a shell waits.
//! Not here: what is in the jail (`jail`), what a shell does (`shell`), the protocol (`jiffy-control`).

#[allow(
    unsafe_code,
    reason = "a forked child closes descriptors that its copies of values own"
)]
mod child;
#[cfg(not(feature = "testing"))]
mod plain;
mod table;
#[cfg(feature = "testing")]
pub mod testing;
mod users;

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
};

use clap::Args;
use event_manager::{EventManager, EventOps, EventSet, Events, MutEventSubscriber, SubscriberOps};
use jiffy_control::{
    Blame, Devices, DevicesError, Given, Missing, Packet, PacketError, SpawnReply, SpawnRequest,
};
use jiffy_snapshots::Digest;
use jiffy_socket::{ControlError, ControlSocket};
use rustix::process::{
    PidfdFlags, Resource, Rlimit, geteuid, getpid, getrlimit, pidfd_open, setrlimit,
};

use crate::{
    cgroup::{CgroupError, Hierarchy, Limits, vm_pids},
    jail::{Filter, Fork, JailError, Outer, enter_outer, fork_shell},
    kvm::{Host, KvmError},
    mem::{Program, forgo_huge_pages},
};
#[cfg(not(feature = "testing"))]
use plain::Hooks;
use table::{Owned, Table};
#[cfg(feature = "testing")]
use testing::Hooks;
pub use users::SPAWNERS_MAX;
use users::Users;

/// Shells that one spawner has at most: each needs two of its descriptors and a user of its own.
pub const SHELLS_MAX: u32 = 1 << 16;
/// First of the users and groups that shells get: above those that distributions and container
/// managers give out, below the numbers that are negative for some.
pub const USER_BASE_DEFAULT: u32 = 2_000_000_000;
/// RAM at which a VM may use one whole CPU, bytes: every VM of the default size may, and a smaller
/// one in proportion. An operator who sells CPU by memory sets it higher.
pub const CPU_FULL_RAM_BYTES_DEFAULT: u64 = jiffy_abi::layout::RAM_BYTES_DEFAULT;
const CGROUP_ROOT: &str = "/sys/fs/cgroup";
const CGROUP_NAME: &str = "jiffy";
/// What is looked at in one round.
const EVENTS_PER_WAIT: usize = 64;
/// Tells events of the owner's socket from those of shells, which have their slots.
const OWNER: u32 = SHELLS_MAX;

/// How shells are made, as the command line has it.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Leaves out the whole jail, for debugging: a guest that breaks out of its VM has this user's
    /// rights.
    #[arg(long)]
    pub no_jail: bool,
    /// Leaves out control groups: a VM that eats memory or CPU hurts its neighbours.
    #[arg(long)]
    pub no_cgroups: bool,
    /// RAM at which a VM may use one whole CPU; less RAM, less CPU.
    #[arg(long = "cpu-full-ram", value_name = "BYTES", default_value_t = CPU_FULL_RAM_BYTES_DEFAULT)]
    pub cpu_full_ram_bytes: u64,
    // Each spawner takes SHELLS_MAX of them from there on that no other has.
    /// First of the users and groups that VMs run as, if this is started by root.
    #[arg(long, value_name = "ID", default_value_t = USER_BASE_DEFAULT)]
    pub user_base: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            no_jail: false,
            no_cgroups: false,
            cpu_full_ram_bytes: CPU_FULL_RAM_BYTES_DEFAULT,
            user_base: USER_BASE_DEFAULT,
        }
    }
}

/// Why there are no shells. All but [`SpawnerError::Control`] blame the host.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum SpawnerError {
    #[error(transparent)]
    Kvm(#[from] KvmError),
    #[error(transparent)]
    Jail(#[from] JailError),
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error("cannot open {0}: a spawner needs it")]
    Open(&'static str, #[source] io::Error),
    #[error("cannot forgo huge pages")]
    HugePages(#[source] io::Error),
    #[error("cannot open its own process: use Linux 5.7 or newer")]
    Itself(#[source] io::Error),
    #[error("cannot take a block of users for shells")]
    Users(#[source] io::Error),
    #[error(
        "all {SPAWNERS_MAX} blocks of users from --user-base on are taken: stop an agent, or lower it"
    )]
    NoUsers,
    #[error("cannot wait for requests")]
    Wait(#[source] io::Error),
    #[error("cannot talk to the spawner's owner")]
    Control(#[from] ControlError),
    #[error("a request for a shell came without its two sockets")]
    Sockets,
    #[error("a request for a shell gives devices that cannot be taken")]
    Devices(#[from] DevicesError),
    #[error("there are {SHELLS_MAX} shells already: start another agent")]
    TooMany,
    #[error("process {0} is not a shell of this spawner")]
    Unknown(u32),
}

impl SpawnerError {
    fn reply(&self) -> SpawnReply {
        SpawnReply::Failed {
            blame: match self {
                Self::Sockets | Self::Devices(_) | Self::Unknown(_) => Blame::Bug,
                _ => Blame::Host,
            },
            message: jiffy_control::error_chain(self),
        }
    }
}

/// What is opened before the root is left, and what every shell starts with.
struct Inherited {
    host: Host,
    /// This process, with which shells end.
    spawner: OwnedFd,
    /// `/proc`, from which a shell opens its own page map.
    proc: OwnedFd,
    /// `/dev/null`, a shell's standard streams.
    null: File,
    program: Program,
    filter: Filter,
    outer: Outer,
    options: Options,
}

/// The one subscriber: its events are the owner's, and one of each shell.
struct Spawner {
    owner: ControlSocket,
    inherited: Inherited,
    groups: Option<Hierarchy>,
    users: Users,
    /// Tasks that a group allows.
    pids: u32,
    shells: Table,
    hooks: Hooks,
    /// The owner is gone, or cannot be talked to.
    ended: Option<Result<(), SpawnerError>>,
}

/// Makes shells for the one who holds the other end of `owner`, until that is closed.
pub fn run(owner: ControlSocket, options: &Options) -> Result<(), SpawnerError> {
    run_with(owner, options, Hooks::default())
}

fn run_with(owner: ControlSocket, options: &Options, hooks: Hooks) -> Result<(), SpawnerError> {
    let made = EventManager::new_with_capacity(EVENTS_PER_WAIT).map_err(wait_error);
    let made = match made {
        Ok(events) => Spawner::new(owner, options, hooks).map(|spawner| (events, spawner)),
        Err(error) => Err((owner, error)),
    };
    let (mut events, spawner) = match made {
        Ok(made) => made,
        Err((owner, error)) => {
            // If nobody listens, the error is still returned.
            drop(owner.send(&error.reply()));
            return Err(error);
        }
    };
    let id = events.add_subscriber(spawner);
    let result = loop {
        // First, because it may have ended before there was anything to wait for.
        let spawner = events.subscriber_mut(id).map_err(wait_error)?;
        if let Some(result) = spawner.ended.take() {
            break result;
        }
        // Requests are answered and shells reaped in here.
        if let Err(error) = events.run() {
            break Err(wait_error(error));
        }
    };
    events.remove_subscriber(id).map_err(wait_error)?.end();
    result
}

fn wait_error(error: event_manager::Error) -> SpawnerError {
    SpawnerError::Wait(io::Error::other(error))
}

impl MutEventSubscriber for Spawner {
    fn init(&mut self, ops: &mut EventOps<'_>) {
        let owner = self.owner.as_fd().as_raw_fd();
        if let Err(error) = ops.add(Events::with_data_raw(owner, OWNER, EventSet::IN)) {
            self.ended = Some(Err(wait_error(error)));
        }
    }

    fn process(&mut self, events: Events, ops: &mut EventOps<'_>) {
        match events.data() {
            OWNER => match self.answer(ops) {
                Ok(true) => {}
                Ok(false) => self.ended = Some(Ok(())),
                Err(error) => self.ended = Some(Err(error)),
            },
            shell => {
                // Closing it would not do: its owner has a copy, and for as long as that is open
                // the kernel would go on telling of it.
                let _ = ops.remove(events);
                self.shells.reap(shell);
            }
        }
    }
}

impl Spawner {
    fn new(
        owner: ControlSocket,
        options: &Options,
        hooks: Hooks,
    ) -> Result<Self, (ControlSocket, SpawnerError)> {
        match Self::look_around(&owner, options, &hooks) {
            Ok((inherited, groups, users, pids)) => Ok(Self {
                owner,
                shells: Table::new(),
                inherited,
                groups,
                users,
                pids,
                hooks,
                ended: None,
            }),
            Err(error) => Err((owner, error)),
        }
    }

    /// Everything that needs the host's files, and then leaves them.
    fn look_around(
        owner: &ControlSocket,
        options: &Options,
        hooks: &Hooks,
    ) -> Result<(Inherited, Option<Hierarchy>, Users, u32), SpawnerError> {
        allow_many_descriptors();
        forgo_huge_pages().map_err(SpawnerError::HugePages)?;
        let host = Host::open()?;
        let open = |path| move |error| SpawnerError::Open(path, error);
        let spawner = pidfd_open(getpid(), PidfdFlags::empty());
        let spawner = spawner.map_err(|error| SpawnerError::Itself(error.into()))?;
        let proc = File::open("/proc").map_err(open("/proc"))?.into();
        let null = File::options().read(true).write(true).open("/dev/null");
        let null = null.map_err(open("/dev/null"))?;
        let program = Program::find().map_err(open("/proc/self/maps"))?;
        let pids = vm_pids();
        // Names of sockets are the network namespace's, so this comes before that is left.
        let users = if geteuid().is_root() && !options.no_jail {
            Users::take(options.user_base)?
        } else {
            Users::unused(options.user_base)
        };
        let groups = (!options.no_jail && !options.no_cgroups)
            .then(|| Hierarchy::detect(Path::new(CGROUP_ROOT), CGROUP_NAME));
        let filter = hooks.filter()?;
        // The first digest of a process asks the CPU what it can do, which is slow where that is a virtual one. Shells
        // inherit the answer, and verify a snapshot's state without asking.
        let _ = Digest::of(&[]);
        let outer = if options.no_jail {
            Outer::none()
        } else {
            enter_outer()?
        };
        let missing = groups.as_ref().map_or(vec![], |groups| {
            let missing = groups.missing().iter();
            missing
                .map(|(controller, reason)| Missing {
                    layer: format!("cgroup {controller}"),
                    reason: reason.to_string(),
                })
                .collect()
        });
        owner.send(&SpawnReply::Ready { missing })?;
        let inherited = Inherited {
            host,
            spawner,
            proc,
            null,
            program,
            filter,
            outer,
            options: options.clone(),
        };
        Ok((inherited, groups, users, pids))
    }

    /// Answers one request; false once there will be no more.
    fn answer(&mut self, ops: &mut EventOps<'_>) -> Result<bool, SpawnerError> {
        let (request, sockets) = match self.owner.recv_with::<SpawnRequest>() {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(false),
            Err(
                error @ (ControlError::Receive(_) | ControlError::Packet(PacketError::Version(_))),
            ) => {
                return Err(error.into());
            }
            Err(error) => {
                self.owner.send(&SpawnerError::from(error).reply())?;
                return Ok(true);
            }
        };
        let answered = match request {
            SpawnRequest::Shell { ram_bytes, devices } => {
                self.spawn(ram_bytes, &devices, sockets, ops)
            }
            SpawnRequest::Resize {
                process_id,
                ram_bytes,
            } => self.resize(process_id, ram_bytes),
        };
        // An owner that is gone is noticed at the next turn.
        drop(match answered {
            Ok((reply, descriptor)) => {
                let descriptors: Vec<_> = descriptor.iter().map(AsFd::as_fd).collect();
                let packet = Packet::new(&reply).map_err(ControlError::from)?;
                self.owner.send_with(&packet, &descriptors)
            }
            Err(error) => self.owner.send(&error.reply()),
        });
        Ok(true)
    }

    fn spawn(
        &mut self,
        ram_bytes: u64,
        devices: &Devices,
        sockets: Vec<OwnedFd>,
        ops: &mut EventOps<'_>,
    ) -> Result<(SpawnReply, Option<OwnedFd>), SpawnerError> {
        let mut sockets = sockets.into_iter();
        let control = sockets.next().ok_or(SpawnerError::Sockets)?;
        let devices = devices.pair(sockets.collect())?;
        let [Given::Vsock(stream)] =
            <[_; 1]>::try_from(devices).map_err(|_| SpawnerError::Sockets)?
        else {
            return Err(SpawnerError::Sockets);
        };
        let slot = self.shells.free_slot().ok_or(SpawnerError::TooMany)?;
        let limits = self.limits(ram_bytes);
        let mut group = match &self.groups {
            Some(groups) => Some(groups.create(slot, &limits)?),
            None => None,
        };
        let into = group.as_ref().and_then(|group| group.into_cgroup_fd());
        let fork = match fork_shell(&self.inherited.outer, into) {
            Ok(fork) => fork,
            Err(error) => {
                if let Some(group) = group {
                    group.remove()?;
                }
                return Err(error.into());
            }
        };
        match fork {
            Fork::Child => {
                let user = self.users.of(slot);
                child::run(
                    &self.inherited,
                    &self.hooks,
                    group.as_ref(),
                    user,
                    ram_bytes,
                    control,
                    stream,
                )
            }
            Fork::Parent { pid, pidfd } => {
                if let Some(group) = &mut group {
                    group.close_entrance();
                }
                let process_id = pid.as_raw_nonzero().get().unsigned_abs();
                let theirs = pidfd.try_clone().map_err(SpawnerError::Wait);
                let added = ops.add(Events::with_data(&pidfd, slot, EventSet::IN));
                self.shells.insert(
                    slot,
                    Owned {
                        pid,
                        pidfd,
                        control: ControlSocket::from(control),
                        group,
                    },
                );
                if let Err(error) = added {
                    // Nobody would hear of its end.
                    self.shells.end_one(slot);
                    return Err(wait_error(error));
                }
                Ok((SpawnReply::Shell { process_id }, Some(theirs?)))
            }
        }
    }

    fn resize(
        &mut self,
        process_id: u32,
        ram_bytes: u64,
    ) -> Result<(SpawnReply, Option<OwnedFd>), SpawnerError> {
        let limits = self.limits(ram_bytes);
        let shell = self.shells.of_process(process_id);
        let shell = shell.ok_or(SpawnerError::Unknown(process_id))?;
        if let Some(group) = &mut shell.group {
            group.set_limits(&limits)?;
        }
        Ok((SpawnReply::Resized, None))
    }

    fn limits(&self, ram_bytes: u64) -> Limits {
        Limits::for_vm(
            ram_bytes,
            self.inherited.options.cpu_full_ram_bytes,
            self.pids,
        )
    }

    /// Ends all shells and removes what was made for them.
    fn end(self) {
        self.shells.end();
        if let Some(groups) = self.groups {
            // What is left is swept by the next spawner.
            drop(groups.remove());
        }
    }
}

/// Two descriptors for each shell soon are more than the 1,024 that a process gets by habit.
fn allow_many_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let (current, maximum) = (limit.maximum, limit.maximum);
    // With fewer there are fewer shells, and the one too many says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum });
}
