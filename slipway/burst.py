"""`run NOTEBOOK --on TYPE`: a larger machine for one notebook, and back again whatever happens."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from slipway import advise, arguments, batch, executed, lab, plays, receipt, render, unfinished
from slipway.model import Exit, Failure, RefusalError, Result
from slipway.render import Progress
from slipway.unfinished import RESIZE, Burst

#: Exit code of a batch run that was stopped.
_STOPPED = 143


def run(options: argparse.Namespace) -> Exit:
    """Execute a notebook; with `--on` on another type, for this run only."""
    if "on" in options:
        return _on(options)
    if "dry_run" in options:
        raise RefusalError("--dry-run: cannot be used without --on. Allowed: --on TYPE, whose plan it shows.", Exit.BAD_INPUT)
    if "lose_files" in options:
        raise RefusalError("--lose-files: cannot be used without --on. Allowed: --on TYPE, which makes containers again.", Exit.BAD_INPUT)
    return batch.run(options)


def _on(options: argparse.Namespace) -> Exit:
    job, check = batch.job(options), "dry_run" in options
    lab.need(options)
    if options.on == "auto":
        # A burst that was left comes first: what fits is asked of the machine as it is without it.
        look = plays.play("run", "playbooks/find.yml", options, arguments.common(options))
        if not check and unfinished.of(look.published) and (code := _left(options, job)) is not None:
            return code
        options.on = advise.wanted_type(options, job.folder, str(job.notebook))
    plan = _plan(options)
    if not check and unfinished.of(plan.published):
        if (code := _left(options, job)) is not None:
            return code
        plan = _plan(options)
    if plan.failure:
        return plays.failed(options, plan, plan.failure)
    document = receipt.plan_document(plan.published) | {"notebook": str(job.notebook)}
    _refuse_smaller(options, document)
    if check:
        print(render.as_json(document) if options.json else receipt.burst_plan_text(document, plays.name(options)))
        return Exit.DONE
    if not document["needed"]:
        print(f"The machine is a {document['type']} already: a plain run.", file=sys.stderr)
        return batch.run(options)
    print(receipt.burst_price_line(document), file=sys.stderr)
    progress = Progress()
    ready = batch.ready(options, job, progress)
    if ready.failure:
        return plays.failed(options, ready, ready.failure)
    with batch.told_by_signals():
        return _there_and_back(options, job, progress)


def _left(options: argparse.Namespace, job: batch.Job) -> Exit | None:
    """End the burst that was left. An exit code where that failed, or has given what is asked for now."""
    code, burst = unfinished.finish(options)
    if code is not Exit.DONE:
        return code
    return _had(options, job, burst) if burst and executed.same(burst.result, job) else None


def _plan(options: argparse.Namespace) -> Result:
    """Everything that could be refused is, before anything is changed."""
    return plays.play("run", RESIZE, options, arguments.variables(options), Progress(check=True), check=True)


def _refuse_smaller(options: argparse.Namespace, plan: dict[str, Any]) -> None:
    wanted, now, memory = plan["candidates"][0], plan["type"], plan["memory_mib"]
    if memory[wanted] < memory[now]:
        raise RefusalError(
            f"--on: {wanted!r} cannot be used. It has {memory[wanted]} MiB, and the {now} of now {memory[now]} MiB. "
            f"Allowed: a type with as much or more. To make the machine smaller: {plays.command(options, 'resize')} {wanted}",
            Exit.BAD_INPUT,
        )


def _there_and_back(options: argparse.Namespace, job: batch.Job, progress: Progress) -> Exit:
    began = time.monotonic()
    # A tag's value has 256 characters at most. Without the folder the results wait on the machine, and are named.
    folder = str(job.folder) if len(str(job.folder)) <= 256 else ""
    marks = {"ec2_resize_burst": {"project": job.project, "folder": folder, "run": Path(job.output).name}}
    up = plays.play("run", RESIZE, options, arguments.variables(options) | marks, progress)
    if up.failure:
        return _not_up(options, up, up.failure, progress)
    # Published before the marks of the resize were taken away.
    published = {**up.published, "instance": {**up.published["instance"], "resize_to": None}}
    plan = up.published["resize_plan"]
    burst = Burst(plan["origin"], plan["candidates"][0], job.project, job.folder, Path(job.output).name)
    code, begun = _STOPPED, time.monotonic()
    try:
        code = batch.execute(options, published["ssh_config"], job)
    except KeyboardInterrupt:
        progress.say("Stopped. What there is so far is brought back, and then the machine.")
    ran = time.monotonic() - begun
    end = unfinished.come_back(options, burst, published, progress)
    told = executed.facts(burst.result)
    if told.get("state") == "done":
        # It went on where SSH was cut.
        code = told["exit_code"]
    seconds = {"up": up.seconds, "run": round(ran, 1), "down": end.back.seconds, "total": round(time.monotonic() - began, 1)}
    document = batch.document(options, job, code, end.fetched or replace(up, published={}))
    document["burst"] = receipt.burst_document(published["instance"]["burst"], up.published, end.back.published, seconds, told)
    if not (end.wrong and options.json):
        text = f"{render.run_text(document, job.folder)}\n{receipt.burst_text(document['burst'])}"
        print(render.as_json(document) if options.json else text)
    return unfinished.failed(options, burst, end, document) if end.wrong else batch.ending(code)


def _not_up(options: argparse.Namespace, up: Result, why: Failure, progress: Progress) -> Exit:
    """The type could not be had, or the command was interrupted: what was begun is undone, and nothing was run."""
    progress.say("The larger machine could not be had. What was begun is undone.")
    look = plays.play("run", "playbooks/find.yml", options, arguments.common(options), progress)
    burst = unfinished.of(look.published)
    if burst and why.code is not Exit.NEEDS_A_PERSON:
        end = unfinished.come_back(options, burst, look.published, progress)
        if end.wrong:
            return unfinished.failed(options, burst, end)
    code = plays.failed(options, up, why, {"resize": up.published["resize"]} if "resize" in up.published else {})
    print("Nothing was run.", file=sys.stderr)
    if burst and code is Exit.NEEDS_A_PERSON:
        print(unfinished.still(options, burst), file=sys.stderr)
    return code


def _had(options: argparse.Namespace, job: batch.Job, burst: Burst) -> Exit:
    """The burst that was left has given what is asked for now."""
    print("That was this notebook with these parameters: it is not run again.", file=sys.stderr)
    found = replace(job, stamp=burst.run.partition("-")[0])
    document = batch.document(options, found, 0, Result(None, 0, 0.0, {}, Path()))
    print(render.as_json(document) if options.json else render.run_text(document, job.folder))
    return Exit.DONE
