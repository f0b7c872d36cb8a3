"""What a measuring process says about itself."""

import os

THREADS = int(os.environ.get("PEER_THREADS", 2))


def resident():
    """Megabytes that the process has now."""
    return megabytes("VmRSS:")


def report(milliseconds, warm_up, start):
    """As `Report` of examples/finetune/benches/workloads/steps.rs."""
    return {
        "milliseconds": milliseconds[warm_up:],
        "first_milliseconds": milliseconds[0],
        "start_megabytes": start,
        "peak_megabytes": megabytes("VmHWM:"),
    }


def megabytes(line):
    with open("/proc/self/status") as status:
        for text in status:
            if text.startswith(line):
                return int(text.split()[1]) * 1024 / 1e6
    return float("nan")
