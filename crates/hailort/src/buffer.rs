//! Buffers that a device reads and writes: whole pages, used again and again.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    ptr::NonNull,
    slice,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Frames that a model keeps for later.
const MOST_KEPT: usize = 64;

/// Bytes of the largest input or output. A HEF that has larger ones is not for these devices.
pub(crate) const LARGEST: usize = 1 << 30;

static BUFFERS: AtomicUsize = AtomicUsize::new(0);

/// Buffers of this process that exist now: to see leaks. Those that a model keeps for later count, and
/// those that a device never gives back.
#[must_use]
pub fn buffers() -> usize {
    BUFFERS.load(Ordering::Relaxed)
}

/// The page size that buffers are aligned to; the largest of the platforms that have Hailo devices
/// (a Raspberry Pi 5 may run with pages of 16 KiB).
const PAGE: usize = 16 << 10;

/// Zeroed memory: page-aligned, and allocated in whole pages, since a device writes whole pages.
#[derive(Debug)]
struct PageBuffer {
    start: NonNull<u8>,
    layout: Layout,
    size: usize,
}

// SAFETY: the memory is owned, and reached through `&` for reading and `&mut` for writing alone.
unsafe impl Send for PageBuffer {}
// SAFETY: as above.
unsafe impl Sync for PageBuffer {}

impl PageBuffer {
    fn new(size: usize) -> Self {
        assert!(size <= LARGEST, "a buffer of {size} bytes");
        let whole = size.max(1).next_multiple_of(PAGE);
        let layout =
            Layout::from_size_align(whole, PAGE).expect("the largest one is far smaller than memory");
        // SAFETY: the layout is not of size zero.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        BUFFERS.fetch_add(1, Ordering::Relaxed);
        Self { start, layout, size }
    }

    fn as_slice<T: Number>(&self) -> &[T] {
        // SAFETY: the memory is initialised, aligned for any number, long enough, and borrowed with
        // `self`; any bit pattern is a `T`.
        unsafe { slice::from_raw_parts(self.start.as_ptr().cast(), self.size / size_of::<T>()) }
    }

    fn as_mut_slice<T: Number>(&mut self) -> &mut [T] {
        // SAFETY: as above, and borrowed for writing.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.size / size_of::<T>()) }
    }

    fn raw(&mut self) -> hailort_sys::Buffer {
        hailort_sys::Buffer { data: self.start.as_ptr().cast(), size: self.size as u64 }
    }
}

impl Drop for PageBuffer {
    fn drop(&mut self) {
        BUFFERS.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: allocated with this layout, and not given up before.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

/// A number that buffers hold: any bit pattern is one.
pub trait Number: sealed::Sealed + Copy {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for u16 {}
    impl Sealed for f32 {}
}

impl Number for u8 {}
impl Number for u16 {}
impl Number for f32 {}

/// One inference's inputs and outputs. Goes back to its model when it is dropped.
#[derive(Debug)]
pub struct Frame {
    /// Inputs first; `None` only while it goes back.
    buffers: Option<Vec<PageBuffer>>,
    inputs: usize,
    pool: Arc<FramePool>,
}

impl Frame {
    /// An input, to be filled; as many numbers as the stream's frame holds.
    ///
    /// # Panics
    /// There is no such input.
    pub fn input<T: Number>(&mut self, index: usize) -> &mut [T] {
        assert!(index < self.inputs, "input {index} of {}", self.inputs);
        self.buffers.as_mut().expect("held until it is dropped")[index].as_mut_slice()
    }

    /// An output, to be read.
    ///
    /// # Panics
    /// There is no such output.
    #[must_use]
    pub fn output<T: Number>(&self, index: usize) -> &[T] {
        self.buffers.as_ref().expect("held until it is dropped")[self.inputs + index].as_slice()
    }

    /// Whether it belongs to the model that has this pool.
    pub(crate) fn is_of(&self, pool: &Arc<FramePool>) -> bool {
        Arc::ptr_eq(&self.pool, pool)
    }

    /// All buffers as C takes them, inputs first.
    pub(crate) fn raw(&mut self) -> impl Iterator<Item = hailort_sys::Buffer> + '_ {
        self.buffers.iter_mut().flatten().map(PageBuffer::raw)
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        if let Some(buffers) = self.buffers.take() {
            self.pool.put(buffers);
        }
    }
}

/// Frames of one model that nobody uses now.
#[derive(Debug)]
pub(crate) struct FramePool {
    free: Mutex<Vec<Vec<PageBuffer>>>,
    inputs: Vec<usize>,
    outputs: Vec<usize>,
}

impl FramePool {
    /// For frames with buffers of so many bytes.
    pub(crate) fn new(inputs: Vec<usize>, outputs: Vec<usize>) -> Arc<Self> {
        Arc::new(Self { free: Mutex::default(), inputs, outputs })
    }

    /// A frame that was used before, or a new one.
    pub(crate) fn take(self: &Arc<Self>) -> Frame {
        let free = self.lock().pop();
        let buffers = free.unwrap_or_else(|| {
            self.inputs.iter().chain(&self.outputs).map(|&size| PageBuffer::new(size)).collect()
        });
        Frame { buffers: Some(buffers), inputs: self.inputs.len(), pool: Arc::clone(self) }
    }

    fn put(&self, buffers: Vec<PageBuffer>) {
        let mut free = self.lock();
        if free.len() < MOST_KEPT {
            free.push(buffers);
        }
    }

    /// Frames that are kept for later.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Vec<PageBuffer>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_whole_pages() {
        let mut buffer = PageBuffer::new(5);
        assert_eq!(buffer.as_mut_slice::<u8>(), [0; 5]);
        assert_eq!(buffer.start.as_ptr().addr() % PAGE, 0);
        assert_eq!(buffer.layout.size() % PAGE, 0);
        assert_eq!(buffer.raw().size, 5);
        assert_eq!(PageBuffer::new(8).as_slice::<f32>(), [0.0; 2]);
    }

    #[test]
    fn frames_are_used_again() {
        let pool = FramePool::new(vec![4], vec![8, 2]);
        let mut frame = pool.take();
        frame.input(0).copy_from_slice(&[1_u8, 2, 3, 4]);
        assert_eq!(frame.output::<f32>(0).len(), 2);
        assert_eq!(frame.output::<u16>(1).len(), 1);
        assert_eq!(frame.raw().map(|buffer| buffer.size).collect::<Vec<_>>(), [4, 8, 2]);
        let address = frame.input::<u8>(0).as_ptr();
        let other = pool.take();
        drop(frame);
        assert_eq!(pool.take().input::<u8>(0).as_ptr(), address);
        drop(other);
    }

    #[test]
    fn a_pool_does_not_grow_without_limit() {
        let pool = FramePool::new(vec![1], vec![1]);
        drop((0..2 * MOST_KEPT).map(|_| pool.take()).collect::<Vec<_>>());
        assert_eq!(pool.kept(), MOST_KEPT);
    }

    #[test]
    #[should_panic(expected = "a buffer of")]
    fn a_size_that_cannot_be_is_refused() {
        FramePool::new(vec![usize::MAX], vec![]).take();
    }
}
