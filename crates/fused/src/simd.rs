//! One source for several instruction sets.

/// Defines a function that is compiled for AVX-512, for AVX2 with FMA and for any processor, and picks
/// the best one at run time.
///
/// The body is plain code over slices that the compiler can vectorise. It uses `mul_add`, so every
/// version gives the same bits.
#[macro_export]
macro_rules! multiversion {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        $vis fn $name($($arg: $ty),*) {
            #[inline(always)]
            fn body($($arg: $ty),*) $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn v4($($arg: $ty),*) { body($($arg),*) }
                #[target_feature(enable = "avx2,fma")]
                fn v3($($arg: $ty),*) { body($($arg),*) }
                use std::arch::is_x86_feature_detected as has;
                let fma = has!("avx2") && has!("fma");
                let wide = has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
                if fma && wide {
                    // SAFETY: the processor has every feature the function is compiled for.
                    return unsafe { v4($($arg),*) };
                }
                if fma {
                    // SAFETY: as above.
                    return unsafe { v3($($arg),*) };
                }
            }
            body($($arg),*);
        }
    };
}

pub use multiversion;
