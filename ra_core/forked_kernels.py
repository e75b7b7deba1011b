"""Kernels that begin as copies of one process, which has imported what notebooks need: seconds of each start.

Within `copies_of(modules)` each notebook that this process or one of its children executes gets such a kernel. Where
none can be had it starts as always.
"""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.metadata import entry_points
from select import select
from threading import Thread

from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

from ra_core.cores import cores

ADDRESS = "RA_KERNELS"  # environment variable: the socket at which copies are asked for
DEFAULT, NAME = "JUPYTER_DEFAULT_PROVISIONER_NAME", "ra-forking"  # the latter is that of pyproject.toml
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # read once, at an import
LAUNCHER = "ipykernel_launcher"  # the module that starts a kernel, in its command
KERNEL = ("ipykernel.kernelapp", "ipykernel.debugger")  # what every kernel imports
SHORT = 70  # letters of the folder for temporary files; a socket's path has at most 107
LARGEST = 2**17  # bytes of a request: arguments, folder, environment
INLINE = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}  # as every kernel has it before its imports


def folder_of_sockets() -> tempfile.TemporaryDirectory:
    """Return a new temporary folder in which the path of a socket is short enough."""
    return tempfile.TemporaryDirectory(prefix="ra-", dir="/tmp" if len(tempfile.gettempdir()) > SHORT else None)


@contextmanager
def copies_of(modules: Sequence[str]) -> Iterator[None]:
    """Let kernels be copies of a process that has imported `modules`, on Linux.

    It ends with this one, and its copies with it. It has one thread; in a copy torch has those of who asks.
    """
    registered = entry_points(group="jupyter_client.kernel_provisioners").names
    if sys.platform != "linux" or NAME not in registered:  # elsewhere libraries do not stand being copied
        yield
        return
    with folder_of_sockets() as folder:
        added = {DEFAULT: NAME, ADDRESS: f"{folder}/kernels"}
        told = os.environ | INLINE | dict.fromkeys(THREADS, "1")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(added[ADDRESS])
            listener.listen(64)  # who asks early waits for the imports
            command = [sys.executable, "-Xfrozen_modules=off"]  # else the debugger warns of them
            command += ["-m", "ra_core.forked_kernels", str(listener.fileno()), *KERNEL, *modules]
            # It ends when its input is closed, and not when somebody interrupts the terminal.
            original = subprocess.Popen(
                command, stdin=subprocess.PIPE, env=told, start_new_session=True, pass_fds=[listener.fileno()]
            )
        with original:
            os.environ.update(added)
            KernelProvisionerFactory.clear_instance()  # it has read them, if this process has executed a notebook
            try:
                yield
            finally:
                KernelProvisionerFactory.clear_instance()
                for name in added:
                    del os.environ[name]
                original.kill()  # it may still import


class ForkingProvisioner(LocalProvisioner):
    """Launches kernels for Jupyter: copies where there is a process to be copied."""

    async def launch_kernel(self, cmd, **kwargs):
        try:
            self.process = ForkedKernel(cmd[cmd.index(LAUNCHER) + 1 :], kwargs["env"])
        except (OSError, ValueError, KeyError):
            return await super().launch_kernel(cmd, **kwargs)
        self.pid = self.pgid = self.process.pid
        return self.connection_info


class ForkedKernel:
    """A kernel as `LocalProvisioner` sees a process. It lives as long as its end of the connection is open."""

    stdin = stdout = stderr = returncode = None

    def __init__(self, arguments: list[str], environment: Mapping[str, str]):
        self.connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.connection.connect(os.environ[ADDRESS])
        arguments = [*arguments, f"--IPKernelApp.parent_handle={os.getpid()}"]  # it is no kernel of a terminal
        request = json.dumps([arguments, os.getcwd(), dict(environment)]).encode()
        socket.send_fds(self.connection, [request], [1, 2])  # its output goes where ours does
        self.pid = int(self.connection.recv(LARGEST))  # ValueError: nobody there any more

    def poll(self):
        if self.returncode is None and select([self.connection], [], [], 0)[0]:
            self.returncode = 1  # the true one is told to the process that was copied
        return self.returncode

    def wait(self):
        if self.returncode is None:
            select([self.connection], [], [])
        return self.poll()

    def send_signal(self, number):
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


def serve(listening: int, modules: Sequence[str]) -> None:
    """Import modules, and copy this process for all who ask at a socket, until its standard input is closed."""
    with socket.socket(fileno=listening) as listener:
        for name in modules:
            import_module(name)
        for stream in (sys.stdout, sys.stderr):  # else every copy would say it once more
            stream.flush()
        gc.freeze()  # a copy that looks for garbage would touch all of this, and so copy its memory
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
        while listener in select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            with connection:
                request, descriptors, _, _ = socket.recv_fds(connection, LARGEST, 2)
                if request and os.fork() == 0:
                    listener.close()
                    sys.exit(_become_kernel(connection, descriptors, *json.loads(request)))
                for descriptor in descriptors:
                    os.close(descriptor)


def _become_kernel(connection, descriptors, arguments, folder, environment):
    """Turn this copy into the kernel that was asked for, to its end."""
    from ipykernel.kernelapp import IPKernelApp

    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, descriptor in enumerate([os.open(os.devnull, os.O_RDONLY), *descriptors]):
        os.dup2(descriptor, number)
    os.chdir(folder)
    sys.argv = [LAUNCHER, *arguments]
    os.environ.clear()
    os.environ.update(environment)
    if torch := sys.modules.get("torch"):  # which has read them before
        torch.set_num_threads(int(os.environ.get(THREADS[0], cores())))
    connection.send(str(os.getpid()).encode())
    Thread(target=_end_with, args=(connection,), daemon=True).start()
    IPKernelApp.launch_instance(arguments)


def _end_with(connection):
    """End the kernel when nobody is left at the other end, as the process that executes the notebook was killed."""
    with suppress(OSError):
        connection.recv(1)
    os._exit(1)


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2:])
    os._exit(0)  # an orderly end finds what is frozen, and says that it leaks
