"""Several processes train as one: the mean of their gradients, the same bits everywhere, nobody left waiting."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from svd_core.errors import NumericsError
from svd_core.training.loop import Report
from svd_core.training.nano_loop import Trainer
from svd_core.training.team import ALONE, Member, WorkerLost, team
from tests.training_toys import TOY, toy_stages

_STEPS = 3


def _descend(out: Path, member: Member) -> None:
    """Three steps towards a target of one's own; the result lands in a file a process."""
    weight = torch.zeros(4)
    for step in range(_STEPS):
        target = torch.arange(4.0) * (member.rank + 1) + step
        gradient = weight - target
        loss = member.mean(gradient.square().mean(), [gradient])
        weight = weight - gradient
        torch.save((weight, loss), out / f"{member.rank}_{step}.pt")


def _die(member: Member) -> None:
    raise NumericsError("a worker's own trouble")


def test_every_process_steps_by_the_mean_gradient(tmp_path: Path) -> None:
    with team(3, 4, partial(_descend, tmp_path)) as member:
        _descend(tmp_path, member)
    expected = torch.zeros(4)
    for step in range(_STEPS):
        gradients = [expected - (torch.arange(4.0) * (rank + 1) + step) for rank in range(3)]
        loss = torch.stack([gradient.square().mean() for gradient in gradients]).mean()
        expected = expected - torch.stack(gradients).mean(0)
        found = [torch.load(tmp_path / f"{rank}_{step}.pt") for rank in range(3)]
        for weight, told in found:
            torch.testing.assert_close(weight, expected)
            torch.testing.assert_close(told, loss)
            assert torch.equal(weight, found[0][0])


def test_one_process_needs_no_company() -> None:
    gradient = torch.ones(3)
    with team(1, 3, _die) as member:
        assert member is ALONE
        assert member.mean(torch.tensor(2.0), [gradient]) == 2
    assert torch.equal(gradient, torch.ones(3))


def test_what_a_lost_worker_said_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    told = r"Expected 2 processes to the end; found one that stopped: a worker's own trouble\. Go on with --resume"
    with pytest.raises(WorkerLost, match=told), team(2, 3, _die) as member:
        member.mean(torch.tensor(0.0), [torch.ones(3)])
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("waiting", [False, True], ids=["at work", "waiting for the first"])
def test_a_worker_that_is_killed_stops_the_first_at_once(waiting: bool) -> None:
    """As where memory runs out: nothing of it is left to tell."""
    lost = pytest.raises(WorkerLost, match="2 processes to the end; found one that ended early")
    with lost, team(2, 3, partial(_be_killed, waiting)) as member:
        for process in multiprocessing.active_children():
            process.join(60)
        member.mean(torch.tensor(0.0), [torch.ones(3)])
    assert not multiprocessing.active_children()


def _be_killed(waiting: bool, member: Member) -> None:
    threading.Timer(0.5 if waiting else 0.0, os.kill, (os.getpid(), signal.SIGKILL)).start()
    if waiting:
        member.mean(torch.tensor(0.0), [torch.ones(3)])
    time.sleep(60)


@pytest.mark.parametrize("begun", [True, False], ids=["at work", "while it imports"])
def test_ctrl_c_is_the_first_processs_to_tell(begun: bool, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), team(2, 3, _work_on) as member:
        if begun:
            member.mean(torch.tensor(0.0), [torch.ones(3)])
        for process in multiprocessing.active_children():
            os.kill(process.pid or 0, signal.SIGINT)
        member.mean(torch.tensor(0.0), [torch.ones(3)])
        raise KeyboardInterrupt
    assert not multiprocessing.active_children()
    assert capfd.readouterr().err == ""


def _work_on(member: Member) -> None:
    while True:
        member.mean(torch.tensor(0.0), [torch.ones(3)])


_STAGES = tuple(dataclasses.replace(stage, refresh=2) for stage in toy_stages(4) if stage.name == "camera")


def _train(folder: Path, resume: bool, stop: int | None, member: Member) -> Trainer:
    torch.set_num_threads(1)
    trainer = Trainer(
        config=TOY, stages=_STAGES, seed=3, folder=folder, device=torch.device("cpu"), save_seconds=0, member=member
    )
    trainer.resume() if resume else trainer.begin()

    def observe(_: Trainer, report: Report) -> None:
        if report.step == stop and member.leads:
            raise KeyboardInterrupt

    trainer.run(observe)
    return trainer


def _train_together(folder: Path, *, resume: bool = False, stop: int | None = None) -> dict[str, torch.Tensor]:
    with team(2, 4_000_000, partial(_train, folder, resume, None)) as member:
        return _train(folder, resume, stop, member).networks.state_dict()


def test_a_team_is_interrupted_and_resumed_to_the_bit(tmp_path: Path) -> None:
    whole = _train_together(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        _train_together(tmp_path / "broken", stop=3)
    resumed = _train_together(tmp_path / "broken", resume=True)
    assert all(torch.equal(whole[name], value) for name, value in resumed.items())

    alone = _train(tmp_path / "alone", False, None, ALONE).networks.state_dict()
    assert not all(torch.equal(whole[name], value) for name, value in alone.items()), "the second batch must count"
