//! Mixed load on an agent: every answer is checked against its request, and deploys against what was acknowledged.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Mutex, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use jiffy_tests::agent::{Answer, Client};
use serde_json::json;

/// Between two deploys.
const DEPLOY_EVERY: Duration = Duration::from_millis(150);
/// Between two attempts while there is no agent.
const WAIT: Duration = Duration::from_millis(10);
/// How often a first request may fail because its VM was killed.
/// Versions before the live one that are looked for to be deleted.
const OLD_VERSIONS_MAX: u64 = 4;
const ATTEMPTS_MAX: u32 = 50;
/// The function whose versions are deployed all the time.
const DEPLOYED: &str = "deployed";

/// Not for secrets (SplitMix64).
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// How requests ended.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// With what they should.
    pub(crate) right: u64,
    /// Because their VM was killed, or could not be made.
    pub(crate) platform: u64,
    /// Because there was no VM in time.
    pub(crate) busy: u64,
    /// Because the agent was killed.
    pub(crate) lost: u64,
    deployed: u64,
    deploys_failed: u64,
    bytes: u64,
    /// Why requests failed, without numbers.
    reasons: BTreeMap<String, u64>,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.right += other.right;
        self.platform += other.platform;
        self.busy += other.busy;
        self.lost += other.lost;
        self.deployed += other.deployed;
        self.deploys_failed += other.deploys_failed;
        self.bytes += other.bytes;
        for (reason, count) in &other.reasons {
            *self.reasons.entry(reason.clone()).or_default() += count;
        }
    }

    fn because(&mut self, answer: &Answer) {
        let detail = answer.json()["detail"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let reason = detail.replace(|letter: char| letter.is_ascii_digit(), "");
        *self.reasons.entry(reason).or_default() += 1;
    }

    /// That there was load at all, and that most of it was served.
    pub(crate) fn check(&self) {
        assert!(self.right > 100 && self.deployed > 3, "{self}");
        assert!(self.platform + self.busy < self.right / 10, "{self}");
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "requests: {} right, {} failed with their VM, {} busy, {} lost with the agent, {} MiB echoed; \
             deploys: {} acknowledged, {} failed",
            self.right,
            self.platform,
            self.busy,
            self.lost,
            self.bytes >> 20,
            self.deployed,
            self.deploys_failed
        )?;
        self.reasons
            .iter()
            .try_for_each(|(reason, count)| write!(f, "\n{count} x {reason}"))
    }
}

/// Everything the load threads share.
#[derive(Debug)]
pub(crate) struct Load {
    /// The agent that lives.
    client: RwLock<Client>,
    /// How often the agent was killed or started: odd while there is none.
    epoch: AtomicU64,
    pub(crate) is_done: AtomicBool,
    /// How often the disk began to fill up or was freed: odd while it is full.
    disk_epoch: AtomicU64,
    pub(crate) counts: Mutex<Counts>,
    image: String,
    /// Marks of the last deploy that was acknowledged, and of the last that was sent.
    acknowledged: AtomicU64,
    sent: AtomicU64,
}

impl Load {
    /// Deploys what is asked later.
    pub(crate) fn deploy(client: &Client) -> Self {
        // The agent keeps no image for long that no version has, and to build one may take longer.
        for name in ["echo", "teller", "hello", "faults"] {
            jiffy_tests::image(name);
        }
        let echo = client.upload("echo");
        let teller = client.upload("teller");
        client.deploy("echo", &echo, json!({})).expect(201);
        let reuse = json!({ "isolation": "reuse", "max_concurrency": 2 });
        client.deploy("reuse", &teller, reuse).expect(201);
        client
            .deploy("hello", &client.upload("hello"), json!({}))
            .expect(201);
        let faults = json!({ "memory_bytes": 8 << 20, "timeout_ms": 1000 });
        client
            .deploy("faults", &client.upload("faults"), faults)
            .expect(201);
        let load = Self {
            client: RwLock::new(client.clone()),
            epoch: AtomicU64::new(0),
            is_done: AtomicBool::new(false),
            disk_epoch: AtomicU64::new(0),
            counts: Mutex::default(),
            image: teller,
            acknowledged: AtomicU64::new(0),
            sent: AtomicU64::new(0),
        };
        assert_eq!(load.redeploy(client).expect("an answer").status, 201);
        load
    }

    /// The agent is about to be killed.
    pub(crate) fn agent_goes(&self) {
        self.epoch.fetch_add(1, SeqCst);
    }

    /// There is another.
    pub(crate) fn agent_comes(&self, client: &Client) {
        *self.client.write().expect("not poisoned") = client.clone();
        self.epoch.fetch_add(1, SeqCst);
    }

    /// The disk is about to be full, or has room again.
    pub(crate) fn disk_changes(&self) {
        self.disk_epoch.fetch_add(1, SeqCst);
    }

