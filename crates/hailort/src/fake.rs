//! A shim made of Rust, in which a test plays the device: it says how calls end, and calls back.

use std::{
    collections::HashMap,
    ffi::{CStr, c_char, c_void},
    slice,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use hailort_sys as sys;

use crate::{Format, Library, Model, ModelOptions, VDevice, VDeviceParams};

/// One machine of a test. Handles name it.
#[derive(Default)]
pub(crate) struct Fake {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// In order.
    calls: Vec<&'static str>,
    /// Statuses of calls that are to fail.
    failures: HashMap<&'static str, i32>,
    submissions: Vec<Submission>,
    /// Bytes of an input and an output, if not as the formats say.
    frame_size: Option<u64>,
}

struct Submission {
    /// Addresses and sizes: the pointers are the device's.
    buffers: Vec<(usize, usize)>,
    callback: sys::Callback,
    context: usize,
}

/// Numbers in an input and in an output.
pub(crate) const LENGTH: usize = 4;
pub(crate) const QUEUE_SIZE: usize = 3;

/// Every handle's machine; the group's name stands for a machine before there is a handle.
struct Machines {
    by_group: HashMap<Vec<u8>, Arc<Fake>>,
    by_handle: HashMap<sys::Handle, Arc<Fake>>,
    last: sys::Handle,
}

static MACHINES: Mutex<Option<Machines>> = Mutex::new(None);

fn machines<T>(body: impl FnOnce(&mut Machines) -> T) -> T {
    let mut machines = MACHINES.lock().unwrap_or_else(PoisonError::into_inner);
    body(machines.get_or_insert_with(|| Machines {
        by_group: HashMap::new(),
        by_handle: HashMap::new(),
        last: 0,
    }))
}

impl Fake {
    /// A machine, and a vdevice on it.
    pub(crate) fn start() -> (Arc<Self>, VDevice) {
        let fake = Arc::new(Self::default());
        let group = machines(|machines| {
            let group = format!("group {}", machines.by_group.len());
            machines.by_group.insert(group.clone().into_bytes(), Arc::clone(&fake));
            group
        });
        let params = VDeviceParams { group: Some(group), device_ids: Vec::new() };
        let vdevice = VDevice::open(&library(), &params).expect("the fake opens vdevices");
        (fake, vdevice)
    }

    /// With a model.
    pub(crate) fn with_model() -> (Arc<Self>, VDevice, Model) {
        let (fake, vdevice) = Self::start();
        let model = open_model(&vdevice).expect("the fake opens models");
        (fake, vdevice, model)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a call end with a status from now on.
    pub(crate) fn fail(&self, call: &'static str, status: i32) {
        self.lock().failures.insert(call, status);
    }

    pub(crate) fn set_frame_size(&self, size: u64) {
        self.lock().frame_size = Some(size);
    }

    /// The calls that were made since the last time.
    pub(crate) fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.lock().calls)
    }

    /// Handles that are open.
    pub(crate) fn open_handles(self: &Arc<Self>) -> usize {
        machines(|machines| machines.by_handle.values().filter(|fake| Arc::ptr_eq(fake, self)).count())
    }

    /// Ends a submission on a thread of the device's: each output becomes its input plus one, where it is
    /// a success.
    pub(crate) fn finish(&self, submission: usize, status: i32) {
        let (buffers, callback, context) = {
            let state = self.lock();
            let Submission { buffers, callback, context } = &state.submissions[submission];
            (buffers.clone(), *callback, *context)
        };
        let device = move || {
            if status == 0 {
                for frame in buffers.chunks(2) {
                    answer(frame[0], frame[1]);
                }
            }
            // SAFETY: it takes any context.
            unsafe { callback(std::ptr::without_provenance_mut(context), status) }
        };
        thread::spawn(device).join().expect("the callback does not panic");
    }

    /// Calls back once more, and writes nothing.
    pub(crate) fn call_back_again(&self, submission: usize) {
        self.lock().submissions[submission].buffers.clear();
        self.finish(submission, 0);
    }

    fn call(&self, name: &'static str) -> i32 {
        let mut state = self.lock();
        state.calls.push(name);
        state.failures.get(name).copied().unwrap_or(0)
    }
}

