# scripts/build, as far as it says no
! ./build -target none 2>&1 | grep 'no environment' >&2
