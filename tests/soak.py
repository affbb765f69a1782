#!/usr/bin/env python3
"""Stops `titans stream --state` and `titans train` in every way for a while and checks that nothing that was reported as kept is lost.

    cargo build --release && python3 tests/soak.py target/release/titans --minutes 30 [--seed N] [--folder DIR]

By hand; needs Python alone. Signals once and twice, kills, limits of file sizes, a full disk where tmpfs may be mounted (as root), and second
processes that want the same state or run. After every one: the state's position (the checkpoint's step) is what was reported, and never
less than what was reported before; nothing but a killed process leaves files behind; every now and then and at the end the state (the weights
and moments) has the bits of an uncut run. Ends with 1 and says what happened at the first violation."""

import argparse, collections, json, os, random, re, resource, shutil, signal, struct, subprocess, sys, tempfile, threading, time

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
SMALL = ["--width", "16", "--blocks", "1", "--heads", "2", "--head-width", "8", "--feed-forward", "16", "--threads", "1", "--quiet"]


class Lost(Exception):
    pass


class Soak:
    """What both kinds of verbs have in common: a process, and something that happens to it."""

    def __init__(self, titans, here, seed, end):
        self.titans, self.here, self.end, self.random = titans, here, end, random.Random(seed)
        self.done, self.kept, self.killed = collections.Counter(), 0, False

    def expect(self, good, what):
        if not good:
            raise Lost(f"{type(self).__name__}: {what}")

    def start(self, args, limit=None):
        def limits():
            for name in SIGNALS:  # whatever this program itself was started with
                signal.signal(name, signal.SIG_DFL)
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

        pipe = subprocess.PIPE
        return subprocess.Popen([self.titans, *args], cwd=self.here, stdin=pipe, stdout=pipe, stderr=pipe, preexec_fn=limits)

    def run(self, args, data=b""):
        child = self.start(args)
        out, err = child.communicate(data)
        return child.returncode, out.decode(), err.decode(errors="replace")

    def strike(self, child, action):
        """Does something to a process that is at work."""
        time.sleep(self.random.choice([0, 0.003, 0.03, 0.3, 1]) * self.random.random())
        sent = self.random.choice(SIGNALS)
        if action in ("signal", "twice", "again"):
            child.send_signal(sent)
        if action == "twice":
            child.send_signal(sent)
        if action == "again":
            time.sleep(0.4 * self.random.random())
            child.send_signal(self.random.choice(SIGNALS))
        if action == "kill":
            child.kill()

    def clean(self, folder, allowed):
        """Files that nobody knows; a killed process may leave its lock and, where files cannot be without a name, a half."""
        found = {name for name in os.listdir(folder) if name not in allowed}
        strange = {name for name in found if not (self.killed and name.startswith(".") and (".titans" in name))}
        self.expect(not strange, f"left behind in {folder}: {sorted(strange)}")

    def loop(self):
        while time.time() < self.end:
            action = self.random.choice(["none", "signal", "signal", "twice", "again", "kill", "kill", "limit", "rival", "full"])
            self.once(action)
            self.done[action] += 1
        self.compare()


