//! Memory whose neighbour faults: an access past the last value ends the test at once.

use std::ptr::{NonNull, null_mut};

/// Values that end where a page without access begins, with room before them in the same mapping.
#[derive(Debug)]
pub struct Guarded<T> {
    mapping: *mut libc::c_void,
    bytes: usize,
    first: NonNull<T>,
    len: usize,
}

impl<T: Copy> Guarded<T> {
    /// A copy of `values`.
    pub fn new(values: &[T]) -> Self {
        // SAFETY: a question without arguments in memory.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).expect("a page size");
        let open = size_of_val(values).next_multiple_of(page);
        let bytes = open + page;
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANON);
        // SAFETY: a new mapping at an address that the system chooses touches nothing that exists.
        let mapping = unsafe { libc::mmap(null_mut(), bytes, access, kind, -1, 0) };
        assert_ne!(mapping, libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
        // SAFETY: the last page of our own mapping, of which nothing is borrowed yet.
        let closed = unsafe { libc::mprotect(mapping.byte_add(open), page, libc::PROT_NONE) };
        assert_eq!(closed, 0, "mprotect: {}", std::io::Error::last_os_error());
        // SAFETY: `values` fit before the closed page, whose start is aligned for every T, and the mapping is new.
        let first = unsafe {
            let first = mapping.byte_add(open).cast::<T>().sub(values.len());
            first.copy_from_nonoverlapping(values.as_ptr(), values.len());
            first
        };
        let first = NonNull::new(first).expect("an address in the mapping");
        Self { mapping, bytes, first, len: values.len() }
    }

    /// The values.
    pub fn values(&self) -> &[T] {
        // SAFETY: `new` wrote `len` values here, and the mapping lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }

    /// The values, to change.
    pub fn values_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `values`; `self` is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.first.as_ptr(), self.len) }
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        // SAFETY: our own mapping, of which no borrow outlives `self`.
        unsafe { libc::munmap(self.mapping, self.bytes) };
    }
}