fn answer((input, input_size): (usize, usize), (output, output_size): (usize, usize)) {
    // SAFETY: the model lent the buffers at submission, and keeps them until the callback.
    let input = unsafe { slice::from_raw_parts(std::ptr::with_exposed_provenance::<u8>(input), input_size) };
    // SAFETY: as above.
    let output = unsafe {
        slice::from_raw_parts_mut(std::ptr::with_exposed_provenance_mut::<f32>(output), output_size / 4)
    };
    for (output, input) in output.iter_mut().zip(input) {
        *output = f32::from(*input) + 1.0;
    }
}

/// A library that is all fake.
pub(crate) fn library() -> Library {
    Library::with(api()).expect("the fake has versions")
}

pub(crate) fn open_model(vdevice: &VDevice) -> Result<Model, crate::Error> {
    let options = ModelOptions { batch_size: 2, input: Format::UInt8, output: Format::Float32 };
    Model::open(vdevice, "model.hef".as_ref(), &options)
}

/// Runs a call on the machine that a handle is of.
fn on(handle: sys::Handle, name: &'static str, success: impl FnOnce(&Arc<Fake>)) -> i32 {
    let Some(fake) = machines(|machines| machines.by_handle.get(&handle).map(Arc::clone)) else {
        return sys::INVALID_HANDLE;
    };
    let status = fake.call(name);
    if status == 0 {
        success(&fake);
    }
    status
}

fn new_handle(fake: &Arc<Fake>) -> sys::Handle {
    machines(|machines| {
        machines.last += 1;
        machines.by_handle.insert(machines.last, Arc::clone(fake));
        machines.last
    })
}

/// As the shim does, a handle is closed whatever the status.
fn close(handle: sys::Handle, name: &'static str) -> i32 {
    let status = on(handle, name, |_| {});
    machines(|machines| machines.by_handle.remove(&handle));
    status
}

fn api() -> sys::Api {
    sys::Api {
        built_for: version,
        library_version: version,
        status_message,
        open_handles,
        scan,
        identify,
        vdevice_open,
        vdevice_device_count,
        vdevice_identify,
        vdevice_health,
        vdevice_close,
        model_open,
        model_stream_count,
        model_stream,
        model_set_batch_size,
        model_set_format,
        model_configure,
        model_queue_size,
        model_wait_ready,
        model_submit,
        model_shutdown,
        model_close,
    }
}

unsafe extern "C" fn version(version: *mut sys::Version) -> i32 {
    // SAFETY: the caller's promise, here and below.
    unsafe { *version = sys::Version { major: 5, minor: 2, revision: 0 } };
    0
}

unsafe extern "C" fn status_message(status: i32) -> *const c_char {
    if status == 61 { c"HAILO_NOT_FOUND".as_ptr() } else { std::ptr::null() }
}

unsafe extern "C" fn open_handles() -> u32 {
    machines(|machines| machines.by_handle.len() as u32)
}

/// More devices than there is room for, with names as long as can be.
unsafe extern "C" fn scan(ids: *mut sys::DeviceId, capacity: u32, count: *mut u32) -> i32 {
    for index in 0..capacity as usize {
        // SAFETY: there is room for so many.
        unsafe { (*ids.add(index)).id = [b'x'.cast_signed(); 64] };
    }
    // SAFETY: as above.
    unsafe { *count = capacity + 1 };
    0
}

unsafe extern "C" fn identify(_: *const c_char, identity: *mut sys::Identity) -> i32 {
    // SAFETY: as above.
    unsafe { (*identity).architecture = 99 };
    0
}

unsafe extern "C" fn vdevice_open(params: *const sys::VDeviceParams, vdevice: *mut sys::Handle) -> i32 {
    // SAFETY: as above; the tests name a group.
    let group = unsafe { CStr::from_ptr((*params).group_id) }.to_bytes();
    let fake = machines(|machines| Arc::clone(&machines.by_group[group]));
    // SAFETY: as above.
    unsafe { *vdevice = new_handle(&fake) };
    0
}

