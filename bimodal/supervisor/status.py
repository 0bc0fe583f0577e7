"""The reply to `bimodal status`."""

from __future__ import annotations

import os
from pathlib import Path

from bimodal.broker.control import NAME, ProcessReport, StatusReply
from bimodal.supervisor.child import Child
from bimodal.supervisor.supervisor import Supervisor


def report(supervisor: Supervisor, session: str, config: Path | None) -> StatusReply:
    """Report all processes, the supervisor first, and the streams."""
    processes = [_itself(supervisor)] + [_child(child, supervisor.now) for child in supervisor.children.values()]
    return StatusReply(
        session=session,
        up_s=round(supervisor.up_s, 1),
        because=supervisor.degraded_reason,
        changing=supervisor.reconciler.changing,
        config=str(config) if config is not None and config.is_file() else None,
        refused=supervisor.refused,
        given_up=supervisor.reconciler.given_up,
        processes=tuple(processes),
        streams=supervisor.streams,
    )


def _itself(supervisor: Supervisor) -> ProcessReport:
    return ProcessReport(
        name=NAME,
        role=NAME,
        state="ready",
        pid=os.getpid(),
        because=supervisor.degraded_reason,
        figures=supervisor.figures,
        models={},
    )


def _child(child: Child, now: float) -> ProcessReport:
    heartbeat = child.heartbeat
    return ProcessReport(
        name=child.spec.name,
        role=child.spec.role,
        state=child.life.state,
        pid=child.process.pid if child.process is not None else None,
        because=child.life.reason,
        figures=(heartbeat.figures if heartbeat is not None else {}) | child.figures(now),
        models=heartbeat.models if heartbeat is not None else {},
        address=heartbeat.address if heartbeat is not None else None,
    )
