//! Little-endian fields at fixed offsets, for the fixed-size records of this crate.

/// Copies `field` to `record[offset..]`. Only called with offsets that const asserts pin.
#[inline]
pub(crate) const fn put<const N: usize>(record: &mut [u8], offset: usize, field: [u8; N]) {
    let (_, rest) = record.split_at_mut(offset);
    let (place, _) = rest.split_at_mut(N);
    place.copy_from_slice(&field);
}

/// Reads the field at `record[offset..]`. Only called with offsets that const asserts pin.
#[inline]
pub(crate) const fn get<const N: usize>(record: &[u8], offset: usize) -> [u8; N] {
    let (_, rest) = record.split_at(offset);
    match rest.first_chunk() {
        Some(field) => *field,
        None => panic!("a field beyond the end of its record"),
    }
}
