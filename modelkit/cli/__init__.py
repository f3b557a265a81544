"""The command line: parse, run the verb in a child process, show its report."""

import sys


def main() -> None:
    """Run modelkit; the one place where errors become text and exit codes."""
    from modelkit.errors import CannotWrite, ModelkitError

    try:
        try:
            from modelkit.cli.app import app

            app(prog_name="modelkit")
        except BrokenPipeError:
            # Nobody reads our output any more (`modelkit inspect m | head`): not an error.
            sys.stderr.close()
            sys.exit(0)
        except OSError as error:
            raise CannotWrite(
                "the result could not be printed", cause=str(error), code="cannot-print"
            ) from error
    except ModelkitError as error:
        from modelkit.cli.failure import print_error

        print_error(error, as_json="--json" in sys.argv)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
