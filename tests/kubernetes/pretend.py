"""Runs a tiny profile on a pretended Kubernetes, whose pods are processes of this machine, and again without it.

`python tests/kubernetes/pretend.py FOLDER`, with the extra `cluster`. It proves what Snakemake asks of Kubernetes and
that the commands of the pods do their work; that a real cluster grants it, it does not prove.
"""

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "slurm"))
from slurm_trial import MEMORY, STEPS, TINY, copied, finished, results, start

CLAIM = {"name": "ra-core", "mountPath": "/work"}
CONFIG = """
apiVersion: v1
kind: Config
clusters: [{{name: pretended, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: me, user: {{}}}}]
contexts: [{{name: pretended, context: {{cluster: pretended, user: me}}}}]
current-context: pretended
"""


class Cluster(BaseHTTPRequestHandler):
    """As much of Kubernetes as the plugin speaks to: secrets, jobs, their state and their pods."""

    pods, asked = {}, []

    def do_POST(self):
        """Take a secret or start a job."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/jobs"):
            (container,) = body["spec"]["template"]["spec"]["containers"]
            self.asked.append(container)
            environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": os.environ["HOME"]}
            environment["PYTHONPATH"] = str(FOLDER)  # in the image the project is installed
            run = [*container["command"], *container["args"]]
            with open(FOLDER / f"{body['metadata']['name']}.log", "w") as log:
                pod = subprocess.Popen(run, cwd="/", env=environment, stdout=log, stderr=subprocess.STDOUT)
            self.pods[body["metadata"]["name"]] = pod
        self._answer(body)

    def do_GET(self):
        """Tell the state of a job; its pods are not told, so the state counts."""
        name = self.path.split("/")[-2]
        if name not in self.pods:
            return self._answer({"kind": "PodList", "items": []})
        code = self.pods[name].poll()
        state = {"active": 1} if code is None else {"succeeded": 1} if code == 0 else {"failed": 1}
        self._answer({"kind": "Job", "metadata": {"name": name}, "status": state})

    def do_DELETE(self):
        """Forget something."""
        self._answer({"kind": "Status", "status": "Success"})

    def _answer(self, body):
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Keep quiet."""


def main() -> None:
    """Run the trial; any difference is an AssertionError."""
    here = copied.project(FOLDER.with_name("here"), tiny=TINY)
    copied.project(FOLDER, tiny=TINY)
    finished(start(here, "--cores", "1", "--nolock"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Cluster)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = FOLDER / "kubeconfig"
    config.write_text(CONFIG.format(port=server.server_port))
    os.environ["KUBECONFIG"] = str(config)
    began = time.time()
    options = ["--workflow-profile", "workflow/kubernetes", "--precommand", f"cd {FOLDER}"]
    finished(start(FOLDER, *options, "--jobs", "1", "--set-resources", *MEMORY))
    assert len(Cluster.asked) == sum(STEPS.values())
    for container in Cluster.asked:
        asked, limit = container["resources"]["requests"], container["resources"]["limits"]
        report = "rule_report" in container["args"][1] or "--allowed-rules report" in container["args"][1]
        print("report" if report else "computes", asked, limit)
        assert asked["memory"] == limit["memory"] == "2000M"
        assert limit.get("nvidia.com/gpu") == (None if report else "1") and container["image"] == "ra-core"
        assert CLAIM in [{key: mount[key] for key in CLAIM} for mount in container["volumeMounts"]]
    alone, sent = results(here), results(FOLDER)
    assert alone.keys() == sent.keys() and {name for name in alone if alone[name] != sent[name]} == set()
    print(f"{len(alone)} result files are equal; {time.time() - began:.0f} s through pretended pods")


if __name__ == "__main__":
    FOLDER = Path(sys.argv[1]).resolve() / "kubernetes"
    main()
