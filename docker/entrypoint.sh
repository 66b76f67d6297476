#!/bin/sh
# Numba looks for machine code only where it could also write some, and /tmp is the one such place.
mkdir -p "$NUMBA_CACHE_DIR" && cp -R /opt/kernels/. "$NUMBA_CACHE_DIR"
exec hdrm "$@"
