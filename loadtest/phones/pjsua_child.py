"""A pjsua2 phone as a process of its own: commands come in on standard input and events go out
on standard output, each a line of JSON.

pjsua2 allows one endpoint per process, and its callbacks run wherever its events are handled.
So everything runs in one thread: the loop at the end alternates between the two. Audio has a
clock of its own (the null device).

Started by pjsua.py with the interpreter that has the package; imports nothing else of ours but
the analysis of tones.
"""

import ctypes
import json
import pathlib
import select
import sys
import time
import wave

import pjsua2 as pj

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from phones.tone import RATE_HZ, Heard, samples_of, write_wav  # noqa: E402

JITTER_BUFFER_MS = 200
REGISTER_SECONDS = 120
TRANSPORTS = {
    "udp": pj.PJSIP_TRANSPORT_UDP,
    "tcp": pj.PJSIP_TRANSPORT_TCP,
    "tls": pj.PJSIP_TRANSPORT_TLS,
}


def say(**message):
    """Report to the parent."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


class Line(pj.Call):
    """One call."""

    def __init__(self, phone, account, number=pj.PJSUA_INVALID_ID):
        super().__init__(account, number)
        self.phone = phone
        self.closed = False

    def onCallState(self, prm):
        info = self.getInfo()
        if info.state == pj.PJSIP_INV_STATE_EARLY:
            say(event="ringing", call=info.id)
        elif info.state == pj.PJSIP_INV_STATE_CONFIRMED:
            say(event="established", call=info.id)
        elif info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            self.closed = True
            say(event="closed", call=info.id, value=f"{info.lastStatusCode} {info.lastReason}")

    def onCallMediaState(self, prm):
        self.phone.connect(self)

    def onDtmfDigit(self, prm):
        method = "info" if prm.method == pj.PJSUA_DTMF_METHOD_SIP_INFO else "rfc4733"
        say(event="dtmf", call=self.getId(), value=prm.digit, method=method)

    def onCallTransferRequest(self, prm):
        say(event="transfer", call=self.getId(), value=prm.dstUri)
        # The new call needs an object of ours, or it would have no audio.
        prm.newCall = self.phone.add(Line(self.phone, self.phone.account))

    def onCallReplaced(self, prm):
        say(event="replaced", call=self.getId(), value=prm.newCallId)
        prm.newCall = self.phone.add(Line(self.phone, self.phone.account, prm.newCallId))

    def onCallTransferStatus(self, prm):
        if not prm.finalNotify:
            return
        if prm.statusCode // 100 == 2:
            say(event="transferred", call=self.getId(), value=str(prm.statusCode))
        else:
            say(event="transfer_failed", call=self.getId(), value=f"{prm.statusCode} {prm.reason}")
        prm.cont = False


class Account(pj.Account):
    """Who we are; every call that comes in is answered."""

    def __init__(self, phone):
        super().__init__()
        self.phone = phone

    def onRegState(self, prm):
        if prm.code // 100 != 2:
            say(event="register_failed", value=f"{prm.code} {prm.reason}")
        elif prm.expiration:
            say(event="registered")

    def onIncomingCall(self, prm):
        call = self.phone.add(Line(self.phone, self, prm.callId))
        info = call.getInfo()
        say(event="incoming", call=info.id, value=info.remoteUri)
        answer = pj.CallOpParam()
        answer.statusCode = 180
        call.answer(answer)
        # A person takes a moment, and so a provisional response is seen to pass.
        self.phone.later(0.2, lambda: self.phone.answer(call))


class Phone:
    """The endpoint with one account."""

    def __init__(self, setup):
        self.setup = setup
        self.calls = []
        self.tasks = []
        self.directory = pathlib.Path(setup["directory"])
        self.endpoint = pj.Endpoint()
        self.endpoint.libCreate()
        config = pj.EpConfig()
        config.uaConfig.threadCnt = 0
        config.uaConfig.mainThreadOnly = True
        config.uaConfig.userAgent = "pjsua2"
        # No STUN, no ICE, no echo to cancel: the null device has none.
        config.medConfig.ecTailLen = 0
        config.medConfig.noVad = True
        # What is played and recorded is as it is on the wire.
        config.medConfig.clockRate = RATE_HZ
        if setup["voice"]:
            # What is scored is the audio, and not how the phone follows a busy machine's delays.
            config.medConfig.jbInit = config.medConfig.jbMinPre = JITTER_BUFFER_MS
            config.medConfig.jbMaxPre = JITTER_BUFFER_MS
            config.medConfig.jbMax = 4 * JITTER_BUFFER_MS
            # PJMEDIA_JB_DISCARD_NONE: nothing of the speech is left out to shorten a delay. The binding has no name for
            # the value, and takes it only in an object of its own.
            discard = config.medConfig.jbDiscardAlgo
            ctypes.c_int.from_address(int(discard)).value = 0
            config.medConfig.jbDiscardAlgo = discard
        config.logConfig.filename = str(self.directory / "log")
        config.logConfig.level = 5
        config.logConfig.consoleLevel = 0
        self.endpoint.libInit(config)
        self.transport = self._transport()
        self.endpoint.libStart()
        self.endpoint.audDevManager().setNullDev()
        voice = setup["voice"] or str(self.directory / "voice.wav")
        if not setup["voice"]:
            write_wav(voice, setup["tone_hz"], 1)
        self.voice = pj.AudioMediaPlayer()
        self.voice.createPlayer(voice)
        if setup["codec"]:
            for codec in self.endpoint.codecEnum2():
                wanted = codec.codecId.startswith(setup["codec"] + "/")
                self.endpoint.codecSetPriority(codec.codecId, 255 if wanted else 0)
        self.recorder = None
        self.account = self._account()

    def _transport(self):
        setup = self.setup
        config = pj.TransportConfig()
        config.port = setup["port"]
        config.boundAddress = setup["address"]
        config.publicAddress = setup["address"]
        if setup["transport"] == "tls":
            tls = pj.TlsConfig()
            tls.CaListFile = setup["authority"]
            tls.certFile = setup["certificate"]
            tls.privKeyFile = setup["key"]
            tls.verifyServer = True
            config.tlsConfig = tls
        return self.endpoint.transportCreate(TRANSPORTS[setup["transport"]], config)

    def _account(self):
        setup = self.setup
        config = pj.AccountConfig()
        config.idUri = f"sip:{setup['name']}@{setup['address']}"
        if setup["login"]:
            config.idUri = f"sip:{setup['name']}@{setup['domain']}"
            config.regConfig.registrarUri = f"sip:{setup['domain']}"
            config.regConfig.timeoutSec = REGISTER_SECONDS
            # PJSUA_REG_USE_ACC_PROXY: by the account's proxy, as calls.
            config.regConfig.proxyUse = 2
            # Of type 0: a password, and no hash of one.
            config.sipConfig.authCreds.push_back(
                pj.AuthCredInfo("digest", setup["domain"], setup["name"], 0, setup["login"])
            )
        config.sipConfig.transportId = self.transport
        if setup["proxy"]:
            config.sipConfig.proxies.push_back(
                f"sip:{setup['proxy']};transport={setup['transport']};lr"
            )
        media = pj.TransportConfig()
        media.boundAddress = setup["address"]
        media.publicAddress = setup["address"]
        media.port = setup["rtp_port"]
        media.portRange = 200
        config.mediaConfig.transportConfig = media
        if setup["srtp"]:
            config.mediaConfig.srtpUse = pj.PJMEDIA_SRTP_MANDATORY
            # Keys may cross an unencrypted transport: here they are only tested.
            config.mediaConfig.srtpSecureSignaling = 0
        account = Account(self)
        account.create(config)
        return account

    def add(self, call):
        """Keep a call's object for as long as the call."""
        self.calls = [kept for kept in self.calls if not kept.closed] + [call]
        return call

    def later(self, seconds, task):
        """Run something in the loop after a while."""
        self.tasks.append((time.monotonic() + seconds, task))

    def answer(self, call):
        """Take a call, if it is still there."""
        if call.closed or not call.isActive():
            return
        answer = pj.CallOpParam()
        answer.statusCode = 200
        call.answer(answer)

    def audio_of(self, call):
        """The media of a call that may be heard and spoken to, or None."""
        if call.closed:
            return None
        # The list lives in the object, and only as long.
        info = call.getInfo()
        for index, media in enumerate(info.media):
            if media.type == pj.PJMEDIA_TYPE_AUDIO and media.status in (
                pj.PJSUA_CALL_MEDIA_ACTIVE,
                pj.PJSUA_CALL_MEDIA_REMOTE_HOLD,
            ):
                return call.getAudioMedia(index)
        return None

    def connect(self, call):
        """Speak to a call, and have it recorded."""
        if audio := self.audio_of(call):
            self.voice.startTransmit(audio)
            if self.recorder:
                audio.startTransmit(self.recorder)

    def newest(self, number=None):
        """The call with a number, or the one that began last."""
        for call in reversed(self.calls):
            if not call.closed and number in (None, call.getId()):
                return call
        raise ValueError("no such call")

    def run(self, command):
        """Obey, and return what the parent wants to know; None: the answer comes later."""
        name, call = command["command"], command.get("call")
        prm = pj.CallOpParam()
        if name == "call":
            line = self.add(Line(self, self.account))
            line.makeCall(command["uri"], pj.CallOpParam(True))
            return {"call": line.getId()}
        if name == "hold":
            self.newest(call).setHold(prm)
        elif name == "resume":
            prm.opt.audioCount = 1
            prm.opt.flag = pj.PJSUA_CALL_UNHOLD
            self.newest(call).reinvite(prm)
        elif name == "unregister":
            self.account.setRegistration(False)
        elif name == "hang_up":
            self.newest(call).hangup(prm)
        elif name == "dtmf":
            digits = pj.CallSendDtmfParam()
            digits.digits = command["digits"]
            digits.method = (
                pj.PJSUA_DTMF_METHOD_SIP_INFO
                if command["method"] == "info"
                else pj.PJSUA_DTMF_METHOD_RFC2833
            )
            self.newest(call).sendDtmf(digits)
        elif name == "transfer":
            self.newest(call).xfer(command["uri"], prm)
        elif name == "transfer_to_call":
            self.newest(call).xferReplaces(self.newest(command["other"]), prm)
        elif name == "calls":
            return {"calls": [call.getId() for call in self.calls if not call.closed]}
        elif name == "packets":
            stat = self.newest(call).getStreamStat(0).rtcp
            return {
                "sent": stat.txStat.pkt,
                "received": stat.rxStat.pkt,
                "lost": stat.rxStat.loss,
            }
        elif name == "listen":
            self._listen(command["length_seconds"], command["token"], command["keep"])
            return None
        else:
            raise ValueError(f"unknown command {name}")
        return {}

    def _listen(self, seconds, token, keep):
        path = self.directory / f"heard-{token}.wav"
        self.recorder = pj.AudioMediaRecorder()
        self.recorder.createRecorder(str(path))
        for call in self.calls:
            self.connect(call)

        def stop():
            self.recorder = None
            # The bridge lets go of it, and completes the file, in a thread of its own.
            self.later(0.2, done)

        def done():
            if keep:
                say(answer=token, path=str(path))
                return
            with wave.open(str(path)) as file:
                heard = Heard(samples_of(file.readframes(file.getnframes())), file.getframerate())
            say(
                answer=token,
                seconds=heard.seconds,
                rms=heard.rms,
                frequency_hz=heard.frequency_hz,
                share=heard.share,
            )

        self.later(seconds, stop)

    def work(self):
        """Handle events, due tasks and commands until told to quit."""
        pending = b""
        say(event="ready")
        while True:
            self.endpoint.libHandleEvents(10)
            now = time.monotonic()
            due = [task for at, task in self.tasks if at <= now]
            self.tasks = [(at, task) for at, task in self.tasks if at > now]
            for task in due:
                try:
                    task()
                except pj.Error as error:
                    say(event="error", value=error.info())
            if not select.select([sys.stdin], [], [], 0)[0]:
                continue
            data = sys.stdin.buffer.raw.read(65536)
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                command = json.loads(line)
                if command["command"] == "quit":
                    return
                try:
                    answer = self.run(command)
                    if answer is not None:
                        say(answer=command["token"], **answer)
                except (pj.Error, ValueError) as error:
                    text = error.info() if isinstance(error, pj.Error) else str(error)
                    say(answer=command["token"], error=text)

    def end(self):
        """Hang up and give everything back, in the order that pjsua2 needs."""
        self.endpoint.hangupAllCalls()
        until = time.monotonic() + 1
        while time.monotonic() < until and any(not call.closed for call in self.calls):
            self.endpoint.libHandleEvents(10)
        self.calls = []
        self.recorder = None
        self.voice = None
        self.account.shutdown()
        self.account = None
        self.endpoint.libDestroy()


if __name__ == "__main__":
    phone = Phone(json.loads(sys.argv[1]))
    phone.work()
    phone.end()
    # The interpreter would tear down pjsua2's objects once more, in no particular order.
    sys.stdout.flush()
    import os

    os._exit(0)
