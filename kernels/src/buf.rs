//! Memory on cache-line boundaries.

use crate::real::Real;
use crate::shape::ShapeError;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Bytes in a cache line, and in the longest vector.
pub const LINE: usize = 64;

/// Bytes in a huge page of x86-64, and of AArch64 with pages of 4 kB.
const HUGE_PAGE: usize = 2 << 20;

/// Values in a [`Line`]: one cache line of f32, two of f64.
const VALUES: usize = 16;

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line<T>([T; VALUES]);

/// `len` values rounded up to a whole number of cache lines. `usize::MAX`, which nothing has, where that cannot be counted.
pub fn whole_lines<T: Real>(len: usize) -> usize {
    len.checked_next_multiple_of(LINE / size_of::<T>()).unwrap_or(usize::MAX)
}

/// The row stride of a state plane or tape of `len` values: whole cache lines, and where these are many, an odd number of
/// them. Rows that are a power of two apart would share the same few sets of a cache, and those of a tile drive each other
/// out. `usize::MAX`, which no plane has, where that cannot be counted.
pub fn padded<T: Real>(len: usize) -> usize {
    let (whole, line) = (whole_lines::<T>(len), LINE / size_of::<T>());
    let lines = whole / line;
    if lines >= MANY_LINES && lines.is_multiple_of(2) { whole.saturating_add(line) } else { whole }
}

/// From so many lines on rows are an odd number of lines apart: 64 of them are then more than the first cache level has.
const MANY_LINES: usize = 16;

/// Values that start on a cache line; all of them are read and written as a slice. Scratch memory starts as NaN, so that
/// reading what nobody wrote shows in the results.
///
/// From 2 MB on they start on a boundary of that size and are asked to stand in huge pages ([`ask_for_huge_pages`]): weights
/// that outgrow the caches then take an address translation every 2 MB, not every 4 kB.
#[derive(Debug)]
pub struct Buf<T> {
    /// The first of `lines` lines, allocated with [`layout`] and initialised; dangling where there are none.
    first: NonNull<Line<T>>,
    lines: usize,
    len: usize,
}

// SAFETY: a Buf owns its values as a Vec does.
unsafe impl<T: Send> Send for Buf<T> {}
// SAFETY: as above; a shared Buf gives nothing but shared values.
unsafe impl<T: Sync> Sync for Buf<T> {}

impl<T> Buf<T> {
    /// No values.
    pub const fn empty() -> Self {
        Buf { first: NonNull::dangling(), lines: 0, len: 0 }
    }

    /// Memory for `len` values, made of whole lines that `line` gives by number. `None` where they do not fit.
    fn of_lines(len: usize, line: impl Fn(usize) -> Line<T>) -> Option<Self> {
        let lines = len.div_ceil(VALUES);
        if lines == 0 {
            return Some(Self::empty());
        }
        let layout = layout::<T>(lines)?;
        // SAFETY: `lines` is not 0, so neither is the size.
        let first = NonNull::new(unsafe { alloc(layout) }.cast::<Line<T>>())?;
        // SAFETY: the allocation has room for `lines` lines, on their boundary.
        let memory = unsafe { std::slice::from_raw_parts_mut(first.as_ptr().cast::<MaybeUninit<Line<T>>>(), lines) };
        ask_for_huge_pages(memory);
        for (n, place) in memory.iter_mut().enumerate() {
            place.write(line(n));
        }
        Some(Buf { first, lines, len })
    }
}

impl<T: Real> Buf<T> {
    /// `len` values, all `value`.
    ///
    /// # Errors
    /// `len` values do not fit in memory.
    pub fn filled(len: usize, value: T) -> Result<Self, ShapeError> {
        let no_room = ShapeError { argument: "memory", expected: len, found: 0 };
        Self::of_lines(len, |_| Line([value; VALUES])).ok_or(no_room)
    }

    /// `len` values of scratch: NaN.
    ///
    /// # Errors
    /// `len` values do not fit in memory.
    pub fn scratch(len: usize) -> Result<Self, ShapeError> {
        Self::filled(len, T::NAN)
    }

    /// Makes it at least `len` values long; what grows starts as NaN, with no promise on what was there before.
    ///
    /// # Errors
    /// `len` values do not fit in memory.
    pub fn reserve(&mut self, len: usize) -> Result<(), ShapeError> {
        if len > self.len {
            *self = Self::scratch(len)?;
        }
        Ok(())
    }
}

/// How `lines` lines are allocated; `None` where no allocation is as long.
fn layout<T>(lines: usize) -> Option<Layout> {
    let bytes = lines.checked_mul(size_of::<Line<T>>())?;
    Layout::from_size_align(bytes, if bytes < HUGE_PAGE { LINE } else { HUGE_PAGE }).ok()
}

/// Asks Linux for huge pages where memory that was not written yet covers whole ones, so that translating its addresses
/// costs little. Nothing happens where there are none, or the system chooses by itself.
pub fn ask_for_huge_pages<T>(memory: &mut [MaybeUninit<T>]) {
    let (start, len) = (memory.as_mut_ptr().cast::<u8>(), size_of_val(memory));
    let before = start.align_offset(HUGE_PAGE).min(len);
    let bytes = (len - before) / HUGE_PAGE * HUGE_PAGE;
    if bytes > 0 {
        advise(start.wrapping_add(before), bytes);
    }
}