unsafe extern "C" fn vdevice_device_count(vdevice: sys::Handle, count: *mut u32) -> i32 {
    // SAFETY: as above.
    on(vdevice, "vdevice_device_count", |_| unsafe { *count = 1 })
}

unsafe extern "C" fn vdevice_identify(vdevice: sys::Handle, _: u32, identity: *mut sys::Identity) -> i32 {
    // SAFETY: as above.
    on(vdevice, "vdevice_identify", |_| unsafe { (*identity).architecture = sys::ARCHITECTURE_HAILO10H })
}

unsafe extern "C" fn vdevice_health(vdevice: sys::Handle, _: u32, health: *mut sys::Health) -> i32 {
    let silent = sys::Health { temperature: f32::NAN, throttling: -1 };
    // SAFETY: as above.
    on(vdevice, "vdevice_health", |_| unsafe { *health = silent })
}

unsafe extern "C" fn vdevice_close(vdevice: sys::Handle) -> i32 {
    close(vdevice, "vdevice_close")
}

unsafe extern "C" fn model_open(vdevice: sys::Handle, _: *const c_char, model: *mut sys::Handle) -> i32 {
    // SAFETY: as above.
    on(vdevice, "model_open", |fake| unsafe { *model = new_handle(fake) })
}

unsafe extern "C" fn model_stream_count(model: sys::Handle, _: i32, count: *mut u32) -> i32 {
    // SAFETY: as above.
    on(model, "model_stream_count", |_| unsafe { *count = 1 })
}

unsafe extern "C" fn model_stream(
    model: sys::Handle,
    direction: i32,
    _: u32,
    stream: *mut sys::Stream,
) -> i32 {
    on(model, "model_stream", |fake| {
        let size = if direction == sys::INPUT { LENGTH } else { LENGTH * size_of::<f32>() };
        // SAFETY: as above.
        let stream = unsafe { &mut *stream };
        (stream.height, stream.width, stream.channels) = (1, 1, LENGTH as u32);
        stream.frame_size = fake.lock().frame_size.unwrap_or(size as u64);
    })
}

unsafe extern "C" fn model_set_batch_size(model: sys::Handle, _: u16) -> i32 {
    on(model, "model_set_batch_size", |_| {})
}

unsafe extern "C" fn model_set_format(model: sys::Handle, _: i32, _: u32, _: i32) -> i32 {
    on(model, "model_set_format", |_| {})
}

unsafe extern "C" fn model_configure(model: sys::Handle) -> i32 {
    on(model, "model_configure", |_| {})
}

unsafe extern "C" fn model_queue_size(model: sys::Handle, frames: *mut u32) -> i32 {
    // SAFETY: as above.
    on(model, "model_queue_size", |_| unsafe { *frames = QUEUE_SIZE as u32 })
}

unsafe extern "C" fn model_wait_ready(model: sys::Handle, _: u32, _: u32) -> i32 {
    on(model, "model_wait_ready", |_| {})
}

unsafe extern "C" fn model_submit(
    model: sys::Handle,
    buffers: *const sys::Buffer,
    buffer_count: u32,
    frame_count: u32,
    callback: sys::Callback,
    context: *mut c_void,
) -> i32 {
    assert_eq!(buffer_count, 2 * frame_count);
    on(model, "model_submit", |fake| {
        // SAFETY: as above.
        let buffers = unsafe { slice::from_raw_parts(buffers, buffer_count as usize) };
        let buffers = buffers.iter().map(|buffer| (buffer.data.expose_provenance(), buffer.size as usize));
        let submission = Submission { buffers: buffers.collect(), callback, context: context.addr() };
        fake.lock().submissions.push(submission);
    })
}

unsafe extern "C" fn model_shutdown(model: sys::Handle) -> i32 {
    on(model, "model_shutdown", |_| {})
}

unsafe extern "C" fn model_close(model: sys::Handle) -> i32 {
    close(model, "model_close")
}
