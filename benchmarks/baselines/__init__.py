"""What HDRM is measured beside; `registry.BASELINES` names them all."""