#[cfg(target_os = "linux")]
fn advise(start: *mut u8, bytes: usize) {
    use std::ffi::{c_int, c_void};
    /// Of Linux, on every processor.
    const MADV_HUGEPAGE: c_int = 14;
    // SAFETY: declared as in <sys/mman.h> of the C library, which std links.
    unsafe extern "C" {
        fn madvise(start: *mut c_void, bytes: usize, advice: c_int) -> c_int;
    }
    // SAFETY: this advice leaves contents as they are, whatever the addresses; where it does not apply it fails.
    unsafe { madvise(start.cast(), bytes, MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn advise(_: *mut u8, _: usize) {}

impl<T: Clone> Clone for Buf<T> {
    fn clone(&self) -> Self {
        // SAFETY: `first` starts `lines` lines, initialised.
        let copy = Self::of_lines(self.len, |n| unsafe { self.first.add(n).as_ref() }.clone());
        copy.unwrap_or_else(|| handle_alloc_error(layout::<T>(self.lines).unwrap_or(Layout::new::<Line<T>>())))
    }
}

impl<T> Drop for Buf<T> {
    fn drop(&mut self) {
        if let (1.., Some(layout)) = (self.lines, layout::<T>(self.lines)) {
            // SAFETY: `of_lines` allocated it with this layout; T has nothing to drop.
            unsafe { dealloc(self.first.as_ptr().cast(), layout) };
        }
    }
}

impl<T> Deref for Buf<T> {
    type Target = [T];
    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: `first` starts lines of at least `len` values of T, initialised, one after the other without padding
        // (a Line is 16 values of 4 or 8 bytes, a multiple of its alignment).
        unsafe { std::slice::from_raw_parts(self.first.as_ptr().cast(), self.len) }
    }
}

impl<T> DerefMut for Buf<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`; `&mut self` makes the borrow unique.
        unsafe { std::slice::from_raw_parts_mut(self.first.as_ptr().cast(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_on_a_line_and_as_nan() {
        for len in [0, 1, 15, 16, 17, 100] {
            let buf = Buf::<f64>::scratch(len).unwrap();
            assert_eq!((buf.len(), buf.as_ptr() as usize % LINE), (len, 0));
            assert!(buf.iter().all(|x| x.is_nan()));
            assert_eq!(Buf::filled(len, 2.0f32).unwrap().to_vec(), vec![2.0f32; len]);
        }
    }

    #[test]
    fn long_rows_are_an_odd_number_of_lines_apart() {
        for (len, lines) in [(0, 0), (2, 1), (16, 1), (18, 2), (240, 15), (242, 17), (256, 17), (272, 17), (1024, 65)] {
            assert_eq!((padded::<f32>(len), padded::<f64>(len / 2)), (16 * lines, 8 * lines), "{len}");
            assert!((len..len + 32).contains(&whole_lines::<f32>(len)));
        }
        assert_eq!([padded::<f32>(usize::MAX), padded::<f64>(usize::MAX - 1)], [usize::MAX; 2]);
    }

    #[test]
    fn large_ones_start_on_a_huge_page() {
        for len in [HUGE_PAGE / 4 - 1, HUGE_PAGE / 4, HUGE_PAGE / 2 + 1] {
            let mut buf = Buf::filled(len, 1.5f32).unwrap();
            let boundary = if len * 4 < HUGE_PAGE - LINE { LINE } else { HUGE_PAGE };
            assert_eq!(buf.as_ptr() as usize % boundary, 0, "{len}");
            buf[len - 1] = 2.5;
            let copy = buf.clone();
            assert_eq!((copy.len(), copy[0], copy[len - 1]), (len, 1.5, 2.5));
            assert_ne!(copy.as_ptr(), buf.as_ptr());
        }
    }

    /// The kernel marks a mapping that was asked to be made of huge pages.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    #[test]
    fn linux_was_asked_for_huge_pages() {
        if !std::path::Path::new("/sys/kernel/mm/transparent_hugepage/enabled").exists() {
            return;
        }
        let mut vec = Vec::<f32>::with_capacity(HUGE_PAGE);
        ask_for_huge_pages(vec.spare_capacity_mut());
        let buf = Buf::filled(HUGE_PAGE / 4, 1.0f32).unwrap();
        let middle = vec.as_ptr().wrapping_add(HUGE_PAGE / 2) as usize;
        assert!(is_marked(middle), "a vector");
        assert!(is_marked(buf.as_ptr() as usize), "a buffer");
    }

    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    fn is_marked(address: usize) -> bool {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        for line in maps.lines() {
            let first = line.split(' ').next().unwrap_or_default();
            if let Some((from, to)) = first.split_once('-') {
                let bound = |text| usize::from_str_radix(text, 16);
                inside = bound(from).is_ok_and(|from| from <= address) && bound(to).is_ok_and(|to| address < to);
            } else if inside && first == "VmFlags:" {
                return line.split(' ').any(|flag| flag == "hg");
            }
        }
        panic!("{address:x} is not mapped");
    }

    #[test]
    fn refuses_what_cannot_be_had() {
        assert!(Buf::<f32>::scratch(usize::MAX).is_err());
        assert!(Buf::<f64>::scratch(isize::MAX as usize / 8).is_err());
    }

    #[test]
    fn grows_and_never_shrinks() {
        let mut buf = Buf::<f32>::empty();
        buf.reserve(20).unwrap();
        buf.reserve(3).unwrap();
        assert_eq!(buf.len(), 20);
    }

    #[test]
    fn pads_to_lines() {
        assert_eq!([padded::<f32>(0), padded::<f32>(1), padded::<f32>(17), padded::<f64>(9)], [0, 16, 32, 16]);
        assert_eq!(padded::<f32>(usize::MAX), usize::MAX);
    }
}
