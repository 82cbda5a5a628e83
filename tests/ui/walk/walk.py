#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Walks through the window as a new user would, with a real mouse and keyboard on a virtual screen (Xvfb, xdotool) and the real
engine: start a run from the demo, watch it, pause and resume, change the learning rate, save the plot, stop, continue, train a second
method, compare both, save the comparison, export an adapter; then drag GSM8K out of another program and train on rows of it (left out
where shared/data/gsm8k is absent). Every step asserts what it left on disk or on screen.

walk.py LUTHIER LUTHIER_CLI PLUGIN_FOLDER [PICTURE_FOLDER [gsm8k]] ("gsm8k": that part alone); exit code 77 with a reason when Xvfb or xdotool is missing."""
import glob, json, os, re, shutil, signal, socket, struct, subprocess, sys, tempfile, time

FIRST, SECOND = "walk-lora", "walk-ia3"
GSM8K = os.environ.get("LUTHIER_GSM8K", os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../../shared/data/gsm8k"))


class Failed(Exception):
    pass


def until(what, probe, seconds=60.0):
    """The first true answer of probe(), or Failed naming what never came."""
    end = time.monotonic() + seconds
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.1)


class Screen:
    def __init__(self, size):
        read, write = os.pipe()
        self.server = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", f"{size}x24", "-nolisten", "tcp"],
                                       pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(write)
        number = os.read(read, 16).decode().strip()
        if not number:
            raise Failed("Xvfb did not start")
        self.environment = dict(os.environ, DISPLAY=":" + number)

    def xdotool(self, *words):
        return subprocess.run(["xdotool", *map(str, words)], env=self.environment, capture_output=True, text=True).stdout

    def picture(self, path):
        if shutil.which("import"):
            subprocess.run(["import", "-window", "root", path], env=self.environment, check=False)


class Window:
    def __init__(self, screen, program, cli, plugins, home, workspace):
        self.screen = screen
        self.socket_path = os.path.join(home, "guide.sock")
        environment = dict(screen.environment, HOME=home, XDG_CONFIG_HOME=home + "/config", XDG_RUNTIME_DIR=home, LUTHIER_CLI=cli,
                           LUTHIER_WORKSPACE=workspace, LUTHIER_WALK_SOCKET=self.socket_path, QT_PLUGIN_PATH=plugins, QT_QPA_PLATFORM="xcb")
        self.log = open(os.path.join(home, "window.log"), "w")
        self.process = subprocess.Popen([program, "-plugin", "walkguide"], env=environment, stdout=self.log, stderr=self.log)
        until("the window opens", lambda: self.alive() and os.path.exists(self.socket_path) and self.ask("controls"), 30)
        self.focus()

    def alive(self):
        if self.process.poll() is not None:
            raise Failed(f"the window ended with code {self.process.returncode}")
        return True

    def ask(self, question):
        self.alive()
        link = socket.socket(socket.AF_UNIX)
        link.settimeout(20)
        link.connect(self.socket_path)
        link.sendall(question.encode() + b"\n")
        answer = link.makefile().readline()
        link.close()
        return json.loads(answer)

    def focus(self):
        """There is no window manager: the newest visible window gets the keyboard from us."""
        windows = self.screen.xdotool("search", "--onlyvisible", "--pid", self.process.pid).split()
        if windows:
            self.screen.xdotool("windowfocus", "--sync", windows[-1])

    def find(self, pattern, role=None):
        for control in self.ask("controls"):
            if re.fullmatch(pattern, control["name"]) and (role is None or control["role"] == role):
                return control
        return None

    def wait(self, pattern, role=None, seconds=60.0, enabled=True):
        def probe():
            control = self.find(pattern, role)
            return control if control and (control["enabled"] or not enabled) else None
        return until(f"a control named /{pattern}/", probe, seconds)

    def click_at(self, box):
        self.screen.xdotool("mousemove", box["x"] + box["w"] // 2, box["y"] + min(box["h"] // 2, 20))
        time.sleep(0.05)
        self.screen.xdotool("click", 1)
        time.sleep(0.15)

    def click(self, pattern, role=None, seconds=60.0):
        self.click_at(self.wait(pattern, role, seconds))

    def key(self, *keys):
        for key in keys:
            self.screen.xdotool("key", key)
            time.sleep(0.12)

    def type(self, text):
        self.screen.xdotool("type", "--delay", "8", text)
        time.sleep(0.1)

    def fill(self, pattern, text):
        """Types into a field, scrolling its pane until it can be seen."""
        for _ in range(30):
            field = self.find(pattern, "field")
            if field and field["h"] > 14:
                break
            anchor = self.wait("Seed|Rank|Steps|Batch size|Learning rate|Alpha|Warm-up|Clip norm at", "field")
            self.screen.xdotool("mousemove", anchor["x"] - 60, anchor["y"] + 5, "click", 5)
            time.sleep(0.1)
        self.click(pattern, "field")
        self.key("ctrl+a")
        self.type(text)
        until(f"the field {pattern} holds {text}", lambda: self.find(pattern, "field")["text"] == text, 10)

    def drop(self, source, path):
        """Drags a file or folder out of another program into the middle of the window: XDND, as from a file manager."""
        width, height = map(int, self.screen.xdotool("getdisplaygeometry").split())
        program = subprocess.Popen([source, path], env=dict(self.screen.environment, QT_QPA_PLATFORM="xcb"), stdout=self.log, stderr=self.log)
        until("the drag source opens", lambda: self.screen.xdotool("search", "--onlyvisible", "--pid", program.pid), 20)
        self.screen.xdotool("mousemove", width - 12, 12, "mousedown", 1)
        for i in range(1, 13):
            self.screen.xdotool("mousemove", width - 12 - (width // 2) * i // 12, 12 + (height // 2) * i // 12)
            time.sleep(0.06)
        time.sleep(0.4)
        self.screen.xdotool("mouseup", 1)
        try:
            if program.wait(20) != 0:
                raise Failed("the window did not take " + path)
        except subprocess.TimeoutExpired:
            program.kill()
            raise Failed("the drag did not end")
        self.focus()

    def save_dialog(self, path):
        """Types a path into the file dialog that just opened."""
        until("the file dialog", lambda: self.find("(File name:|Save|&Save|Cancel|&Cancel)", None), 15)
        self.focus()
        self.key("ctrl+a")
        self.type(path)
        self.key("Return")
        until(f"{os.path.basename(path)} is written", lambda: os.path.exists(path) and os.path.getsize(path) > 0, 20)
        time.sleep(0.3)
        self.focus()

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def events(workspace, name, kind=None):
    """Events of the run whose configuration has this name."""
    found = []
    for folder in glob.glob(workspace + "/runs/*"):
        try:
            if json.load(open(folder + "/run.json"))["name"] != name:
                continue
            lines = open(folder + "/events.jsonl").read().split("\n")[:-1]
        except (OSError, ValueError):
            continue
        found += [json.loads(line) for line in lines]
    return [e for e in found if kind is None or e["type"] == kind]


def steps(workspace, name):
    return [e["step"] for e in events(workspace, name, "step")]


def check(condition, sentence):
    if not condition:
        raise Failed(sentence)
    print("  ok:", sentence, flush=True)


def starts_with(path, magic):
    with open(path, "rb") as file:
        return file.read(len(magic)) == magic


def walk(window, workspace, home, cli, picture):
    print("start a run from the demo", flush=True)
    window.key("ctrl+d")
    window.wait("Start run", "button")
    window.fill("Name", FIRST)
    window.fill("Steps", "3000")
    picture("new-run")
    window.click("Start run", "button")
    until("the first steps", lambda: len(steps(workspace, FIRST)) >= 5, 120)
    check(True, "a run started from the demo trains")

    print("see it live", flush=True)
    window.wait("Pause", "button")
    plot = until("the loss plot speaks", lambda: (window.find("Loss", "luthier::ui::Plot") or {}).get("about"), 30)
    check(re.search(r"\d", plot), "the loss plot tells its numbers: " + plot)
    picture("live")
    window.key("ctrl+p")
    until("the run pauses", lambda: events(workspace, FIRST, "paused"), 30)
    window.wait("Resume", "button")
    held = len(steps(workspace, FIRST))
    time.sleep(1.5)
    check(len(steps(workspace, FIRST)) == held, "a paused run takes no step")
    picture("paused")
    window.click("Resume", "button")
    until("the run goes on", lambda: len(steps(workspace, FIRST)) > held, 30)

    print("change the learning rate", flush=True)
    window.click("Change the learning rate from the next step on", "button")
    time.sleep(0.5)
    window.focus()
    window.key("ctrl+a")
    window.type("1.25e-5")
    window.key("Return")
    time.sleep(0.3)
    window.focus()
    change = until("the new rate", lambda: events(workspace, FIRST, "learning_rate"), 30)[0]
    check(change["learning_rate"] == 1.25e-5, "the worker took the new rate")
    after = until("a step at the new rate", lambda: [e for e in events(workspace, FIRST, "step") if e["step"] > change["step"]], 30)[0]
    check(0 < after["learning_rate"] <= 1.25e-5, f"step {after['step']} runs at {after['learning_rate']:g}")

    print("save the plot", flush=True)
    for suffix, magic in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")):
        window.key("ctrl+e")
        path = f"{home}/loss.{suffix}"
        window.save_dialog(path)
        check(starts_with(path, magic), f"loss.{suffix} is one")

    print("stop and continue", flush=True)
    window.click("Stop", "button")
    until("the run stops", lambda: events(workspace, FIRST, "finished"), 60)
    check(events(workspace, FIRST, "finished")[-1]["summary"]["status"] == "stopped", "a stopped run says so")
    check(events(workspace, FIRST, "checkpoint"), "stopping wrote a checkpoint")
    at = max(steps(workspace, FIRST))
    picture("stopped")
    window.click("Continue", "button")
    until("the run goes on", lambda: max(steps(workspace, FIRST)) > at + 3, 60)
    window.key("ctrl+period")
    until("the run stops again", lambda: len(events(workspace, FIRST, "finished")) == 2, 60)
    check(True, "a stopped run continues from its checkpoint and stops again")

    print("a second method", flush=True)
    window.key("alt+4")
    window.click("IA³", "button")
    window.fill("Name", SECOND)
    window.fill("Steps", "40")
    window.click("Start run", "button", 30)
    until("the second run ends", lambda: events(workspace, SECOND, "finished"), 240)
    check(max(steps(workspace, SECOND)) == 40, "the second run took its 40 steps")
    picture("finished")

    print("compare", flush=True)
    window.key("alt+6")
    names = until("both runs in the table", lambda: {r["cells"][0] for r in window.ask("rows")} >= {FIRST, SECOND} and True, 30)
    window.wait("2 runs, 2 shown", "label", enabled=False)
    check(names, "the table shows both runs")
    until("the comparison speaks", lambda: FIRST in str((window.find("Loss of the compared runs", "luthier::ui::Plot") or {}).get("about")), 30)
    picture("compare")
    for suffix, magic in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF"), ("csv", b"run,step")):
        window.click(suffix.upper(), "button")
        path = f"{home}/comparison.{suffix}"
        window.save_dialog(path)
        check(starts_with(path, magic), f"comparison.{suffix} is one")
    rows = open(home + "/comparison.csv").read().split("\n")[1:-1]
    check(len({row.split(",")[0] for row in rows}) == 2 and len(rows) == len(set(steps(workspace, FIRST))) + 40, f"the table file holds every step of both runs ({len(rows)} rows)")

    print("export", flush=True)
    window.key("alt+8")
    until("the adapter is listed", lambda: any(SECOND in cell for r in window.ask("rows") for cell in r["cells"]) or window.find(f".*{SECOND}.*"), 30)
    for row in window.ask("rows"):
        if any(SECOND in cell for cell in row["cells"]):
            window.click_at(row)
            break

    def written():
        return [p for p in glob.glob(workspace + "/**/adapter_config.json", recursive=True) if "/runs/" not in p]
    def export_button():
        """The button in the card of PEFT folders; the largest control of that name is the card."""
        cards = [c for c in window.ask("controls") if c["name"] == "PEFT folder"]
        card = max(cards, key=lambda c: c["w"] * c["h"], default=None)
        inside = lambda c: card["x"] <= c["x"] and c["x"] + c["w"] <= card["x"] + card["w"] and card["y"] <= c["y"] < card["y"] + card["h"]
        return next((c for c in window.ask("controls") if card and c["role"] == "button" and c["name"].startswith("Export") and c["enabled"] and inside(c)), None)
    window.click_at(until("the export button of the PEFT card", export_button, 20))
    until("an exported adapter", written, 60)
    folder = os.path.dirname(written()[0])
    with open(folder + "/adapter_model.safetensors", "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    check(len(header) > 1, f"{os.path.basename(folder)} holds {len(header)} tensors")
    until("the export says that it was read back", lambda: any(re.search("[Vv]erified|[Ii]dentical|[Rr]eload", c["name"] + c["text"]) for c in window.ask("controls")), 60)
    picture("export")
    report = subprocess.run([cli, "inspect", folder, "--json"], capture_output=True, text=True)
    check(report.returncode == 0 and json.loads(report.stdout)["kind"] == "adapter", "luthier-cli opens the exported folder as an adapter")


def says(window, pattern):
    return lambda: next((c for c in window.ask("controls") if re.search(pattern, c["name"] + " " + c["text"])), None)


def walk_gsm8k(window, workspace, home, source, picture):
    print("drop GSM8K", flush=True)
    window.key("alt+1")
    window.drop(source, os.path.abspath(GSM8K))
    until("the rows are counted", says(window, "7,473 rows to train on, 1,319 to evaluate"), 90)
    check(says(window, "Recognised as prompt and completion")(), "a dropped folder opens as data and its questions and answers are recognised")
    check(says(window, "own 1,319 rows to evaluate on")(), "the folder's test rows are the evaluation rows")
    check(says(window, "question \\+ answer")(), "the page tells what a row becomes")
    check(says(window, "all 8,792 rows")(), "the histogram holds every row's length")
    picture("gsm8k-data")

    # All 1,319 evaluation rows take a minute each time: the run gets the first rows of both files.
    part = os.path.join(home, "gsm8k-part")
    os.makedirs(part)
    for name, count in (("train.jsonl", 400), ("test.jsonl", 24)):
        with open(os.path.join(GSM8K, name)) as rows, open(os.path.join(part, name), "w") as out:
            out.writelines(line for _, line in zip(range(count), rows))
    window.drop(source, part)
    until("its rows are counted", says(window, "400 rows to train on, 24 to evaluate"), 60)
    window.click("Use in new run", "button")
    window.click("LoRA", "button")
    until("a run on other data gets its own name", lambda: (window.find("Name", "field") or {}).get("text") == "gsm8k-part-lora", 20)
    window.fill("Steps", "24")
    window.fill("Evaluate every", "8")
    window.click("Start run", "button")
    name = "gsm8k-part-lora"
    until("the run ends", lambda: events(workspace, name, "finished"), 150)
    losses = [e["loss"] for e in events(workspace, name, "eval")]
    check(len(losses) == 4 and losses[-1] < losses[0] * 0.8, "the evaluation loss falls: " + ", ".join(f"{loss:.2f}" for loss in losses))
    until("the page shows the end", says(window, "^Finished"), 20)
    until("what was measured is told", says(window, "Token accuracy"), 20)
    best = f"best {min(losses):.3f}"
    until("the curve tells the best evaluation, " + best, lambda: best in (window.find("Loss", "luthier::ui::Plot") or {}).get("about", ""), 20)
    check(True, "the curve tells the best evaluation, " + best)
    picture("gsm8k-live")


def main():
    for tool in ("Xvfb", "xdotool"):
        if not shutil.which(tool):
            print(f"skipped: {tool} is not installed (apt-get install xvfb xdotool)")
            return 77
    program, cli, plugins = map(os.path.abspath, sys.argv[1:4])
    pictures = sys.argv[4] if len(sys.argv) > 4 else None
    only = sys.argv[5] if len(sys.argv) > 5 else None
    home = tempfile.mkdtemp(prefix="luthier-walk-")
    workspace = home + "/workspace"
    screen = Screen("1440x900")
    window = None

    def picture(name):
        if pictures:
            os.makedirs(pictures, exist_ok=True)
            screen.picture(os.path.join(pictures, f"walk-{name}.png"))
    try:
        window = Window(screen, program, cli, plugins, home, workspace)
        if only != "gsm8k":
            walk(window, workspace, home, cli, picture)
        if os.path.isdir(GSM8K):
            walk_gsm8k(window, workspace, home, os.path.join(plugins, "drag_source"), picture)
        else:
            print("left out: GSM8K is not at", GSM8K)
        print("the walk is done")
        return 0
    except Failed as problem:
        print("FAILED:", problem)
        picture("failed")
        if window and window.process.poll() is None:
            print("on screen:", ", ".join(sorted({c["name"] for c in window.ask("controls")})[:120]))
        print(open(os.path.join(home, "window.log")).read()[-2000:])
        return 1
    finally:
        if window:
            window.close()
        for worker in glob.glob(workspace + "/runs/*/worker.json"):
            try:
                os.kill(json.load(open(worker))["pid"], signal.SIGTERM)
            except (OSError, ValueError, KeyError):
                pass
        screen.server.terminate()
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