    /// Odd while there is no agent.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(SeqCst)
    }

    fn client(&self) -> Client {
        self.client.read().expect("not poisoned").clone()
    }

    /// Deploys the next mark.
    pub(crate) fn redeploy(&self, client: &Client) -> Result<Answer, String> {
        let mark = self.sent.fetch_add(1, SeqCst) + 1;
        let settings = json!({ "environment": { "MARK": mark.to_string() } });
        let answer = client.try_deploy(DEPLOYED, &self.image, settings);
        let answer = answer.map_err(|error| error.to_string())?;
        if matches!(answer.status, 200 | 201) {
            self.acknowledged.store(mark, SeqCst);
            // Those of before, too, of which nobody was told: only so many may be published at once.
            let version = answer.json()["version"].as_u64().expect("a number");
            for old in version.saturating_sub(OLD_VERSIONS_MAX).max(1)..version {
                let path = format!("/v1/functions/{DEPLOYED}/versions/{old}");
                // The agent may be gone, or it is deleted already.
                let _ = client.send("DELETE", &path, &[], b"");
            }
        }
        Ok(answer)
    }

    /// The live version is the last that was acknowledged, or one that was sent later.
    pub(crate) fn check_acknowledged(&self, client: &Client) {
        for _ in 0..ATTEMPTS_MAX {
            let mut counts = Counts::default();
            self.ask_mark(self.epoch(), client, &mut counts);
            if counts.right == 1 {
                return;
            }
            thread::sleep(WAIT);
        }
        panic!("the deployed function does not answer");
    }

    pub(crate) fn deploy_until_done(&self) {
        let mut counts = Counts::default();
        while !self.is_done.load(SeqCst) {
            thread::sleep(DEPLOY_EVERY);
            let (epoch, client) = (self.epoch.load(SeqCst), self.client());
            let disk = self.disk_epoch.load(SeqCst);
            if epoch % 2 == 1 {
                continue;
            }
            match self.redeploy(&client) {
                Ok(answer) if answer.status == 200 => counts.deployed += 1,
                Ok(answer) => {
                    let may_fail = disk % 2 == 1 || self.disk_epoch.load(SeqCst) != disk;
                    assert!(
                        may_fail && answer.problem() == "platform",
                        "{}",
                        answer.text()
                    );
                    counts.deploys_failed += 1;
                }
                Err(error) => {
                    assert!(
                        self.epoch.load(SeqCst) != epoch,
                        "a deploy got no answer: {error}"
                    );
                    counts.deploys_failed += 1;
                }
            }
        }
        self.counts.lock().expect("not poisoned").add(&counts);
    }

    pub(crate) fn ask_until_done(&self, seed: u64) {
        let (mut random, mut counts) = (Random(seed), Counts::default());
        while !self.is_done.load(SeqCst) {
            // Before the client, which may be that of an agent that goes meanwhile.
            let epoch = self.epoch();
            if epoch % 2 == 1 {
                thread::sleep(WAIT);
                continue;
            }
            self.ask(epoch, &self.client(), &mut random, &mut counts);
        }
        self.counts.lock().expect("not poisoned").add(&counts);
    }

    /// One request of any kind. Only if the epoch is another by then may it get no answer.
    pub(crate) fn ask(
        &self,
        epoch: u64,
        client: &Client,
        random: &mut Random,
        counts: &mut Counts,
    ) {
        let number = random.next();
        match random.below(100) {
            0..40 => {
                let event = format!(r#"{{"name":"{number}"}}"#);
                let right = format!(r#"{{"greeting":"Hello, {number}!"}}"#);
                self.request(epoch, client, counts, "hello", event.as_bytes(), |answer| {
                    answer.status == 200 && answer.body == right.as_bytes()
                });
            }
            40..65 => {
                let bytes_max = if random.below(20) == 0 {
                    4 << 20
                } else {
                    32 << 10
                };
                let bytes = random.below(bytes_max);
                let body: Vec<u8> = (0..bytes / 8)
                    .flat_map(|_| random.next().to_le_bytes())
                    .collect();
                self.request(epoch, client, counts, "echo", &body, |answer| {
                    answer.status == 200 && answer.body == body
                });
                counts.bytes += bytes;
            }
            65..75 => {
                let event = format!("log {number}");
                self.request(epoch, client, counts, "reuse", event.as_bytes(), |answer| {
                    answer.status == 200 && answer.body == number.to_string().as_bytes()
                });
            }
            75..90 => self.ask_mark(epoch, client, counts),
            kind => {
                let (kind, problem) = match kind % 6 {
                    0 => ("error", "function-error"),
                    1 => ("panic", "panic"),
                    2 => ("wild-write", "fault"),
                    3 => ("oom", "out-of-memory"),
                    4 => ("stack-overflow", "fault"),
                    _ => ("nonsense", "bad-event"),
                };
                let event = format!(r#"{{"kind":"{kind}"}}"#);
                self.request(
                    epoch,
                    client,
                    counts,
                    "faults",
                    event.as_bytes(),
                    |answer| answer.problem() == problem,
                );
            }
        }
    }

    fn ask_mark(&self, epoch: u64, client: &Client, counts: &mut Counts) {
        // The answer may be of a version that was deployed meanwhile, but of no older one.
        let oldest = self.acknowledged.load(SeqCst);
        self.request(epoch, client, counts, DEPLOYED, b"env MARK", |answer| {
            let mark = answer.text().parse::<u64>();
            mark.is_ok_and(|mark| (oldest..=self.sent.load(SeqCst)).contains(&mark))
        });
    }

    fn request(
        &self,
        epoch: u64,
        client: &Client,
        counts: &mut Counts,
        function: &str,
        event: &[u8],
        is_right: impl FnOnce(&Answer) -> bool,
    ) {
        let path = format!("/v1/functions/{function}/invoke");
        match client.send("POST", &path, &[], event) {
            Ok(answer) if is_right(&answer) => counts.right += 1,
            Ok(answer) if answer.status == 429 => {
                counts.busy += 1;
                counts.because(&answer);
            }
            Ok(answer) if answer.problem() == "platform" => {
                counts.platform += 1;
                counts.because(&answer);
            }
            Ok(answer) => {
                let event = String::from_utf8_lossy(&event[..event.len().min(100)]);
                panic!(
                    "{function} answered {event:?} with {}: {}",
                    answer.status,
                    answer.text()
                );
            }
            Err(error) => {
                assert!(self.epoch() != epoch, "{function} gave no answer: {error}");
                counts.lost += 1;
            }
        }
    }
}
