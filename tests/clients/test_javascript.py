"""Runs lambda.test.mjs against an agent. Its packages are in `JIFFY_NODE`."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from agent import Agent, zip_of

KEY_ID, SECRET = "AKIAJIFFYTESTS", "secret"
S_MAX = 60


class JavaScript(unittest.TestCase):
    def test_lambda(self):
        agent = Agent(keys=f"{KEY_ID}:{SECRET}\n")
        self.addCleanup(agent.stop)
        here = pathlib.Path(__file__).parent
        with tempfile.TemporaryDirectory() as directory:
            directory = pathlib.Path(directory)
            variables = {"ENDPOINT": agent.url, "KEY_ID": KEY_ID, "SECRET": SECRET}
            for example in ["hello", "faults"]:
                path = directory / f"{example}.zip"
                path.write_bytes(zip_of(example))
                variables[f"ZIP_{example.upper()}"] = str(path)
            # Node finds packages only above the file that asks for them.
            script = directory / "lambda.test.mjs"
            shutil.copy(here / script.name, script)
            (directory / "node_modules").symlink_to(pathlib.Path(os.environ["JIFFY_NODE"]) / "node_modules")
            run = subprocess.run(
                ["node", "--test", script],
                env=os.environ | variables,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=S_MAX,
            )
        self.assertEqual(run.returncode, 0, run.stdout)


if __name__ == "__main__":
    unittest.main()
