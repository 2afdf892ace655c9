"""What `nvidia-smi -L` and `vulkaninfo --summary` print on real machines."""

from __future__ import annotations

NVIDIA_SMI = """\
GPU 0: NVIDIA GeForce RTX 4090 (UUID: GPU-1a2b3c4d-0000-1111-2222-333344445555)
GPU 1: NVIDIA GeForce RTX 3060 (UUID: GPU-5a6b7c8d-0000-1111-2222-333344445555)"""

NVIDIA_SMI_WITHOUT_DRIVER = """\
NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the
latest NVIDIA driver is installed and running."""

_VULKAN_HEAD = """\
==========
VULKANINFO
==========

Vulkan Instance Version: 1.3.239


Instance Extensions: count = 23
-------------------------------
VK_EXT_acquire_drm_display             : extension revision 1
VK_KHR_surface                         : extension revision 25

Instance Layers: count = 1
--------------------------
VK_LAYER_MESA_device_select Linux device selection layer 1.3.211  version 1

Devices:
========
"""

_LLVMPIPE = """\
GPU{index}:
\tapiVersion         = 1.3.267
\tdriverVersion      = 0.0.1
\tvendorID           = 0x10005
\tdeviceID           = 0x0000
\tdeviceType         = PHYSICAL_DEVICE_TYPE_CPU
\tdeviceName         = llvmpipe (LLVM 17.0.6, 256 bits)
\tdriverID           = DRIVER_ID_MESA_LLVMPIPE
\tdriverName         = llvmpipe
\tdriverInfo         = Mesa 23.3.5 (LLVM 17.0.6)
\tconformanceVersion = 1.3.1.1
"""

_SWIFTSHADER = """\
GPU0:
\tapiVersion         = 1.3.0
\tdriverVersion      = 5.0.0
\tvendorID           = 0x1ae0
\tdeviceID           = 0xc0de
\tdeviceType         = PHYSICAL_DEVICE_TYPE_CPU
\tdeviceName         = SwiftShader Device (LLVM 10.0.0)
\tdriverID           = DRIVER_ID_GOOGLE_SWIFTSHADER
\tdriverName         = SwiftShader driver
"""

_RADEON = """\
GPU{index}:
\tapiVersion         = 1.3.267
\tdriverVersion      = 23.3.5
\tvendorID           = 0x1002
\tdeviceID           = 0x744c
\tdeviceType         = PHYSICAL_DEVICE_TYPE_DISCRETE_GPU
\tdeviceName         = AMD Radeon RX 7900 XTX (RADV NAVI31)
\tdriverID           = DRIVER_ID_MESA_RADV
\tdriverName         = radv
"""

VULKAN_LLVMPIPE = _VULKAN_HEAD + _LLVMPIPE.format(index=0)
VULKAN_SWIFTSHADER = _VULKAN_HEAD + _SWIFTSHADER
VULKAN_RADEON = _VULKAN_HEAD + _RADEON.format(index=0) + _LLVMPIPE.format(index=1)
VULKAN_RADEON_SECOND = _VULKAN_HEAD + _LLVMPIPE.format(index=0) + _RADEON.format(index=1)
VULKAN_NO_DEVICE = _VULKAN_HEAD
