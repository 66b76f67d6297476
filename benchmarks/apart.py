"""Work in a process of its own, whose peak memory is then the work's."""

import contextlib
import multiprocessing
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import torch

from model.errors import HdrmError

__all__ = ["Progress", "run_apart"]

T = TypeVar("T")
Progress = Callable[[str, int, int], None]


def run_apart(work: Callable[..., T], *arguments: Any, title: str, progress: Progress) -> T:
    """`work(*arguments, progress)` in a fresh process with as many threads.

    Args:
        work: a function of a module; arguments and result are sent between processes, so they hold no tensors.
        title: of the work, for messages.
        progress: told a phase, how much of it is done and how much it is at most.

    Raises:
        HdrmError: what the work raises, with the traceback as its hint if it is another exception; or its process
            died.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(sender, work, arguments, title, torch.get_num_threads()), daemon=True)
    with _interrupts_ignored():  # by the new process, which is ended by this one
        process.start()
    sender.close()
    try:
        while True:
            kind, value = receiver.recv()
            if kind == "progress":
                progress(*value)
            elif kind == "failure":
                raise value
            else:
                result: T = value
                return result
    except EOFError:
        process.join()
        raise HdrmError(
            f"{title}: its process ended with status {process.exitcode}",
            hint="status -9 is usually a lack of memory: leave it out, or use less data",
        ) from None
    finally:
        process.terminate()
        process.join()
        receiver.close()


def _work(sender: Connection, work: Callable[..., T], arguments: tuple[Any, ...], title: str, threads: int) -> None:
    torch.set_num_threads(threads)

    def progress(phase: str, done: int, total: int) -> None:
        sender.send(("progress", (phase, done, total)))

    with contextlib.suppress(BrokenPipeError):  # nobody is there to be told
        try:
            sender.send(("result", work(*arguments, progress)))
        except BrokenPipeError:
            raise
        except HdrmError as error:
            sender.send(("failure", error))
        except Exception as error:
            said = "".join(traceback.format_exception_only(error)).strip()
            sender.send(("failure", HdrmError(f"{title}: {said}", hint=traceback.format_exc())))


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # elsewhere handlers cannot be set
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
