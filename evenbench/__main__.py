"""`python -m evenbench`: the `evenbench` command."""

from evenbench.harness.cli import main

raise SystemExit(main())
