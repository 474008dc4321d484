"""Tones: a WAV file to speak from, and what a recording contains.

Every phone speaks one steady tone of its own, so that what a phone hears names who it hears.
A recording is 16-bit mono; its loudness is the RMS of its samples and its tone the frequency
with the most power, found with the Goertzel algorithm.
"""

import array
import math
import struct
import wave

RATE_HZ = 8000
# Far from each other, from DTMF's frequencies and from multiples of the 50 packets a second.
TONES_HZ = (430, 610, 1110, 1630)
# RMS of 16-bit samples below which a recording counts as silent: G.711's least steps and
# comfort noise stay below, the tones are at about 5000.
SILENT_RMS = 200
AMPLITUDE = 8000


def write_wav(path, frequency_hz, seconds):
    """A file with a steady tone."""
    # A whole number of periods fits into one second, so one second can be repeated.
    second = array.array(
        "h",
        (
            round(AMPLITUDE * math.sin(2 * math.pi * frequency_hz * n / RATE_HZ))
            for n in range(RATE_HZ)
        ),
    )
    pcm_wav(path, second.tobytes() * seconds)


def repeat_wav(path, source, seconds):
    """A file of so many seconds that says what `source` says, again and again."""
    with wave.open(str(source)) as file:
        once = file.readframes(file.getnframes())
    pcm_wav(path, (once * (2 * RATE_HZ * seconds // len(once) + 1))[: 2 * RATE_HZ * seconds])


def pcm_wav(path, data):
    """A file of 16-bit little-endian samples."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(data)


class Heard:
    """What was heard in a while: how long, how loud, and which tone."""

    def __init__(self, samples, rate_hz):
        self.seconds = len(samples) / rate_hz
        self.rms = math.sqrt(sum(s * s for s in samples) / len(samples)) if samples else 0.0
        self.frequency_hz, self.share = (0, 0.0)
        if not self.silent:
            self.frequency_hz, self.share = strongest(samples, rate_hz)

    @property
    def silent(self):
        """Whether nothing or next to nothing was heard."""
        return self.rms < SILENT_RMS

    def is_tone(self, frequency_hz):
        """Whether this is the given tone and little else."""
        return abs(self.frequency_hz - frequency_hz) <= 10 and self.share > 0.7

    def __str__(self):
        if self.silent:
            return f"silence (rms {self.rms:.0f}, {self.seconds:.1f} s)"
        return f"{self.frequency_hz} Hz {100 * self.share:.0f} % (rms {self.rms:.0f}, {self.seconds:.1f} s)"


def strongest(samples, rate_hz):
    """The frequency in Hz with the most power, and its share of all power."""
    # Half a second resolves 2 Hz; a grid of 10 Hz loses next to nothing of a tone between two
    # of its points when the window is 0.1 s, so power is summed over windows of that length.
    window = rate_hz // 10
    windows = [samples[n : n + window] for n in range(0, len(samples) - window + 1, window)]
    total = sum(s * s for part in windows for s in part)
    if not total:
        return 0, 0.0
    best = max(
        ((sum(goertzel(part, f, rate_hz) for part in windows), f) for f in range(200, 2200, 10))
    )
    return best[1], min(1.0, best[0] / total)


def goertzel(samples, frequency_hz, rate_hz):
    """Energy of one frequency, scaled so that a pure tone gives the sum of its squares."""
    coefficient = 2 * math.cos(2 * math.pi * frequency_hz / rate_hz)
    before, last = 0.0, 0.0
    for sample in samples:
        before, last = last, sample + coefficient * last - before
    power = last * last + before * before - coefficient * last * before
    return 2 * power / len(samples)


def samples_of(data):
    """16-bit little-endian samples."""
    count = len(data) // 2
    return struct.unpack(f"<{count}h", data[: 2 * count])
