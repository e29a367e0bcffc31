//! The flags of the processor that say how subnormals are treated.

/// Sets or clears FTZ and DAZ (AArch64: FZ), as audio hosts do.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub fn flush_subnormals(on: bool) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: bits 15 and 6 of MXCSR only choose how subnormals are treated; the memory is a local.
    unsafe {
        let mut control = 0u32;
        std::arch::asm!("stmxcsr [{}]", in(reg) &mut control);
        control = if on { control | 0x8040 } else { control & !0x8040 };
        std::arch::asm!("ldmxcsr [{}]", in(reg) &control);
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: bit 24 of FPCR only chooses how subnormals are treated.
    unsafe {
        let mut control: u64;
        std::arch::asm!("mrs {}, fpcr", out(reg) control);
        control = if on { control | 1 << 24 } else { control & !(1 << 24) };
        std::arch::asm!("msr fpcr, {}", in(reg) control);
    }
}
