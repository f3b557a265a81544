"""One way to write each kind of figure."""

from modelkit.reports import Interval


def byte_size(size: int) -> str:
    """Bytes in decimal units, as file managers and model hubs show them."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("unreachable")


def count(number: int) -> str:
    """A count with K, M or G from 10,000 on."""
    for limit, unit in ((10**9, "G"), (10**6, "M"), (10**4, "K")):
        if number >= limit:
            return f"{number / (1000 if unit == 'K' else limit):.1f}{unit}"
    return str(number)


def operations(number: float) -> str:
    """Floating-point operations, in a unit that leaves a readable number."""
    for limit, unit in ((1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP"), (1e3, "kFLOP")):
        if number >= limit:
            return f"{number / limit:.4g} {unit}"
    return f"{number:.4g} FLOP"


def milliseconds(value: float) -> str:
    """A time given in milliseconds, with three significant digits."""
    if value < 1:
        return f"{value * 1000:.3g} µs"
    return f"{value:.2f} ms" if value < 100 else f"{value:.0f} ms"


def factor(ratio: Interval) -> str:
    """A speed-up with its interval."""
    return f"{ratio.median:.2f}x ({ratio.low:.2f}-{ratio.high:.2f})"


def decibels(value: float) -> str:
    """A signal-to-noise ratio; beyond 200 dB it is equality."""
    return "equal" if value > 200 else f"{value:.1f} dB"


def scientific(value: float) -> str:
    """An error, with two digits."""
    return "0" if value == 0 else f"{value:.1e}"
