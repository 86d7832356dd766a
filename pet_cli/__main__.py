from pet_cli.commands.cli import run

run()
