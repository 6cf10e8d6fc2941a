"""`python -m lab up` starts the lab where it does not run yet; `serve` is the API's own process."""

from __future__ import annotations

import sys

from lab import config, control, engine


def main(arguments: list[str]) -> int:
    """Do what the words say; return 0, 2 for bad input, 4 where the lab failed."""
    try:
        if arguments == ["up"]:
            control.up(lambda line: print(line, file=sys.stderr))
        elif len(arguments) == 2 and arguments[0] == "serve":
            from lab import api  # moto takes 2 s to import

            lab = config.load()
            if lab is None:
                raise config.LabError("There is no lab to serve. Start one with `python -m lab up`.")
            api.serve(lab, engine.client(timeout=600), arguments[1])
        else:
            print("usage: python -m lab up | serve HOST_IMAGE", file=sys.stderr)
            return 2
    except config.LabError as failure:
        print(failure, file=sys.stderr)
        return 2 if isinstance(failure, config.BadInputError) else 4
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
