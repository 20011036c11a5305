//! What is done when a guest rings: it is ready, or it waits. A wait moves bytes between its queues and
//! the request stream, and frames between the NIC and the host, until there is what it waits for; that it waits idle ends a
//! request.
//! Not here: which exit is which doorbell, and what ends a guest (`super`).

use std::{os::unix::net::UnixStream, time::Instant};

use jiffy_abi::{control_page, doorbell::Wait};
use jiffy_control::{Event, VmEnd};

use super::{
    GuestState, Next, RunError, Stop, Vm, nanoseconds,
    wake::{EventSet, Woken},
};
use crate::devices::{console::Console, vsock::Sent};

impl<F: FnMut(Event)> Vm<F> {
    /// Answers READY: the guest has run `init`, and listens.
    pub(super) fn ready(&mut self) -> Result<(), Stop> {
        if self.guest != GuestState::Starting {
            return Ok(());
        }
        if !self.bus.vsock.is_open() {
            // Its answer to the host's connection may be in the transmit queue only now.
            self.transmit()?;
            if !self.bus.vsock.is_open() {
                let message = "the guest was ready before it accepted the request stream";
                return Err(Stop::Broken(message.into()));
            }
        }
        self.deadline.end().map_err(RunError::Deadline)?;
        self.drain_log()?;
        self.tell_console(Console::take_rest)?;
        self.tell_log_lost();
        self.guest = GuestState::Idle;
        self.stats.phases.init_ns = nanoseconds(self.began.elapsed());
        self.count_cpu_time();
        (self.on_event)(Event::Ready(self.stats.phases));
        Ok(())
    }

    /// Answers WAIT: services the queues, waits as the guest wishes, writes the resume page.
    /// When that completes a request, it comes back before it waits.
    pub(super) fn serve(&mut self, wait: Wait) -> Result<Next, Stop> {
        self.drain_log()?;
        let mut sent = self.transmit()?;
        self.send_frames()?;
        let memory = self.machine.ram().device_memory();
        let own = self.bus.vsock.receive(memory, None::<&mut UnixStream>)?;
        let until = match wait {
            Wait::EventUntil => self.wake_time(),
            _ => None,
        };
        let takes_frames = self.takes_frames(wait);
        let mut has_frames = takes_frames && self.receive_frames()?;
        let mut now = Instant::now();
        loop {
            let is_idle = wait == Wait::Idle && !sent.blocked;
            if is_idle && self.guest == GuestState::Busy {
                self.request_done(now)?;
                return Ok(Next::Done);
            }
            let has_news = own.packets > 0 || sent.packets > 0 || has_frames;
            let is_answered = match wait {
                Wait::Poll => true,
                Wait::Event => has_news,
                Wait::EventUntil => has_news || until.is_none_or(|until| until <= now),
                // A reply of the host is what it waits for; that its call was sent is no news.
                Wait::Received => false,
                // What the device itself has to say waits for the next request: a guest that is
                // idle runs only when it is timed.
                Wait::Idle => false,
            };
            if is_answered {
                break;
            }
            let interest = self.interest(is_idle, &sent)?;
            let for_frames = takes_frames && self.has_room_for_frames()?;
            let woken = self.wait(wait, interest, for_frames, until, now)?;
            now = Instant::now();
            self.check_deadline(now)?;
            if woken.commanded {
                return Ok(Next::Command);
            }
            has_frames = woken.frames && self.receive_frames()?;
            if woken.stream.contains(EventSet::OUT) {
                sent = self.transmit()?;
            }
            if woken.is_gone() && !interest.contains(EventSet::IN) {
                return Err(Stop::End(VmEnd::Finished));
            }
            let may_read = woken.stream.contains(EventSet::IN) || woken.is_gone();
            if may_read && self.receive(now)? {
                break;
            }
        }
        self.write_resume_page(now);
        Ok(Next::Run)
    }

    /// What the request stream is waited for: bytes that the guest has room for and may get now, and
    /// room for those it has sent.
    fn interest(&mut self, is_idle: bool, sent: &Sent) -> Result<EventSet, Stop> {
        let may_get = is_idle || self.guest == GuestState::Busy;
        let memory = self.machine.ram().device_memory();
        let is_readable = may_get && self.bus.vsock.can_receive(memory)?;
        if self.guest == GuestState::Idle && !is_readable {
            // Neither a request nor the end of the stream could ever reach it.
            let message = "the guest is idle without room for a request";
            return Err(Stop::Broken(message.into()));
        }
        let mut interest = EventSet::empty();
        interest.set(EventSet::IN, is_readable);
        interest.set(EventSet::OUT, sent.blocked);
        Ok(interest)
    }

    /// Waits for `interest`, for frames if they are wanted, and, if the guest is idle, for the VM's owner; until `until`, and no
    /// longer than the request may take.
    fn wait(
        &mut self,
        wait: Wait,
        interest: EventSet,
        for_frames: bool,
        until: Option<Instant>,
        now: Instant,
    ) -> Result<Woken, RunError> {
        let for_owner = wait == Wait::Idle && self.guest == GuestState::Idle;
        let limit = [self.deadline.ends(), until].into_iter().flatten().min();
        let timeout = limit.map(|limit| limit.saturating_duration_since(now));
        let woken = self.wake.wait(interest, for_frames, for_owner, timeout);
        woken.map_err(RunError::Wait)
    }

    /// When the guest wants to be woken at the latest.
    fn wake_time(&self) -> Option<Instant> {
        let wake_ns = self.machine.ram().read_u64(control_page::WAKE_NS)?;
        self.resume.instant(wake_ns)
    }

    /// Gives the guest what the host has; true if there was anything.
    fn receive(&mut self, now: Instant) -> Result<bool, Stop> {
        let memory = self.machine.ram().device_memory();
        let received = self.bus.vsock.receive(memory, Some(&mut self.stream))?;
        self.stats.bytes_in += received.bytes;
        if received.closed {
            return Err(Stop::End(VmEnd::Finished));
        }
        if received.bytes > 0 && self.guest == GuestState::Idle {
            self.guest = GuestState::Busy;
            self.stats.requests += 1;
            self.forget_stale_frames()?;
            self.began = now;
            self.exits_before = self.stats.exits;
            self.bytes_out_before = self.stats.bytes_out;
            self.log.begin(self.stats.log_lost);
            self.deadline.begin(now).map_err(RunError::Deadline)?;
        }
        // An idle guest is woken by a request's bytes and by nothing else.
        Ok(received.packets > 0 && self.guest != GuestState::Idle)
    }

    fn transmit(&mut self) -> Result<Sent, Stop> {
        let memory = self.machine.ram().device_memory();
        let sent = self.bus.vsock.transmit(memory, &mut self.stream)?;
        self.stats.bytes_out += sent.bytes;
        if sent.bytes > 0 && self.guest != GuestState::Busy {
            // A reply would be in the snapshot, and every VM made of it would take it for its own.
            let message = "the guest sent something without a request in hand: `init` may not call";
            return Err(Stop::Broken(message.into()));
        }
        if sent.closed {
            return Err(Stop::End(VmEnd::Finished));
        }
        Ok(sent)
    }

    fn request_done(&mut self, now: Instant) -> Result<(), Stop> {
        if self.stats.bytes_out == self.bytes_out_before {
            return Err(Stop::Broken(
                "the guest went idle without answering its request".into(),
            ));
        }
        self.tell_console(Console::take_rest)?;
        self.tell_log_lost();
        self.guest = GuestState::Idle;
        self.deadline.end().map_err(RunError::Deadline)?;
        self.stats.requests_done += 1;
        self.count_request(now);
        Ok(())
    }
}
