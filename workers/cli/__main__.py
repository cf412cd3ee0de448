"""``python -m workers.cli`` is the command `matricule`, also where no wheel is installed."""

from workers.cli.app import main

main()