class Stream(Soak):
    """The bytes of an endless text, in runs of any length, into one state."""

    def text(self, start, end):
        return b"".join(b"%d green bottles hanging on wall %d\n" % (i * i % 97, i % 7) for i in range(end // 20 + 2))[start:end]

    def position(self):
        code, out, err = self.run(["stream", "model", "--state", self.state, "--json"])
        self.expect(code == 0, f"the state cannot be read: {code}: {err}")
        return json.loads(out)["position"]

    def begin(self, disk):
        self.disk, self.state, self.at, self.rivals = disk, "s.st", 0, 0
        if disk:
            self.state = os.path.join(disk, "s.st")

    def once(self, action):
        # A state that has read anything holds one byte more than its position: the one that waits to be predicted from.
        start = self.at + 1 if self.at else 0
        data = self.text(start, start + self.random.choice([1 if start else 50, 50, 3000, 40_000]))
        filler = self.fill() if action == "full" else None
        limit = self.random.choice([0, 4096, 20_000]) if action == "limit" else None
        child = self.start(["stream", "model", "--state", self.state, "--save-every", self.random.choice(["0", "1", "60"])], limit)
        answer = {}
        talk = threading.Thread(target=lambda: answer.update(zip("oe", child.communicate(data))))
        if action in ("none", "limit", "full"):
            talk.start()
        else:
            try:
                child.stdin.write(data)
                child.stdin.flush()
            except BrokenPipeError:
                pass
            if action == "rival":
                self.rival()
            self.strike(child, action)
            talk = threading.Thread(target=lambda: answer.update(zip("oe", child.communicate())))
            talk.start()
        talk.join(120)
        self.expect(not talk.is_alive(), f"{action}: still running after 2 minutes")
        if filler:
            os.remove(filler)
        self.judge(action, child.returncode, answer["e"].decode(errors="replace"), len(data), start)

    def fill(self):
        """Leaves too little room on the small disk."""
        if not self.disk:
            return None
        name = os.path.join(self.disk, "filler")
        with open(name, "wb", buffering=0) as file:
            try:
                while file.write(b"x" * 4096):
                    pass
            except OSError:
                pass
        return name

    def rival(self):
        code, _, err = self.run(["stream", "model", "--state", self.state])
        self.rivals += code == 2
        self.expect(code == 0 or (code == 2 and "another process" in err), f"a rival ended with {code}: {err}")

    def judge(self, action, code, err, fed, start):
        self.killed = self.killed or code < 0 or action == "again"
        self.expect("bug" not in err and "panic" not in err, err)
        before, self.at = self.kept, self.position()
        self.expect(self.at >= before, f"{action}: {before} tokens were kept, {self.at} are there; code {code}: {err}")
        self.expect(self.at <= start + fed, f"{action}: more tokens than were fed: {self.at} of {start + fed}")
        if code == 2 and action == "rival":
            # The rival came first.
            self.expect("another process" in err and self.at == before, f"{action}: code {code}: {err}")
            return
        told = re.search(r"the state after (\d+) tokens? is in|; (\d+) tokens? so far", err)
        stopped = [129, 130, 143, 0]  # 0 where the end of the input came first
        allowed = {"none": [0], "signal": stopped, "twice": stopped, "kill": [-9], "rival": [0], "limit": [0, 1]}
        early = [-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP]  # before anybody listened: nothing was kept yet
        self.expect(code in allowed.get(action, [0, 1, 129, 130, 143]) + early, f"{action}: code {code}: {err}")
        if told and code in (0, 129, 130, 143):
            reported = int(told.group(1) or told.group(2))
            self.expect(reported == self.at, f"{action}: {reported} tokens were reported as kept, {self.at} are there")
        if code == 0:
            self.expect(self.at == start + fed - 1, f"{action}: of {start + fed} bytes {self.at + 1} are there")
        self.kept = self.at
        self.clean(os.path.dirname(os.path.join(self.here, self.state)), {"s.st", "text.txt", "model", "run", "whole", "flat.toml", "disk"})
        if self.random.random() < 0.05:
            self.compare()
        if self.at > 400_000:
            self.compare()
            os.remove(os.path.join(self.here, self.state))
            self.at = self.kept = 0

    def compare(self):
        """The state of an uncut run."""
        at = self.position()
        if at == 0:
            return
        code, _, err = self.run(["stream", "model", "--state", "fresh"], self.text(0, at + 1))
        self.expect(code == 0, err)
        whole, found = (open(os.path.join(self.here, name), "rb").read() for name in ("fresh", self.state))
        os.remove(os.path.join(self.here, "fresh"))
        self.expect(whole == found, f"the state at {at} is not that of an uncut run")
        self.done["compared"] += 1


class Train(Soak):
    """One run that is stopped and goes on."""

    def step(self, run):
        code, out, err = self.run(["inspect", run, "--checkpoint", "latest", "--json"])
        self.expect(code == 0, f"the checkpoint cannot be read: {code}: {err}")
        return json.loads(out)["metadata"]["titans.state"]["step"]

    def once(self, action):
        resume = ["train", "--resume", "run", "--quiet", "--threads", "1", "--steps"]
        few = action in ("none", "limit", "full")
        goal = self.kept + self.random.randint(1, 40)
        end = str(goal) if few else "1000000000"
        child = self.start(resume + [end], self.random.choice([0, 4096, 100_000]) if action in ("limit", "full") else None)
        if action == "rival":
            time.sleep(self.random.random())
            code, _, err = self.run(resume + [str(self.kept)])
            self.expect(code in (0, 2), f"a rival ended with {code}: {err}")
            self.done["refused"] += "another process" in err
            child.send_signal(signal.SIGTERM)
        elif not few:
            self.strike(child, action)
        try:
            _, err = child.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            self.expect(False, f"{action}: still running after 2 minutes")
        self.judge(action, child.returncode, err.decode(errors="replace"), goal)

    def judge(self, action, code, err, goal):
        self.killed = self.killed or code < 0 or action == "again"
        self.expect("bug" not in err and "panic" not in err, err)
        at = self.step("run")
        self.expect(at >= self.kept, f"{action}: step {self.kept} was kept, {at} is there; code {code}: {err}")
        told = re.search(r"saved \S+ after step (\d+)", err)
        if told:
            self.expect(int(told.group(1)) == at, f"{action}: step {told.group(1)} was reported as saved, {at} is there")
        if code == 0:
            self.expect(at == goal, f"{action}: ended well at step {at}, not {goal}")
        if action in ("signal", "twice"):
            self.expect(code in (129, 130, 143, -1, -2, -15), f"{action}: code {code}: {err}")
        self.kept = at
        names = {"config.toml", "metrics.jsonl", "loss.svg", "latest.safetensors", "best.safetensors"}
        self.clean(os.path.join(self.here, "run"), names)

    def compare(self):
        """Weights and moments of an uncut run."""
        shutil.rmtree(os.path.join(self.here, "whole"), ignore_errors=True)
        code, _, err = self.run(["train", "--config", "flat.toml", "--out", "whole", "--quiet", "--steps", str(self.kept)])
        self.expect(code == 0, err)
        whole, found = (self.numbers(run) for run in ("whole", "run"))
        self.expect(whole == found, f"the run at step {self.kept} is not an uncut one")
        self.done["compared"] += 1

    def numbers(self, run):
        with open(os.path.join(self.here, run, "latest.safetensors"), "rb") as file:
            file.seek(struct.unpack("<Q", file.read(8))[0], 1)
            return file.read()


def mounted(folder):
    """A disk of a few hundred kilobytes, if we may."""
    disk = os.path.join(folder, "disk")
    os.mkdir(disk)
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", disk]
    return disk if subprocess.run(mount, stderr=subprocess.DEVNULL).returncode == 0 else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("titans", type=os.path.abspath)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--folder", help="where to work [default: a new temporary folder]")
    args = parser.parse_args()
    here = tempfile.mkdtemp(prefix="soak-", dir=args.folder)
    end = time.time() + 60 * args.minutes
    stream, train = (kind(args.titans, here, args.seed + i, end) for i, kind in enumerate((Stream, Train)))
    with open(os.path.join(here, "text.txt"), "wb") as file:
        file.write(stream.text(0, 4000))
    new = ["train", "--task", "text", "--data", "text.txt", "--context", "32", "--batch", "2", "--steps", "2", *SMALL, "--out"]
    for run in ("run", "model"):
        code, _, err = train.run(new + [run])
        assert code == 0, err
    # A learning rate that says nothing of the number of steps, so that a cut run and an uncut one are the same.
    with open(os.path.join(here, "run", "config.toml")) as file:
        flat = file.read().replace("floor = 0.0", "floor = 1.0")
    with open(os.path.join(here, "flat.toml"), "w") as file:
        file.write(flat)
    shutil.rmtree(os.path.join(here, "run"))
    code, _, err = train.run(["train", "--config", "flat.toml", "--out", "run", "--quiet"])
    assert code == 0, err
    train.kept = 2
    disk = mounted(here)
    stream.begin(disk)
    failures = []

    def work(soak):
        try:
            soak.loop()
        except Exception as failure:  # told below, with the seed that repeats it
            failures.append(failure)
            stream.end = train.end = 0

    workers = [threading.Thread(target=work, args=(soak,)) for soak in (stream, train)]
    [worker.start() for worker in workers]
    [worker.join() for worker in workers]
    if disk:
        subprocess.run(["umount", disk])
    for soak in (stream, train):
        print(f"{type(soak).__name__}: {dict(soak.done)}, kept {soak.kept}")
    print(f"rivals refused by the state's owner: {stream.rivals}; disk of its own: {bool(disk)}; seed {args.seed}")
    for failure in failures:
        print(f"FAILED (seed {args.seed}, {here}): {failure!r}")
    if not failures:
        shutil.rmtree(here)
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
