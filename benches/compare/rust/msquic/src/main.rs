//! The driver over msquic. Everything happens in its callbacks, on its worker thread.

mod client;
mod server;
mod stream;

use std::ffi::c_void;
use std::path::Path;
use std::ptr;

use compare_common::options::{self, Role};
use compare_common::{
    ALPN, CONNECTION_WINDOW, DATAGRAM, IDLE_TIMEOUT_MS, Result, STREAM_WINDOW, STREAMS,
};
use msquic::ffi;
use msquic::{
    AllowedCipherSuiteFlags, Api, BufferRef, CertificateFile, Configuration, Credential,
    CredentialConfig, CredentialFlags, Registration, RegistrationConfig, ServerResumptionLevel,
    Settings, Status,
};

/// Headers of IPv4 and UDP: it counts them in its MTU.
const HEADERS: u16 = 28;

fn main() -> Result<()> {
    match options::from_env()? {
        Role::Server(options) => server::run(&options),
        Role::Client(options) => client::run(&options),
    }
}

/// Starts its worker.
fn registration() -> Result<Registration> {
    keep_to_one_cpu()?;
    Registration::new(&RegistrationConfig::default()).map_err(explain)
}

/// Its workers choose their processors themselves, unless told to stay where this process may run.
fn keep_to_one_cpu() -> Result<()> {
    // SAFETY: all zeros are an empty set, which the call fills.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the size is that of the set.
    let result = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) };
    if result != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    // SAFETY: below the size of the set.
    let mut cpus =
        (0..libc::CPU_SETSIZE).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu as usize, &set) });
    let (Some(cpu), None) = (cpus.next(), cpus.next()) else { return Ok(()) };
    let config = ffi::QUIC_GLOBAL_EXECUTION_CONFIG {
        Flags: ffi::QUIC_GLOBAL_EXECUTION_CONFIG_FLAGS_QUIC_GLOBAL_EXECUTION_CONFIG_FLAG_NONE,
        PollingIdleTimeoutUs: 0,
        ProcessorCount: 1,
        ProcessorList: [cpu as u16],
    };
    let length = size_of_val(&config) as u32;
    Api::get_ffi();
    // SAFETY: the parameter's type is this.
    unsafe {
        let param = ffi::QUIC_PARAM_GLOBAL_EXECUTION_CONFIG;
        Api::set_param(ptr::null_mut(), param, length, (&raw const config).cast::<c_void>())
    }
    .map_err(explain)
}

fn explain(status: Status) -> compare_common::Error {
    status.to_string().into()
}

fn utf8(path: &Path) -> Result<String> {
    Ok(path.to_str().ok_or("a path that is not UTF-8")?.to_owned())
}

fn server_configuration(
    registration: &Registration,
    options: &options::Server,
) -> Result<Configuration> {
    let files = CertificateFile::new(utf8(&options.key)?, utf8(&options.cert)?);
    let credential = CredentialConfig::new().set_credential(Credential::CertificateFile(files));
    configuration(registration, credential)
}

fn client_configuration(
    registration: &Registration,
    options: &options::Client,
) -> Result<Configuration> {
    let credential = CredentialConfig::new_client()
        .set_credential_flags(CredentialFlags::USE_TLS_BUILTIN_CERTIFICATE_VALIDATION)
        .set_ca_certificate_file(utf8(&options.ca)?);
    configuration(registration, credential)
}

fn configuration(
    registration: &Registration,
    credential: CredentialConfig,
) -> Result<Configuration> {
    let settings = Settings::new()
        .set_IdleTimeoutMs(IDLE_TIMEOUT_MS)
        .set_PeerBidiStreamCount(STREAMS as u16)
        .set_StreamRecvWindowDefault(STREAM_WINDOW)
        .set_ConnFlowControlWindow(CONNECTION_WINDOW)
        .set_MinimumMtu(DATAGRAM + HEADERS)
        .set_MaximumMtu(DATAGRAM + HEADERS)
        .set_DatagramReceiveEnabled()
        .set_ServerResumptionLevel(ServerResumptionLevel::ResumeAndZerortt)
        .set_SendBufferingEnabled()
        .set_PacingEnabled();
    // Both off: the binding can only turn them on. The application's buffers live until they are sent.
    let mut settings = *settings.as_ffi_ref();
    settings.set_SendBufferingEnabled(0);
    settings.set_PacingEnabled(0);
    let alpn = BufferRef::from(ALPN);
    let mut handle = ptr::null_mut();
    let open = Api::get_ffi().ConfigurationOpen.ok_or("no ConfigurationOpen")?;
    // SAFETY: everything pointed to lives through the call, which copies it.
    let status = unsafe {
        open(
            registration.as_raw(),
            &raw const alpn.0,
            1,
            &raw const settings,
            size_of_val(&settings) as u32,
            ptr::null_mut(),
            &raw mut handle,
        )
    };
    Status::ok_from_raw(status).map_err(explain)?;
    // SAFETY: a handle that nobody else owns.
    let configuration = unsafe { Configuration::from_raw(handle) };
    let credential =
        credential.set_allowed_cipher_suites(AllowedCipherSuiteFlags::AES_128_GCM_SHA256);
    configuration.load_credential(&credential).map_err(explain)?;
    Ok(configuration)
}
