"""`run NOTEBOOK --on TYPE`: a larger machine for one notebook, and back again whatever happens."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from slipway import advise, arguments, batch, executed, lab, plays, receipt, render, runs, unfinished, watch
from slipway.model import Exit, Failure, RefusalError, Result
from slipway.render import Progress
from slipway.runs import Choice
from slipway.signals import told_by_signals
from slipway.unfinished import RESIZE, Burst
from slipway.watch import LeftError


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
    if "detach" in options:
        raise RefusalError(
            "--detach: cannot be used with --on, for the command gives the larger type back when the run has ended. "
            "If the command is ended, the run goes on all the same.",
            Exit.BAD_INPUT,
        )
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
    progress = Progress()
    ready, choice = batch.ready(options, job, progress)
    if ready.failure:
        return plays.failed(options, ready, ready.failure)
    if choice.run:
        return batch.have(options, job, choice, ready.published["ssh_config"], progress)
    print(receipt.burst_price_line(document), file=sys.stderr)
    with told_by_signals():
        return _there_and_back(options, job, choice, progress)


def _left(options: argparse.Namespace, job: batch.Job) -> Exit | None:
    """End the burst that was left. An exit code where that failed, or has given what is asked for now."""
    code, burst = unfinished.finish(options)
    if code is not Exit.DONE:
        return code
    return _had(options, job, burst) if burst and "again" not in options and executed.same(burst.result, job) else None


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


def _there_and_back(options: argparse.Namespace, job: batch.Job, choice: Choice, progress: Progress) -> Exit:
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
    begun = time.monotonic()
    try:
        job, choice = batch.begin(options, published["ssh_config"], job, choice)
        code = watch.follow(options, published["ssh_config"], choice.name)
    except LeftError as left:
        return batch.gone_on(options, job, choice, left, unfinished.goes_on(options, burst, published["instance"]["burst"]))
    except RefusalError as refused:
        # It cannot be begun, and the machine still comes back.
        progress.say(str(refused))
        code = batch.NOT_BEGUN
    ran = time.monotonic() - begun
    end = unfinished.come_back(options, burst, published, progress)
    told = executed.facts(burst.result)
    code = batch.code_of(code, job, choice.name, end.fetched)
    seconds = {"up": up.seconds, "run": round(ran, 1), "down": end.back.seconds, "total": round(time.monotonic() - began, 1)}
    document = batch.document(options, job, code, end.fetched, choice)
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
    found, told = job.of(burst.output), executed.facts(burst.result)
    code = told["exit_code"] if told["state"] == "done" else runs.ENDED_FROM_OUTSIDE
    document = batch.document(options, found, code, None, Choice(None, f"{job.project}-run-{job.digest[:12]}", joined=True))
    print(render.as_json(document) if options.json else render.run_text(document, job.folder))
    return batch.ending(code)
