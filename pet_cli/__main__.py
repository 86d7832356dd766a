from pet_cli.cli import run

run()
