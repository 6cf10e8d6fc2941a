"""The thin wrapper around ansible-runner: argv -> Request -> run() -> Result -> text or JSON."""
