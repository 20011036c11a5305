//! Which devices a message gives to a VM. The descriptors that they need come with the message, behind its own and in the
//! order of the list, so that no device has a place or a flag of its own in any message.
//!
//! Not here: what devices there are and where (`jiffy_abi::devices`).

use jiffy_abi::devices::{DEVICES_MAX, DeviceId};
use serde::{Deserialize, Serialize};

/// Devices, each once, in ascending order of their numbers. What is received may be anything until it is paired.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Devices(Vec<u32>);

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
}

/// Whether a descriptor comes with a device.
const fn has_descriptor(id: DeviceId) -> bool {
    match id {
        DeviceId::Vsock => true, // The host's end of the request stream.
        DeviceId::Console => false,
    }
}

impl Devices {
    /// These devices.
    pub fn new(ids: &[DeviceId]) -> Self {
        let mut numbers: Vec<u32> = ids.iter().map(|id| id.number()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        Self(numbers)
    }

    /// Each device with the descriptor that came for it, if one has to; `descriptors` are all that came for devices.
    pub fn pair<D>(&self, descriptors: Vec<D>) -> Result<Vec<(DeviceId, Option<D>)>, DevicesError> {
        if self.0.len() > DEVICES_MAX {
            return Err(DevicesError::TooMany(self.0.len()));
        }
        let mut descriptors = descriptors.into_iter();
        let mut devices = Vec::with_capacity(self.0.len());
        let mut before = None;
        for &number in &self.0 {
            if let Some(before) = before.filter(|before| *before >= number) {
                return Err(DevicesError::Order { number, before });
            }
            before = Some(number);
            let id = DeviceId::from_number(number).ok_or(DevicesError::Unknown(number))?;
            let descriptor = if has_descriptor(id) {
                let descriptor = descriptors.next();
                Some(descriptor.ok_or(DevicesError::NoDescriptor(id.name()))?)
            } else {
                None
            };
            devices.push((id, descriptor));
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

    fn list(numbers: &[u32]) -> Devices {
        Devices(numbers.into())
    }

    #[test]
    fn each_device_gets_its_own_descriptor() {
        let (vsock, console) = (DeviceId::Vsock, DeviceId::Console);
        let both = Devices::new(&[console, vsock, console]);
        assert_eq!(both, list(&[0, 1]));
        assert_eq!(
            both.pair(vec!['a']),
            Ok(vec![(vsock, Some('a')), (console, None)])
        );
        assert_eq!(Devices::default().pair::<char>(vec![]), Ok(vec![]));
    }

    #[test]
    fn a_list_that_says_too_much_or_too_little_is_refused() {
        let check = |numbers: &[u32], descriptors: usize| {
            let paired = list(numbers).pair(vec![(); descriptors]);
            paired.expect_err("refused")
        };
        let no_descriptor = DevicesError::NoDescriptor("vsock device");
        assert_eq!(check(&[0, 1], 0), no_descriptor);
        assert_eq!(check(&[0, 1], 2), DevicesError::Surplus(1));
        assert_eq!(check(&[], 3), DevicesError::Surplus(3));
        assert_eq!(check(&[1], 1), DevicesError::Surplus(1));
        let order = |number, before| DevicesError::Order { number, before };
        assert_eq!(check(&[1, 0], 1), order(0, 1));
        assert_eq!(check(&[1, 1], 0), order(1, 1));
        assert_eq!(check(&[7], 1), DevicesError::Unknown(7));
        assert_eq!(check(&[u32::MAX], 0), DevicesError::Unknown(u32::MAX));
        let many = vec![0; DEVICES_MAX + 1];
        assert_eq!(check(&many, 1), DevicesError::TooMany(DEVICES_MAX + 1));
    }

    proptest! {
        /// What is taken is each device once, in order, and every descriptor with the device that it is of.
        #[test]
        fn nothing_is_lost_or_given_twice(
            numbers in prop::collection::vec(0..4_u32, 0..4),
            descriptors in 0..4_usize,
        ) {
            let came: Vec<usize> = (0..descriptors).collect();
            if let Ok(paired) = list(&numbers).pair(came.clone()) {
                let taken: Vec<u32> = paired.iter().map(|(id, _)| id.number()).collect();
                prop_assert!(taken.is_sorted_by(|one, next| one < next));
                prop_assert_eq!(taken, numbers);
                let given: Vec<usize> = paired.iter().filter_map(|(_, descriptor)| *descriptor).collect();
                prop_assert_eq!(given, came);
                prop_assert!(paired.iter().all(|(id, descriptor)| has_descriptor(*id) == descriptor.is_some()));
            }
        }
    }
}
