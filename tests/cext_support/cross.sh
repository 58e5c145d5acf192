#!/bin/sh
# The delay-and-sum kernels on AArch64 (NEON) give the bits of x86-64. Needs gcc, gcc-aarch64-linux-gnu and qemu-user.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
kernels=$here/../../cext/kernels
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
flags="-std=gnu11 -O3 -fno-math-errno -fno-trapping-math -ffp-contract=off -Wno-psabi -I$kernels"
sources="-DSONOD_ISA=here $here/das_bits.c $kernels/long_blocks.inc.c $kernels/simulate.inc.c $kernels/crc_tables.c $kernels/run.c $kernels/threads.c"
gcc $flags $sources -o "$scratch/base" -lm -lpthread
gcc $flags -march=x86-64-v3 $sources -o "$scratch/avx2" -lm -lpthread
gcc $flags -march=x86-64-v4 -mavx512vnni $sources -o "$scratch/avx512" -lm -lpthread
aarch64-linux-gnu-gcc -static $flags $sources -o "$scratch/neon" -lm -lpthread
base=$("$scratch/base")
avx2=$("$scratch/avx2")
neon=$(qemu-aarch64 "$scratch/neon")
avx512=$base
if grep -q avx512_vnni /proc/cpuinfo; then
  avx512=$("$scratch/avx512")
else
  echo "avx512 not run: this processor has none"
fi
echo "base $base  avx2 $avx2  avx512 $avx512  neon $neon"
[ "$base" = "$avx2" ] && [ "$base" = "$avx512" ] && [ "$base" = "$neon" ]
