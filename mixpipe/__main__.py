"""The console script `mixpipe`, and `python -m mixpipe`."""

import signal


def main() -> None:
    """Run the command line; until that is imported, Ctrl-C ends the process without a word."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from mixpipe.cli import main as program

    program()


if __name__ == "__main__":
    main()
