"""Speech to play and the score of what was heard of it, by PESQ (ITU-T P.862).

Run with the interpreter that has numpy and pesq:

    python -m phones.speech make VOICE PATH    writes speech of SECONDS and a pause
    python -m phones.speech score PATH HEARD   prints the scores as JSON: one per time that it was heard
    python -m phones.speech convert PATH HEARD the same had it been converted from one law of G.711 into the other
"""

import json
import subprocess
import sys
import wave

import numpy

from .tone import RATE_HZ

SECONDS = 8
PAUSE_SECONDS = 1
# P.862 is meant for about -26 dB below overload, which G.711 carries without clipping.
RMS = 32768 * 10 ** (-26 / 20)
# A recording counts as holding the speech where it resembles it at least so much.
ALIKE_MIN = 0.5
# Samples of a hundredth of a second.
STEP = RATE_HZ // 100
VOICES = {
    "alice": ("en-gb+f3", "The two walked along the slippery pavement while rain fell on the old harbour. "
              "She had your dark suit in greasy wash water all year. Seven ships left before the morning."),
    "bob": ("en-us+m3", "A large size in stockings is hard to sell. The boy was there when the sun rose. "
            "Nobody knew how many hours it would take to reach the valley by bicycle."),
}


def make(voice, path):
    """A WAV file of speech that is synthesised: nobody's voice."""
    accent, text = VOICES[voice]
    spoken = f"{path}.spoken.wav"
    subprocess.run(["espeak-ng", "-v", accent, "-s", "140", "-w", spoken, text], check=True, timeout=30)
    with wave.open(spoken) as file:
        rate, samples = file.getframerate(), numpy.frombuffer(file.readframes(file.getnframes()), "<i2")
    samples = at_rate(samples.astype(float), rate)[: SECONDS * RATE_HZ]
    samples *= RMS / numpy.sqrt(numpy.mean(samples**2))
    whole = numpy.zeros((SECONDS + PAUSE_SECONDS) * RATE_HZ)
    whole[: len(samples)] = samples
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(numpy.clip(whole, -32768, 32767).astype("<i2").tobytes())


def at_rate(samples, rate):
    """The same at 8 kHz, without what lies beyond 3.4 kHz."""
    spectrum = numpy.fft.rfft(samples)
    spectrum[numpy.fft.rfftfreq(len(samples), 1 / rate) > 3400] = 0
    count = len(samples) * RATE_HZ // rate
    return numpy.fft.irfft(spectrum[: count // 2 + 1], count) * count / len(samples)


def score(path, recorded):
    """PESQ of each time that the speech was heard whole."""
    from pesq import pesq

    reference = read(path)[: SECONDS * RATE_HZ]
    # Found by its loudness over time: a jitter buffer may have moved parts of it by milliseconds, which is for
    # PESQ to judge.
    wanted, match = loudness(reference), []
    loud = loudness(recorded)
    for at in range(len(loud) - len(wanted) + 1):
        match.append(numpy.corrcoef(wanted, loud[at : at + len(wanted)])[0, 1])
    scores = []
    while match and max(match) > ALIKE_MIN:
        at = match.index(max(match))
        part = recorded[at * STEP : at * STEP + len(reference)]
        scores.append(float(pesq(RATE_HZ, reference / 32768, part / 32768, "nb")))
        near = range(max(0, at - len(wanted) // 2), min(len(match), at + len(wanted) // 2))
        for other in near:
            match[other] = -1.0
    return scores


def through_a_law(samples):
    """The samples as PCMA carries them (G.711 §3.1): the middles of the intervals, whose width doubles with each of seven
    segments from 1/128 of full scale on."""
    magnitude = numpy.minimum(numpy.abs(samples) / 32768, 1 - 2**-12)
    segment = numpy.clip(numpy.floor(numpy.log2(numpy.maximum(magnitude, 2**-12))) + 8, 1, 7)
    width = 2.0 ** (segment - 12)
    middle = (numpy.floor(magnitude / width) + 0.5) * width
    return numpy.where(samples < 0, -middle, middle) * 32768


def loudness(samples):
    """The RMS of each hundredth of a second."""
    steps = samples[: len(samples) // STEP * STEP].reshape(-1, STEP)
    # A little noise: silence has no correlation with anything.
    return numpy.sqrt(numpy.mean(steps**2, axis=1)) + numpy.arange(len(steps)) % 2 * 1e-3


def read(path):
    """Samples of a WAV file at 8 kHz."""
    with wave.open(str(path)) as file:
        if file.getframerate() != RATE_HZ:
            raise ValueError(f"{path} has {file.getframerate()} Hz")
        return numpy.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float)


if __name__ == "__main__":
    action, first, second = sys.argv[1:]
    if action == "make":
        make(first, second)
    else:
        heard = read(second)
        print(json.dumps(score(first, through_a_law(heard) if action == "convert" else heard)))
