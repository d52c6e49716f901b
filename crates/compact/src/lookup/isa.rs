//! The instruction set lookups use.

use std::sync::OnceLock;

/// A set of instructions that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Any processor.
    Portable,
    /// AVX2, FMA, F16C, BMI2 and POPCNT.
    Avx2,
    /// AVX-512 F, BW, DQ, VL and VPOPCNTDQ, and what AVX2 has here.
    Avx512,
}

impl Isa {
    /// The best one this processor has.
    pub fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(detect)
    }

    /// All that this processor has.
    pub fn available() -> impl Iterator<Item = Self> {
        let all = [Self::Portable, Self::Avx2, Self::Avx512];
        all.into_iter().filter(|isa| *isa <= Self::best())
    }
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Isa {
    use std::arch::is_x86_feature_detected as has;
    let avx2 = has!("avx2") && has!("fma") && has!("f16c") && has!("bmi1") && has!("bmi2");
    if !avx2 || !has!("popcnt") || !has!("lzcnt") {
        return Isa::Portable;
    }
    let wide = has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
    if wide && has!("avx512vpopcntdq") {
        Isa::Avx512
    } else {
        Isa::Avx2
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Isa {
    Isa::Portable
}

/// Work that is compiled anew for each instruction set.
pub(crate) trait Work: Sized {
    /// Does it with the vectors of one of them.
    ///
    /// # Safety
    /// The processor has the instructions of `L`.
    unsafe fn run<L: super::lanes::Lanes>(self);

    /// Does it on any processor.
    fn run_portable(self) {
        // SAFETY: any processor has those instructions.
        unsafe { self.run::<super::lanes::Portable>() }
    }

    /// Does it with AVX2.
    ///
    /// # Safety
    /// The processor has what [`Isa::Avx2`] says.
    #[cfg(target_arch = "x86_64")]
    unsafe fn run_avx2(self) {
        // SAFETY: said above.
        unsafe { run_avx2(self) }
    }

    /// Does it with the instructions of `isa`, or of a lesser one if the processor lacks them.
    fn run_on(self, isa: Isa) {
        match isa.min(Isa::best()) {
            Isa::Portable => self.run_portable(),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the processor has them.
            Isa::Avx2 => unsafe { self.run_avx2() },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: likewise.
            Isa::Avx512 => unsafe { run_avx512(self) },
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::Avx512 => {}
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,popcnt,lzcnt")]
pub(crate) fn run_avx2<W: Work>(work: W) {
    // SAFETY: the caller's processor has all of it.
    unsafe { work.run::<super::lanes::Avx2>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(
    enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,avx2,fma,f16c,bmi1,bmi2,popcnt,lzcnt"
)]
fn run_avx512<W: Work>(work: W) {
    // SAFETY: the caller's processor has all of it.
    unsafe { work.run::<super::lanes::Avx512>() }
}
