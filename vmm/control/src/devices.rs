//! Which devices a message gives to a VM. The descriptors that they need come with the message, behind its own and in the
//! order of the list, so that no device has a place or a flag of its own in any message.
//!
//! Not here: what devices there are and where (`jiffy_abi::devices`).

use jiffy_abi::{
    devices::{DEVICES_MAX, DeviceId},
    resume_page::NetworkIdentity,
};
use serde::{Deserialize, Serialize};

use crate::{Network, NetworkError};

/// Devices, each once, in ascending order of their numbers, and the NIC's network. What is received may be anything until it
/// is paired.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Devices {
    numbers: Vec<u32>,
    network: Option<Network>,
}

/// A device that is given, with the descriptor that came for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given<D> {
    /// The vsock device, and the host's end of the request stream.
    Vsock(D),
    /// The console.
    Console,
    /// The NIC: who its guest is, and the host's side of its frames. Without, as a VM that is captured has it, there is a NIC and
    /// no network.
    Nic(Option<(NetworkIdentity, D)>),
}

/// Why a list, or what came with it, gives no devices. All blame the sender.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum DevicesError {
    #[error("it lists {0} devices, more than {DEVICES_MAX}")]
    TooMany(usize),
    #[error("it lists a device of number {0}, which there is not")]
    Unknown(u32),
    #[error(
        "it lists the device of number {number} behind that of number {before}: each must be there once, in ascending order"
    )]
    Order { number: u32, before: u32 },
    #[error("its {0} comes without a descriptor")]
    NoDescriptor(&'static str),
    #[error("{0} descriptors come with it that belong to no device")]
    Surplus(usize),
    #[error("it has a network for a NIC that it does not list")]
    NoNic,
    #[error("its NIC's network cannot be one")]
    Network(#[from] NetworkError),
}

impl<D> Given<D> {
    /// Which device it is.
    pub fn id(&self) -> DeviceId {
        match self {
            Self::Vsock(_) => DeviceId::Vsock,
            Self::Console => DeviceId::Console,
            Self::Nic(_) => DeviceId::Nic,
        }
    }

    /// The descriptor that came for it.
    pub fn descriptor(&self) -> Option<&D> {
        match self {
            Self::Vsock(descriptor) | Self::Nic(Some((_, descriptor))) => Some(descriptor),
            Self::Console | Self::Nic(None) => None,
        }
    }
}

impl Devices {
    /// These devices; a NIC among them has no network.
    pub fn new(ids: &[DeviceId]) -> Self {
        let mut numbers: Vec<u32> = ids.iter().map(|id| id.number()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let network = None;
        Self { numbers, network }
    }

    /// The NIC among them has this network.
    #[must_use]
    pub fn with_network(mut self, network: Network) -> Self {
        self.network = Some(network);
        self
    }

    /// Each device with the descriptor that came for it, if one has to; `descriptors` are all that came for devices.
    pub fn pair<D>(&self, descriptors: Vec<D>) -> Result<Vec<Given<D>>, DevicesError> {
        let count = self.numbers.len();
        if count > DEVICES_MAX {
            return Err(DevicesError::TooMany(count));
        }
        let mut network = self.network;
        let mut descriptors = descriptors.into_iter();
        let mut devices = Vec::with_capacity(count);
        let mut before = None;
        for &number in &self.numbers {
            if let Some(before) = before.filter(|before| *before >= number) {
                return Err(DevicesError::Order { number, before });
            }
            before = Some(number);
            let id = DeviceId::from_number(number).ok_or(DevicesError::Unknown(number))?;
            let mut descriptor = || {
                let descriptor = descriptors.next();
                descriptor.ok_or(DevicesError::NoDescriptor(id.name()))
            };
            devices.push(match id {
                DeviceId::Vsock => Given::Vsock(descriptor()?),
                DeviceId::Console => Given::Console,
                DeviceId::Nic => Given::Nic(match network.take() {
                    Some(network) => Some((network.identity()?, descriptor()?)),
                    None => None,
                }),
            });
        }
        if network.is_some() {
            return Err(DevicesError::NoNic);
        }
        match descriptors.count() {
            0 => Ok(devices),
            surplus => Err(DevicesError::Surplus(surplus)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::network::tests::good;

    fn list(numbers: &[u32]) -> Devices {
        Devices {
            numbers: numbers.into(),
            network: None,
        }
    }

    fn network() -> Network {
        Network::new(&good()).expect("a network")
    }

    #[test]
    fn each_device_gets_its_own_descriptor() {
        let (vsock, console, nic) = (DeviceId::Vsock, DeviceId::Console, DeviceId::Nic);
        let all = Devices::new(&[console, vsock, nic, console]);
        assert_eq!(all, list(&[0, 1, 2]));
        let (vsock, console) = (Given::Vsock('a'), Given::Console);
        assert_eq!(
            all.pair(vec!['a']),
            Ok(vec![vsock, console, Given::Nic(None)])
        );
        let nic = Given::Nic(Some((good(), 'b')));
        let all = all.with_network(network());
        assert_eq!(all.pair(vec!['a', 'b']), Ok(vec![vsock, console, nic]));
        assert_eq!(Devices::default().pair::<char>(vec![]), Ok(vec![]));
    }

    #[test]
    fn a_list_that_says_too_much_or_too_little_is_refused() {
        let check = |devices: &Devices, descriptors: usize| {
            let paired = devices.pair(vec![(); descriptors]);
            paired.expect_err("refused")
        };
        let numbers = |numbers: &[u32], descriptors| check(&list(numbers), descriptors);
        let no_descriptor = DevicesError::NoDescriptor("vsock device");
        assert_eq!(numbers(&[0, 1], 0), no_descriptor);
        assert_eq!(numbers(&[0, 1], 2), DevicesError::Surplus(1));
        assert_eq!(numbers(&[], 3), DevicesError::Surplus(3));
        assert_eq!(numbers(&[1], 1), DevicesError::Surplus(1));
        assert_eq!(numbers(&[2], 1), DevicesError::Surplus(1));
        let order = |number, before| DevicesError::Order { number, before };
        assert_eq!(numbers(&[1, 0], 1), order(0, 1));
        assert_eq!(numbers(&[1, 1], 0), order(1, 1));
        assert_eq!(numbers(&[7], 1), DevicesError::Unknown(7));
        assert_eq!(numbers(&[u32::MAX], 0), DevicesError::Unknown(u32::MAX));
        let many = vec![0; DEVICES_MAX + 1];
        assert_eq!(numbers(&many, 1), DevicesError::TooMany(DEVICES_MAX + 1));

        let nic = list(&[2]).with_network(network());
        assert_eq!(check(&nic, 0), DevicesError::NoDescriptor("NIC"));
        assert_eq!(check(&nic, 2), DevicesError::Surplus(1));
        let no_nic = list(&[1]).with_network(network());
        assert_eq!(check(&no_nic, 0), DevicesError::NoNic);
        assert_eq!(check(&no_nic, 1), DevicesError::NoNic);
    }

    proptest! {
        /// What is taken is each device once, in order, and every descriptor with the device that it is of.
        #[test]
        fn nothing_is_lost_or_given_twice(
            numbers in prop::collection::vec(0..4_u32, 0..4),
            descriptors in 0..4_usize,
            has_network: bool,
        ) {
            let came: Vec<usize> = (0..descriptors).collect();
            let devices = list(&numbers);
            let devices = if has_network { devices.with_network(network()) } else { devices };
            if let Ok(paired) = devices.pair(came.clone()) {
                let taken: Vec<u32> = paired.iter().map(|given| given.id().number()).collect();
                prop_assert!(taken.is_sorted_by(|one, next| one < next));
                prop_assert_eq!(taken, numbers);
                let given: Vec<usize> = paired.iter().filter_map(|given| given.descriptor().copied()).collect();
                prop_assert_eq!(given, came);
                let networks = paired.iter().filter(|given| matches!(given, Given::Nic(Some(_))));
                prop_assert_eq!(networks.count(), usize::from(has_network));
            }
        }
    }
}
